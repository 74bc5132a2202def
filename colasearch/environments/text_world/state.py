"""What can be done in a house, and what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from colasearch.environments.text_world.plan import BOXES, CHEST, KEY, SINK, STEPS, SURFACES, Plan, relation

CARRIED = "you"
"""Where a thing is that is carried."""
MOST_CARRIED = 2
NOTHING = "Nothing happens."


@dataclass(slots=True)
class State:
    """A house at some moment.

    Attributes:
        plan: How it is laid out; never changes.
        room: Where the player is.
        places: Where each thing is: a room, a piece of furniture, or ``you``.
        opened: Furniture that has been opened.
        unlocked: Whether the chest is.
        washed: Things that are clean.
        reached: How many of the task's stages have been reached.
    """

    plan: Plan
    room: str
    places: dict[str, str]
    opened: set[str] = field(default_factory=set)
    unlocked: bool = False
    washed: set[str] = field(default_factory=set)
    reached: int = 0

    @classmethod
    def of(cls, plan: Plan) -> State:
        """The beginning."""
        return cls(plan, plan.begin, dict(plan.places))

    def copy(self) -> State:
        """The same moment again."""
        return State(
            self.plan, self.room, dict(self.places), set(self.opened), self.unlocked, set(self.washed), self.reached
        )

    # What is there.

    def furniture_here(self) -> list[str]:
        """Furniture of this room, in a fixed order."""
        return sorted(name for name, room in self.plan.furniture.items() if room == self.room)

    def is_open(self, name: str) -> bool:
        """Whether what is in or on a piece of furniture can be seen and taken."""
        return name in SURFACES or name == SINK or name in self.opened

    def contents(self, place: str) -> list[str]:
        """Things at a place, in a fixed order."""
        return sorted(thing for thing, where in self.places.items() if where == place)

    def reachable(self) -> list[str]:
        """Things that can be taken now."""
        spots = [self.room, *(name for name in self.furniture_here() if self.is_open(name))]
        return [thing for spot in spots for thing in self.contents(spot)]

    def look(self) -> str:
        """The room as it is seen."""
        here = list(self.contents(self.room))
        for name in self.furniture_here():
            here.append(f"{name} ({self._seen(name)})")
        exits = ", ".join(way for way in STEPS if way in self.plan.exits[self.room])
        carried = ", ".join(self.contents(CARRIED)) or "nothing"
        return (
            f"You are in the {self.room}. Exits: {exits}. Here: {', '.join(here) or 'nothing'}. You carry: {carried}."
        )

    def _seen(self, name: str) -> str:
        if not self.is_open(name):
            return "locked" if name == CHEST and not self.unlocked else "closed"
        return ", ".join(self.contents(name)) or "empty"

    # What can be done.

    def actions(self) -> list[str]:
        """Every action that changes something, in a fixed order."""
        carried, here = self.contents(CARRIED), self.furniture_here()
        found = [f"go {way}" for way in STEPS if way in self.plan.exits[self.room]]
        if CHEST in here and not self.unlocked and KEY in carried:
            found.append(f"unlock {CHEST}")
        found += [f"open {name}" for name in here if not self.is_open(name) and (name != CHEST or self.unlocked)]
        if len(carried) < MOST_CARRIED:
            found += [f"take {thing}" for thing in self.reachable()]
        if SINK in here:
            found += [f"wash {thing}" for thing in carried if thing not in self.washed]
        targets = [name for name in here if name != SINK and self.is_open(name)]
        found += [f"put {thing} {relation(name)} {name}" for thing in carried for name in targets]
        return found

    def act(self, text: str) -> str:
        """Do what ``text`` says where it can be done; returns what is told of it."""
        words = text.lower().split()
        action = " ".join(words)
        if action not in self.actions():
            return NOTHING
        verb, name = words[0], words[1]
        if verb == "go":
            self.room = self.plan.exits[self.room][name]
            return f"You go {name}."
        if verb == "unlock":
            self.unlocked = True
        elif verb == "open":
            self.opened.add(name)
        elif verb == "take":
            self.places[name] = CARRIED
        elif verb == "wash":
            self.washed.add(name)
        else:
            self.places[name] = words[3]
            return f"You put the {name} {words[2]} the {words[3]}."
        return f"You {verb} the {name}."

    # How far the task is.

    def stages(self) -> list[bool]:
        """The task's stages, in order: whether each is reached now."""
        plan = self.plan
        held = self.places[plan.wanted] == CARRIED
        there = self.places[plan.wanted] == plan.target
        if plan.task == "wash":
            clean = plan.wanted in self.washed
            return [held or clean, clean, clean and there]
        if plan.task == "unlock":
            out = self.places[plan.wanted] != CHEST
            return [self.places.get(KEY) == CARRIED or self.unlocked, self.unlocked, out, self.unlocked and there]
        return [held or there, there]

    def progress(self) -> int:
        """Stages reached one after the other; those once reached stay so."""
        stages = self.stages()
        while self.reached < len(stages) and stages[self.reached]:
            self.reached += 1
        return self.reached


BOX_NAMES = (*BOXES, CHEST)
"""Furniture that is closed at the beginning."""
