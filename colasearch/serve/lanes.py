"""Batches that requests join: searches in one, whole texts in another, and one of each for every sampling in use.

A lane is a ``Scheduler`` or a ``TextScheduler``. Requests of one lane decode in one batch, whatever their searchers,
budgets, seeds and lengths; what draws otherwise (another temperature) cannot be in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from colasearch.benchmarks.names import BASELINES
from colasearch.engine.plan import Plan
from colasearch.engine.scheduler import Scheduler, Searched, Status
from colasearch.engine.settings import SearchSettings
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.text_scheduler import TextScheduler, shared_by

MOST_LANES = 4
"""Most lanes that are kept: each has keys and values of its own, up to ``--kv-memory``."""


class Lane(Protocol):
    """A batch of problems, each with settings of its own."""

    def add(self, problem: Problem, settings: SearchSettings) -> Iterator[Searched]:
        """Begin a problem; yields it where it cannot be searched."""

    def step(self) -> Iterator[Searched]:
        """One pass of the model for all problems; yields those that are done."""

    def interrupt(self, problem: Problem) -> None:
        """End a problem with what was found by then; the next step yields it."""

    def cancel(self, problem: Problem) -> None:
        """Drop a problem."""

    def status_of(self, problem: Problem) -> Status:
        """How far a problem is."""


class SearchLane:
    """Tree searches."""

    def __init__(self, lm: LatentLM, settings: SearchSettings, slots: int) -> None:
        self._scheduler = Scheduler(lm, settings, slots)
        self.step, self.interrupt = self._scheduler.step, self._scheduler.interrupt
        self.cancel, self.status_of = self._scheduler.cancel, self._scheduler.status_of

    def add(self, problem: Problem, settings: SearchSettings) -> Iterator[Searched]:
        """Begin a problem; yields it where it cannot be searched."""
        yield from self._scheduler.add([problem], Plan.of(settings))


def draws_texts(settings: SearchSettings) -> bool:
    """Whether the searcher draws whole texts."""
    return settings.searcher in BASELINES


def lane_key(settings: SearchSettings) -> tuple[object, ...]:
    """Equal for problems that can be in one lane.

    Raises:
        InputError: A bad setting.
    """
    if draws_texts(settings):
        return "texts", *shared_by(settings)
    return "search", settings.actions, replace(Plan.of(settings).world, max_tokens=0)


def new_lane(lm: LatentLM, settings: SearchSettings, slots: int) -> Lane:
    """An empty lane for problems with such settings.

    Raises:
        InputError: A bad setting.
        PrerequisiteError: The model lacks what they need.
    """
    return TextScheduler(lm, settings, slots) if draws_texts(settings) else SearchLane(lm, settings, slots)
