"""Solves a house by what is seen on the way alone, as a player must: the gold path.

A path that knew the house would be shorter, and nothing to learn from: nobody who sees only the room that he is in
could tell why it turns left. This one looks for what it lacks: into what is nearest and closed, through the nearest
door.
"""

from __future__ import annotations

from collections import deque

from colasearch.environments.text_world.plan import CHEST, KEY, SINK, STEPS, Plan, relation
from colasearch.environments.text_world.state import BOX_NAMES, CARRIED, State


class Explorer:
    """A player with a memory.

    Attributes:
        state: The house, of which it looks only at what it sees.
        path: What it has done.
    """

    def __init__(self, plan: Plan) -> None:
        self.state, self.plan = State.of(plan), plan
        self.path: list[str] = []
        self._visited: set[str] = set()
        self._seen: dict[str, str] = {}
        self._look()

    def _look(self) -> None:
        """Remember where things and furniture of this room are."""
        state = self.state
        self._visited.add(state.room)
        for name in [*state.furniture_here(), *state.reachable()]:
            self._seen[name] = state.room

    def _do(self, action: str) -> None:
        self.state.act(action)
        self.path.append(action)
        self._look()

    def _way(self, ends: set[str]) -> list[str]:
        """The shortest known way to one of ``ends``, as actions."""
        queue = deque([(self.state.room, [])])  # type: deque[tuple[str, list[str]]]
        known = {self.state.room}
        while queue:
            room, way = queue.popleft()
            if room in ends:
                return way
            if room not in self._visited:
                continue  # its exits have not been seen
            for direction in STEPS:
                there = self.plan.exits[room].get(direction)
                if there is not None and there not in known:
                    known.add(there)
                    queue.append((there, [*way, f"go {direction}"]))
        raise AssertionError("the rooms of a house are connected")

    def _go(self, ends: set[str]) -> None:
        for action in self._way(ends):
            self._do(action)

    def _find(self, name: str) -> None:
        """Go to where ``name`` is, looking for it where that is not known."""
        while name not in self._seen:
            closed = {room for box, room in self._seen.items() if self._worth_opening(box)}
            rooms = {room for room in self.plan.exits if room not in self._visited}
            rooms = {room for room in rooms if any(room in self.plan.exits[known].values() for known in self._visited)}
            self._go(closed | rooms)
            for box in self.state.furniture_here():
                if name not in self._seen and self._worth_opening(box):
                    self._do(f"open {box}")
        self._go({self._seen[name]})

    def _worth_opening(self, box: str) -> bool:
        shut = box in BOX_NAMES and not self.state.is_open(box)
        return shut and (box != CHEST or self.state.unlocked)

    def _take(self, thing: str) -> None:
        self._find(thing)
        self._do(f"take {thing}")

    def _ready(self, target: str) -> None:
        """Go to a piece of furniture and open it."""
        self._find(target)
        if not self.state.is_open(target):
            self._do(f"open {target}")

    def solve(self) -> list[str]:
        """The whole path."""
        plan = self.plan
        if plan.task == "unlock":
            self._take(KEY)
            self._find(CHEST)
            self._do(f"unlock {CHEST}")
            self._do(f"open {CHEST}")
        self._take(plan.wanted)
        if plan.task == "wash":
            self._find(SINK)
            self._do(f"wash {plan.wanted}")
        self._ready(plan.target)
        self._do(f"put {plan.wanted} {relation(plan.target)} {plan.target}")
        assert self.state.places[plan.wanted] == plan.target != CARRIED
        return self.path
