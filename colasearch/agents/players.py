"""Choosing action by action: the most probable one, one that is drawn, or the most frequent of several.

Where an environment says what can be done, an action is chosen among that, by how likely the model is to write it;
otherwise the model writes what it will.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from colasearch.agents.episode import LATE, Episode, Live
from colasearch.agents.layout import Layout
from colasearch.agents.places import Place
from colasearch.agents.writer import Option, Writer
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.errors import InputError

GREEDY, SAMPLED, MAJORITY = "greedy", "sampled", "majority"
WIDTH = 8
"""Actions looked at in each state, and votes of a majority, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """How episodes are played.

    Attributes:
        max_steps: Longest episode, in actions.
        width: Most different actions that are looked at in a state; votes of a majority.
        restrict: Whether actions are chosen among those that the environment says can be done, where it does.
        temperature: Of draws among given actions; codes and tokens have theirs in the writer's sampling.
    """

    max_steps: int
    width: int = WIDTH
    restrict: bool = True
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """An action, and whether it reached the limit of its length."""

    text: str
    cut: bool = False


def chunks_of(layout: Layout, episode: Episode) -> tuple[tuple[int, ...], ...]:
    """The episode so far as chunks of tokens.

    Raises:
        InputError: It does not fit the context.
    """
    return layout.chunks(episode.first, episode.turns)


class Player:
    """Plays episodes by one way of choosing.

    Attributes:
        writer: The model.
        settings: How episodes are played.
        how: ``greedy``, ``sampled`` or ``majority``.
        number: Of an episode among several of the same start; each draws for itself.
    """

    def __init__(self, writer: Writer, settings: PlaySettings, how: str) -> None:
        self.writer, self.settings, self.how = writer, settings, how

    def play(
        self,
        lives: Sequence[Live],
        numbers: Sequence[int] | None = None,
        on_turn: Callable[[Live], None] | None = None,
        late: Callable[[], bool] | None = None,
    ) -> None:
        """Play episodes to their ends, an action of each at a time.

        Args:
            lives: The episodes.
            numbers: Which of several episodes of one start each is; all 0 if left out.
            on_turn: Told after each action.
            late: Whether time is over.
        """
        numbers = [0] * len(lives) if numbers is None else numbers
        while going := [pair for pair in zip(lives, numbers, strict=True) if pair[0].going]:
            if late is not None and late():
                for live, _ in going:
                    live.episode.stop = LATE
                return
            self._turn(going, on_turn)

    def _turn(self, going: Sequence[tuple[Live, int]], on_turn: Callable[[Live], None] | None) -> None:
        """One action of each episode."""
        calls = self.writer.model_calls
        ready: list[tuple[Live, int]] = []
        texts: list[tuple[tuple[int, ...], ...]] = []
        valid: list[tuple[str, ...] | None] = []
        for live, number in going:
            allowed = live.valid() if self.settings.restrict else None
            with live.own_fault():
                if live.going:
                    texts.append(chunks_of(self.writer.layout, live.episode))
                    valid.append(allowed)
                    ready.append((live, number))
        places = self.writer.places([(*live.episode.key, number) for live, number in ready], texts)
        choices = self._chosen([live for live, _ in ready], places, valid)
        for (live, _), chosen in zip(ready, choices, strict=True):
            live.calls += self.writer.model_calls - calls
            if chosen is None:
                live.error = InputError(f"episode {live.episode.start.id}: the model gave NaN or infinity")
                continue
            live.episode.cut += chosen.cut
            live.step(chosen.text, self.settings.max_steps)
            if on_turn is not None:
                on_turn(live)

    def _chosen(
        self, lives: Sequence[Live], places: Sequence[Place], valid: Sequence[tuple[str, ...] | None]
    ) -> list[Chosen | None]:
        """An action at each place; None where the model's numbers are of no use."""
        fine = self.writer.usable(places)
        free = [i for i, allowed in enumerate(valid) if fine[i] and allowed is None]
        given = [i for i, allowed in enumerate(valid) if fine[i] and allowed is not None]
        found: list[Chosen | None] = [None] * len(places)
        for i, chosen in zip(free, self._written([places[i] for i in free]), strict=True):
            found[i] = chosen
        options = self._given([places[i] for i in given], [valid[i] or () for i in given])
        for i, rows in zip(given, options, strict=True):
            found[i] = self._among(places[i], rows) if rows else None
        return found

    def _written(self, places: Sequence[Place]) -> list[Chosen | None]:
        count = self.settings.width if self.how == MAJORITY else 1
        drawn = self.writer.draw(places, count, greedy=self.how == GREEDY)
        found: list[Chosen | None] = []
        for rows in drawn:
            sound = [one for one in rows if not one.broken]
            text = most_frequent([one.text for one in sound])
            cut = any(one.cut for one in sound if one.text == text)
            found.append(None if text is None else Chosen(text, cut))
        return found

    def _given(self, places: Sequence[Place], valid: Sequence[Sequence[str]]) -> list[list[Option]]:
        # All of them: a draw among some would be another one. A greedy choice wants the best alone.
        width = 1 if self.how == GREEDY else max(map(len, valid), default=1)
        return self.writer.judge(places, valid, width)

    def _among(self, place: Place, options: Sequence[Option]) -> Chosen:
        if self.how == GREEDY:
            return Chosen(options[0].text)
        count = self.settings.width if self.how == MAJORITY else 1
        heated = [option.share ** (1 / self.settings.temperature) for option in options]
        drawn = []
        for uniform in seeded_uniforms(count, self.writer.seed, *place.key, "among"):
            at = int(np.searchsorted(np.cumsum(heated), float(uniform) * sum(heated), side="right"))
            drawn.append(options[min(at, len(options) - 1)].text)
        text = most_frequent(drawn)
        assert text is not None
        return Chosen(text)


def most_frequent(texts: Sequence[str]) -> str | None:
    """The text that stands there most often, the first one of equals; None of none."""
    return max(dict.fromkeys(texts), key=texts.count, default=None)
