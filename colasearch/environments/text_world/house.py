"""The environment ``house``: our own text world, for tests, first steps and tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colasearch.environments.base import Kind
from colasearch.environments.text_world.explorer import Explorer
from colasearch.environments.text_world.plan import TASKS, Plan, plan_of
from colasearch.environments.text_world.state import State
from colasearch.errors import InputError

VARIATIONS = {"train": range(1000), "dev": range(1000, 1050), "test": range(1050, 1150)}
"""Numbers of the variations of each task, by split."""


class House:
    """Rooms, things, boxes and a chest; each of a task's stages earns an equal part of 1.

    Attributes:
        instruction: What the model is told first.
        max_steps: Longest episode.
        tasks: Names of the tasks.
    """

    instruction = (
        "You are in a house. Reach the goal by short commands: go north, open box, take apple, wash apple, unlock "
        "chest, put apple in box. Give one command at a time."
    )
    max_steps = 30
    tasks: Sequence[str] = TASKS

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._state: State | None = None

    @staticmethod
    def variations(task: str, split: str) -> range:
        """Numbers of the variations of a split."""
        return VARIATIONS[split]

    def reset(self, task: str, variation: int) -> str:
        """Begin an episode.

        Raises:
            InputError: There is no such task.
        """
        task = task or TASKS[0]
        if task not in TASKS:
            raise InputError(f"house has no task {task!r}; its tasks are {', '.join(TASKS)}")
        self._plan = plan_of(task, variation)
        self._state = State.of(self._plan)
        return f"Goal: {self._plan.goal}\n{self._state.look()}"

    def step(self, text: str) -> tuple[str, float, bool]:
        """Act."""
        state = self._now()
        before, total = state.reached, len(state.stages())
        told = state.act(text)
        reached = state.progress()
        if reached == total:
            return f"{told} The goal is reached.", (reached - before) / total, True
        return f"{told} {state.look()}", (reached - before) / total, False

    def valid_actions(self) -> list[str]:
        """Every action that changes something."""
        return self._now().actions()

    def copy(self) -> House:
        """The same moment again."""
        other = House()
        other._plan, other._state = self._plan, self._now().copy()
        return other

    def gold(self) -> list[str]:
        """What a player does who looks for what he lacks."""
        self._now()
        assert self._plan is not None
        return Explorer(self._plan).solve()

    def _now(self) -> State:
        if self._state is None:
            raise InputError("house has no episode; call reset(task, variation) first")
        return self._state


def kind(**options: Any) -> Kind:
    """The kind ``house``."""
    return Kind("house", House)
