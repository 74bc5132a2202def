"""Who works on what: units that wait, units in flight, units that were lost and wait again. Knows nothing about Ray.

Every unit that was submitted comes out exactly once, as a value or as an error, however often workers are lost on the
way: a unit that is no longer in flight with the worker that reports it is ignored.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Hashable
from dataclasses import dataclass, field
from typing import Any

from colasearch.cluster.recipes import Recipe

ALONE_AFTER = 2
"""Losses after which a unit is worked on alone: if it is the one that kills its workers, no other pays for it."""


@dataclass(slots=True)
class Unit:
    """A piece of work.

    Attributes:
        number: Its number in this pool.
        tag: The caller's name for it.
        recipe: How it is worked on.
        key: Equal for equal recipes.
        item: What the recipe's engine is given.
        priority: Lower ones begin earlier.
        losses: Workers that were lost while they had it.
        doubted: A worker was replaced because of results like the one it had for this unit; the next one counts.
    """

    number: int
    tag: Any
    recipe: Recipe
    key: Hashable
    item: Any
    priority: tuple[int, ...] = ()
    losses: int = 0
    doubted: bool = False

    @property
    def alone(self) -> bool:
        """Whether it gets a worker for itself."""
        return self.losses >= ALONE_AFTER


@dataclass(slots=True)
class Ledger:
    """The books of a pool.

    Attributes:
        retries: Losses that a unit may suffer and be tried again.
    """

    retries: int = 3
    _ready: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    _alone: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    _units: dict[int, Unit] = field(default_factory=dict)
    _flying: dict[int, dict[int, Unit]] = field(default_factory=dict)
    _next: int = 0

    def __len__(self) -> int:
        """Units that have not come out yet."""
        return len(self._units)

    @property
    def waiting(self) -> int:
        """Units that no worker has."""
        return len(self._ready) + len(self._alone)

    def submit(self, tag: Any, recipe: Recipe, key: Hashable, item: Any, priority: tuple[int, ...]) -> None:
        """Add a unit."""
        unit = Unit(self._next, tag, recipe, key, item, priority)
        self._next += 1
        self._units[unit.number] = unit
        self._queue(unit)

    def _queue(self, unit: Unit) -> None:
        heapq.heappush(self._alone if unit.alone else self._ready, (unit.priority, unit.number))

    def flying(self, worker: int) -> int:
        """How many units a worker has."""
        return len(self._flying.get(worker, {}))

    def take(self, worker: int, slots: int, spare: int, workers: int) -> list[Unit]:
        """The units that a worker is given next.

        All units of a worker have one recipe, so that they share a batch. A worker with units of another recipe than
        the first waiting unit's gets nothing: it works off what it has, and takes that unit then.

        Args:
            worker: The worker.
            slots: Units it works on at a time.
            spare: Units it may have in reserve, to fill a slot with the moment one is free.
            workers: Workers at work; near the end of the work each gets its share.
        """
        have = self._flying.setdefault(worker, {})
        if any(unit.alone for unit in have.values()):
            return []
        if self._alone and not have:
            unit = self._units[heapq.heappop(self._alone)[1]]
            have[unit.number] = unit
            return [unit]
        key = next(iter(have.values())).key if have else None
        share = -(-(self.waiting + sum(map(len, self._flying.values()))) // max(1, workers))
        taken: list[Unit] = []
        while self._ready:
            unit = self._units[self._ready[0][1]]
            if have:
                full = len(have) >= min(slots + spare, max(1, share))
                begun = unit.recipe.whole_batches and (not taken or len(have) >= slots)
                if full or unit.key != key or begun:
                    break
            heapq.heappop(self._ready)
            key = unit.key
            have[unit.number] = unit
            taken.append(unit)
        return taken

    def finish(self, worker: int, number: int) -> Unit | None:
        """A unit is done; None where it is not this worker's to report (any more)."""
        unit = self._flying.get(worker, {}).pop(number, None)
        if unit is not None:
            del self._units[number]
        return unit

    def unit(self, worker: int, number: int) -> Unit | None:
        """A unit in flight with a worker."""
        return self._flying.get(worker, {}).get(number)

    def doubt(self, worker: int, numbers: Container[int]) -> None:
        """What a worker has is done elsewhere, through no fault of the units; of ``numbers`` the next value counts."""
        for unit in self._flying.pop(worker, {}).values():
            unit.doubted = unit.doubted or unit.number in numbers
            self._queue(unit)

    def lose(self, worker: int) -> list[Unit]:
        """A worker is gone: its units wait again; returned are those that were lost too often, which are done with."""
        given_up: list[Unit] = []
        for unit in self._flying.pop(worker, {}).values():
            unit.losses += 1
            if unit.losses > self.retries:
                del self._units[unit.number]
                given_up.append(unit)
            else:
                self._queue(unit)
        return given_up

    def clear(self) -> None:
        """Forget all units."""
        self._ready.clear()
        self._alone.clear()
        self._units.clear()
        self._flying.clear()
