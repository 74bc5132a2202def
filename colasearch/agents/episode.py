"""Episodes as they are played: what was done and seen so far, many at a time, each failing alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from colasearch.agents.layout import Turn
from colasearch.agents.places import Key
from colasearch.environments import Catalogue, Checked, EnvironmentFault, Outcome, Start, is_success
from colasearch.errors import ColasearchError, InputError

DONE, FULL, STUCK, LATE = "done", "max_steps", "stuck", "max_seconds"
"""Why an episode ended: its environment says so; it is as long as it may get; nothing can be done; time is over."""


@dataclass(slots=True)
class Episode:
    """One episode so far.

    Attributes:
        start: Which one.
        first: The first observation.
        turns: Actions and what came of them.
        stop: Why it has ended; empty while it goes on.
        success: Whether it was solved.
        cut: Actions that reached the limit of their length.
    """

    start: Start
    first: str
    turns: list[Turn] = field(default_factory=list)
    stop: str = ""
    success: bool = False
    cut: int = 0

    @property
    def actions(self) -> tuple[str, ...]:
        """What was done."""
        return tuple(turn.action for turn in self.turns)

    @property
    def score(self) -> float:
        """Sum of rewards."""
        return float(sum(turn.reward for turn in self.turns))

    @property
    def key(self) -> Key:
        """Fixes what is drawn here."""
        return (self.start.id, self.actions)

    def take(self, action: str, outcome: Outcome, max_steps: int) -> None:
        """Note an action and what came of it."""
        self.turns.append(Turn(action, outcome.observation, outcome.reward))
        if outcome.done:
            self.stop = DONE
            self.success = is_success(self.score, outcome.reward, True, outcome.success)
        elif len(self.turns) >= max_steps:
            self.stop = FULL

    def shown(self) -> str:
        """The episode for people."""
        lines = [self.first]
        for turn in self.turns:
            gained = f"   [{turn.reward:+g}]" if turn.reward else ""
            lines.append(f"> {turn.action}{gained}\n{turn.observation}")
        return "\n".join(lines)


@dataclass(slots=True)
class Live:
    """An episode with the environment that it is played in.

    Attributes:
        episode: What was done so far.
        environment: In the state after that.
        error: What broke it.
        calls: Forward passes of the model that it took part in.
    """

    episode: Episode
    environment: Checked
    error: ColasearchError | None = None
    calls: int = 0

    @property
    def going(self) -> bool:
        """Whether another action is wanted."""
        return not self.episode.stop and self.error is None

    def step(self, action: str, max_steps: int) -> None:
        """Act; what the environment breaks is this episode's error alone."""
        with self.own_fault():
            self.episode.take(action, self.environment.step(action), max_steps)

    def valid(self) -> tuple[str, ...] | None:
        """What can be done now; an episode in which nothing can be done ends."""
        found: tuple[str, ...] | None = None
        with self.own_fault():
            found = self.environment.valid_actions()
        if found == ():
            self.episode.stop = STUCK
        return found

    @contextmanager
    def own_fault(self) -> Iterator[None]:
        """Within, a fault of the environment, or of the episode's text, ends this episode alone."""
        try:
            yield
        except (EnvironmentFault, InputError) as error:
            self.error = error


Begin = Callable[[Start], Live]


def begin(catalogue: Catalogue, start: Start) -> Live:
    """A new environment at the beginning of an episode; where that fails, with its error."""
    environment = catalogue.make()
    live = Live(Episode(start, ""), environment)
    with live.own_fault():
        live.episode.first = environment.reset(start)
    return live


def end(lives: Sequence[Live]) -> None:
    """Let go of the episodes' environments."""
    for live in lives:
        live.environment.close()
