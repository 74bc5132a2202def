"""A recipe without a model, whose engine squares numbers and goes wrong where it is told to. Workers import this."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from colasearch.errors import InputError

NAN = float("nan")


@dataclass(frozen=True)
class Squares:
    """Items are whole numbers, values their squares.

    Attributes:
        kills: Items that end the process.
        breaks: Items that let the engine raise.
        hangs: Items at which the engine stands still.
        nans: Items whose value is NaN.
        once: A file; where it does not exist yet, it is made, and ``breaks``, ``hangs`` or ``sick`` apply. Without:
            always.
        sick: All values are NaN.
        refused: No engine is made.
        pause: Seconds a step.
        beats: So often the engine says that it gets on, while it pauses.
        delay: First steps that finish nothing.
    """

    kills: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    hangs: tuple[int, ...] = ()
    nans: tuple[int, ...] = ()
    once: str = ""
    sick: bool = False
    refused: bool = False
    pause: float = 0.0
    beats: int = 0
    delay: int = 0
    whole_batches: ClassVar[bool] = False

    def engine(self, model: Any, slots: int, beat: Callable[[], None]) -> SquaresEngine:
        if self.refused:
            raise InputError("squares are refused")
        return SquaresEngine(self, slots, beat)

    def suspicious(self, value: float) -> bool:
        return value != value


@dataclass(frozen=True)
class SquaresInBatches(Squares):
    whole_batches: ClassVar[bool] = True


class SquaresEngine:
    def __init__(self, recipe: Squares, slots: int, beat: Callable[[], None]) -> None:
        self.recipe, self.slots, self.beat = recipe, slots, beat
        self.units: list[tuple[int, int]] = []
        self.steps = 0
        self.sick = recipe.sick and self.first()

    def first(self) -> bool:
        """Whether what goes wrong goes wrong now."""
        if not self.recipe.once:
            return True
        try:
            Path(self.recipe.once).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def add(self, units: Sequence[tuple[int, int]]) -> list[tuple[int, float]]:
        """Zeros are done at once."""
        assert not (self.recipe.whole_batches and self.units), "a batch before the last one's end"
        self.units += [unit for unit in units if unit[1]]
        assert len(self.units) <= self.slots, "more units than slots"
        return [(number, 0) for number, item in units if not item]

    def step(self) -> list[tuple[int, float]]:
        for _ in range(self.recipe.beats):
            time.sleep(self.recipe.pause / self.recipe.beats)
            self.beat()
        if not self.recipe.beats:
            time.sleep(self.recipe.pause)
        self.steps += 1
        if any(item in self.recipe.hangs for _, item in self.units) and self.first():
            time.sleep(3600)
        if any(item in self.recipe.kills for _, item in self.units):
            os._exit(7)
        if self.steps <= self.recipe.delay:
            return []
        bad = [item for _, item in self.units if item in self.recipe.breaks]
        if bad and self.first():
            raise ValueError(f"bad item {bad[0]}")
        count = len(self.units) if self.recipe.whole_batches else 1
        done, self.units = self.units[:count], self.units[count:]
        return [(number, NAN if self.sick or item in self.recipe.nans else item * item) for number, item in done]

    def progress(self) -> tuple[int, int]:
        return self.steps, 10 * self.steps
