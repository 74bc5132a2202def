"""Which episodes a kind of environment has, and what it says of itself."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from colasearch.environments.base import (
    MAX_STEPS,
    SPLITS,
    UNSAID_VARIATIONS,
    EnvironmentFault,
    Kind,
    Start,
    starts_of,
)
from colasearch.environments.checked import Checked
from colasearch.errors import ColasearchError, InputError

INSTRUCTION = (
    "Reach the goal by short commands. Answer each observation with one command on one line, and nothing else."
)
"""What the model is told where the environment says nothing."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What an environment says of itself.

    Attributes:
        kind: How it is made.
        tasks: Names of its tasks; one empty name where it has none.
        instruction: What the model is told first.
        max_steps: Longest episode, in actions.
        has: Which of ``valid_actions``, ``copy`` and ``gold`` it has.
        told: Whether it says which variations there are.
    """

    kind: Kind
    tasks: tuple[str, ...]
    instruction: str
    max_steps: int
    has: frozenset[str]
    told: bool

    def make(self) -> Checked:
        """An environment of this kind."""
        return Checked(self.kind.make(), self.kind.name)

    def chosen(self, task: str | None) -> tuple[str, ...]:
        """The tasks that a reference names: one, several with commas between them, or all where it names none.

        Raises:
            InputError: There is no such task.
        """
        if task is None:
            return self.tasks
        if self.tasks == ("",) or task in self.tasks:
            return (task,)
        names = tuple(dict.fromkeys(name for part in task.split(",") if (name := part.strip())))
        for name in names:
            if name not in self.tasks:
                raise InputError(f"{self.kind.name} has no task {name!r}; its tasks are {', '.join(self.tasks)}")
        if not names:
            raise InputError(f"{self.kind.name}:{task} names no task; its tasks are {', '.join(self.tasks)}")
        return names

    def starts(
        self,
        task: str | None,
        split: str,
        *,
        limit: int | None = None,
        skip: int = 0,
        shuffle_seed: int | None = None,
    ) -> list[Start]:
        """The episodes of a split: one of each task in turn, or in an order drawn from ``shuffle_seed``.

        Of an environment that does not say which variations it has: 0, 1, ..., ``limit`` of each task.

        Raises:
            InputError: There is no such task or split, or nothing is left.
        """
        if split not in SPLITS:
            raise InputError(f"the split is {split!r}; it must be one of {', '.join(SPLITS)}")
        tasks = self.chosen(task)
        unsaid = range(UNSAID_VARIATIONS if limit is None else skip + limit)
        if self.told:
            environment = self.make()
            try:
                found = starts_of(tasks, lambda name: _numbers(environment, name, split))
            finally:
                environment.close()
        else:
            found = starts_of(tasks, lambda name: unsaid)
        if shuffle_seed is not None:
            random.Random(f"episodes {shuffle_seed}").shuffle(found)
        found = found[skip:][:limit]
        if not found:
            left = f" left after --skip {skip}" if skip else ""
            raise InputError(f"{self.kind.name} has no episode of {split}{left}")
        return found

    def start(self, task: str | None, variation: int) -> Start:
        """One episode, of the first of the tasks that are named.

        Raises:
            InputError: There is no such task, or it has no such variation, where the environment says which it has.
        """
        name = self.chosen(task)[0]
        if self.told:
            environment = self.make()
            try:
                known = {number for split in SPLITS for number in _numbers(environment, name, split)}
            finally:
                environment.close()
            if variation not in known:
                have = f"{len(known)}, from {min(known)} to {max(known)}" if known else "none"
                raise InputError(f"{self.kind.name}:{name} has no variation {variation}; it has {have}")
        return Start(name, variation)


def catalogue_of(kind: Kind) -> Catalogue:
    """Make one environment and ask it what it says of itself.

    Raises:
        InputError: What it says cannot be used.
    """
    environment = Checked(kind.make(), kind.name)
    inner = environment.inner
    try:
        instruction = getattr(inner, "instruction", None) or INSTRUCTION
        if not isinstance(instruction, str):
            raise InputError(f"{kind.name}: instruction is a {type(instruction).__name__}; make it a text")
        steps = getattr(inner, "max_steps", None)
        steps = MAX_STEPS if steps is None else steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InputError(f"{kind.name}: max_steps is {steps!r}; make it a whole number above 0")
        names = ("valid_actions", "copy", "gold")
        has = frozenset(name for name in names if callable(getattr(inner, name, None)))
        told = callable(getattr(inner, "variations", None))
        return Catalogue(kind, _tasks(inner, kind.name), instruction.strip(), steps, has, told)
    finally:
        environment.close()


def _tasks(inner: Any, name: str) -> tuple[str, ...]:
    found = getattr(inner, "tasks", None)
    if callable(found):
        found = _asked(found, name, "tasks")
    if found is None:
        return ("",)
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise InputError(f"{name}: tasks is {str(found)[:60]!r}; make it a list of names")
    tasks = tuple(sorted(found) if isinstance(found, set | frozenset) else found)
    if not tasks or not all(isinstance(task, str) and task for task in tasks):
        raise InputError(f"{name}: tasks is {str(found)[:60]!r}; make it a list of names")
    return tuple(dict.fromkeys(tasks))


def _numbers(environment: Checked, task: str, split: str) -> list[int]:
    found = _asked(lambda: environment.inner.variations(task, split), environment.name, "variations")
    if isinstance(found, int) and not isinstance(found, bool):
        found = range(found)
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise InputError(f"variations({task!r}, {split!r}) gave {str(found)[:60]!r}; return a list of whole numbers")
    numbers = list(found)
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise InputError(f"variations({task!r}, {split!r}) gave {str(numbers)[:60]!r}; return a list of whole numbers")
    return sorted(numbers) if isinstance(found, set | frozenset) else numbers


def _asked(function: Any, name: str, what: str) -> Any:
    try:
        return function()
    except ColasearchError:
        raise
    except Exception as error:  # the user's code
        raise EnvironmentFault(
            f"environment {name}: {what} raised {type(error).__name__}: {str(error)[:300]}"
        ) from error
