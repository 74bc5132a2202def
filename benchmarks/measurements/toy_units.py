"""Work for a pool without a language model: searches of a toy world, each of which takes a fixed time.

So that a worker needs neither torch nor transformers: what is measured with it is the pool and Ray.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from colasearch.benchmarks.measurements.toy import ToyWorld
from colasearch.searchers import run

STEPS = 20
"""Steps of a problem."""
STATES = 512


@dataclass(frozen=True, slots=True)
class ToyRecipe:
    """Searches from states of a ``ToyWorld``; items are numbers below ``STATES``, values hashes of the whole tree.

    Attributes:
        sims: Simulations.
        seconds: Time of a problem, whatever else is in hand: a worker with ``n`` slots does ``n`` in that time.
    """

    sims: int
    seconds: float
    whole_batches: ClassVar[bool] = False

    def engine(self, model: Any, slots: int, beat: Callable[[], None]) -> ToyEngine:
        """An engine that sleeps where another would run its model."""
        return ToyEngine(self)

    def suspicious(self, value: Any) -> bool:
        """Never."""
        return False


class ToyEngine:
    """Lock-step slots, each at its own place in its problem."""

    def __init__(self, recipe: ToyRecipe) -> None:
        self.recipe = recipe
        self.world = ToyWorld(states=STATES)
        self.items: dict[int, int] = {}
        self.steps: dict[int, int] = {}
        self.sims = 0

    def add(self, units: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
        """Begin problems."""
        self.items.update(units)
        self.steps.update((number, 0) for number, _ in units)
        return []

    def step(self) -> list[tuple[int, str]]:
        """A step of all problems in hand; returns those that it ends."""
        time.sleep(self.recipe.seconds / STEPS)
        done = []
        for number in list(self.items):
            self.steps[number] += 1
            if self.steps[number] == STEPS:
                del self.steps[number]
                done.append((number, self._search(self.items.pop(number))))
                self.sims += self.recipe.sims
        return done

    def _search(self, item: int) -> str:
        tree = run("gumbel", self.world, [item], sims=self.recipe.sims, seed=item).tree
        contents = b"".join(array.tobytes() for array in (tree.parents, tree.actions, tree.visits, tree.values))
        return hashlib.sha256(contents).hexdigest()

    def progress(self) -> tuple[int, int]:
        """Simulations of problems that are done; no tokens."""
        return self.sims, 0
