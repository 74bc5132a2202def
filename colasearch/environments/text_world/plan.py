"""How a house is laid out, drawn from a task and the number of a variation."""

from __future__ import annotations

import random
from dataclasses import dataclass

TASKS = ("fetch", "wash", "unlock")
"""Put a thing somewhere; wash it before; or get it out of a locked chest first."""
ROOMS = ("attic", "bathroom", "bedroom", "cellar", "garden", "hall", "kitchen", "study")
THINGS = ("apple", "ball", "book", "coin", "cup", "hat", "lamp", "map", "ring", "spoon")
SURFACES = ("desk", "shelf", "table")
BOXES = ("box", "cupboard", "drawer")
CHEST, KEY, SINK = "chest", "key", "sink"
STEPS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
BACK = {"north": "south", "east": "west", "south": "north", "west": "east"}
ROOMS_A_HOUSE = 4
LOOSE_THINGS = 3
"""Things that lie about and are not wanted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A house, and what is to be done in it.

    Attributes:
        task: One of ``TASKS``.
        exits: For each room, where each direction leads.
        furniture: The room that each piece of furniture stands in.
        places: Where each thing is at the beginning: a room, or a piece of furniture.
        begin: The room of the beginning.
        wanted: The thing to move.
        target: Where to.
    """

    task: str
    exits: dict[str, dict[str, str]]
    furniture: dict[str, str]
    places: dict[str, str]
    begin: str
    wanted: str
    target: str

    @property
    def goal(self) -> str:
        """What is to be done, for people and models."""
        put = f"put it {relation(self.target)} the {self.target}"
        first = {"fetch": "Take", "wash": "Wash", "unlock": "Unlock the chest, take"}[self.task]
        return f"{first} the {self.wanted} and {put}."


def relation(furniture: str) -> str:
    """``on`` a surface, ``in`` everything else."""
    return "on" if furniture in SURFACES else "in"


def plan_of(task: str, variation: int) -> Plan:
    """The house of a variation; equal numbers give equal houses, whatever the version of Python."""
    rng = random.Random(f"house {task} {variation}")
    rooms = rng.sample(ROOMS, ROOMS_A_HOUSE)
    exits = _layout(rng, rooms)
    names = [rng.choice(SURFACES), rng.choice(BOXES)]
    names += [SINK] if task == "wash" else []
    names += [CHEST] if task == "unlock" else []
    furniture = {name: rng.choice(rooms) for name in names}
    wanted, *loose = rng.sample(THINGS, 1 + LOOSE_THINGS)
    target = rng.choice(names[:2])
    spots = [*rooms, *(name for name in names[:2])]
    places = {thing: rng.choice(spots) for thing in loose}
    places[wanted] = CHEST if task == "unlock" else rng.choice([spot for spot in spots if spot != target])
    if task == "unlock":
        places[KEY] = rng.choice(spots)
    return Plan(task, exits, furniture, places, rng.choice(rooms), wanted, target)


def _layout(rng: random.Random, rooms: list[str]) -> dict[str, dict[str, str]]:
    """Rooms on a grid, each new one beside one that is there."""
    at = {rooms[0]: (0, 0)}
    exits: dict[str, dict[str, str]] = {room: {} for room in rooms}
    for room in rooms[1:]:
        free = [
            (other, way)
            for other, (x, y) in at.items()
            for way, (dx, dy) in STEPS.items()
            if (x + dx, y + dy) not in at.values()
        ]
        other, way = rng.choice(free)
        x, y = at[other]
        at[room] = (x + STEPS[way][0], y + STEPS[way][1])
        exits[other][way], exits[room][BACK[way]] = room, other
    return exits
