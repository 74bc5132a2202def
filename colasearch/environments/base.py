"""What an environment is: a world that is acted on by short texts, one episode at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from colasearch.errors import ColasearchError

SPLITS = ("train", "dev", "test")
MAX_STEPS = 30
"""Longest episode, in actions, of an environment that does not say."""
UNSAID_VARIATIONS = 10
"""Variations that are played of an environment that does not say which it has."""
SUCCESS = 1.0
"""Score (or last reward) from which on an episode that its environment has ended counts as a success."""


class EnvironmentFault(ColasearchError, RuntimeError):
    """An environment broke its contract, or raised: the episode is lost, others are not (exit code 1)."""

    exit_code = 1


class Environment(Protocol):
    """One episode at a time of a world that is acted on by texts.

    Everything that follows must depend on task, variation and the actions alone: searches without ``copy`` come back to
    a state by ``reset`` and the same actions. Further members are looked for by name, and may be missing:

    - ``valid_actions() -> iterable of texts``: what can be done now; None: anything may be tried;
    - ``copy() -> Environment``: another one in the same state, that shares nothing that changes;
    - ``gold() -> iterable of texts``: actions that solve the episode from its beginning;
    - ``success() -> bool``: whether the episode, which has ended, was solved;
    - ``close()``: it is not needed any more;
    - ``tasks``: names of tasks, or a method that gives them;
    - ``variations(task, split) -> iterable of ints``: those of ``train``, ``dev`` or ``test``;
    - ``instruction``: what the model is told before the first observation;
    - ``max_steps``: longest episode, in actions.
    """

    def reset(self, task: str, variation: int) -> str:
        """Begin an episode; the first observation, which says what is to be done."""

    def step(self, text: str) -> tuple[str, float, bool]:
        """Act. Observation, reward, and whether the episode is over; the episode's score is the sum of rewards."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action led to.

    Attributes:
        observation: What is seen now.
        reward: Of this action.
        done: The environment has ended the episode.
        success: Whether it was solved, where the environment says so by itself; None otherwise.
    """

    observation: str
    reward: float
    done: bool
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """An episode that can be played.

    Attributes:
        task: Name of the task; empty where there is but one.
        variation: Number of the variation.
    """

    task: str
    variation: int

    @property
    def id(self) -> str:
        """Names the episode in records; with the run seed it fixes all randomness of the model's actions."""
        return f"{self.task}-{self.variation}" if self.task else str(self.variation)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of environment: what it is called, and how one is made.

    Attributes:
        name: As in ``bench env:NAME``.
        make: Makes an environment. Each that is made can be played by itself.
        file: The user's file that it comes from; None for ours and installed ones.
        slots: Most that may be in use at a time; None: any number. Servers cost memory.
        close: Ends what all environments of the kind share.
    """

    name: str
    make: Callable[[], Any]
    file: str | None = None
    slots: int | None = None
    close: Callable[[], None] = lambda: None


def is_success(score: float, last_reward: float, done: bool, said: bool | None) -> bool:
    """Whether an episode was solved.

    Args:
        score: Sum of its rewards.
        last_reward: Of its last action: a cost for each step must not make a failure of what was solved.
        done: The environment has ended it.
        said: What the environment's own ``success`` says, if it has one.
    """
    if not done:
        return False
    return said if said is not None else max(score, last_reward) >= SUCCESS - 1e-6


def starts_of(tasks: Sequence[str], variations: Callable[[str], Iterable[int]]) -> list[Start]:
    """The episodes of tasks, one of each task in turn, so that the first few are of all kinds."""
    rows = [[Start(task, number) for number in variations(task)] for task in tasks]
    longest = max(map(len, rows), default=0)
    return [row[place] for place in range(longest) for row in rows if place < len(row)]
