"""Decoding many texts together, each under its own forced first token and its own random numbers.

A ``Decoder`` keeps rows in a batch; a row that ends leaves at once, and one that waits takes its place, so short texts
never wait for long ones. What a row decodes depends on the row alone.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.decoding.row import Lost, Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.looks import Looks, Wanted
from colasearch.engine.memory.interfaces import Place
from colasearch.engine.memory.shape import Segment
from colasearch.errors import ResourceError

CHECKED_BRANCH_BELOW = 0.999
"""Least ``branch_below`` where a check will judge the next token: another one is searched though the model is sure."""
UNUSABLE = -1
"""In place of a token, where the model gave NaN or infinity."""
HALVINGS = 3
"""Times in a row that the batch is halved before running out of memory is an error."""


@dataclass(slots=True)
class _Active:
    """A row in the batch.

    Attributes:
        row: The row.
        rules: Its rules.
        forced: Tokens of lost nodes that have not been fed yet, the next one last.
        start: Length of the row's keys and values before its first token.
    """

    row: Row
    rules: Rules
    forced: list[int]
    start: int = 0


class Decoder:
    """Rows decoded together, at most ``max_rows`` at a time; the others wait in the order of submission.

    Attributes:
        max_rows: Halved when memory runs out.
    """

    def __init__(self, actor: Actor, max_rows: int) -> None:
        self.actor, self.max_rows = actor, max_rows
        self.batch = actor.new_batch()
        self._waiting: deque[tuple[Row, Rules]] = deque()
        self._done: list[Row] = []
        self._count = 0
        self._halved = 0
        self._greedy: dict[Row, tuple[int, int | None]] = {}
        self._back: WeakValueDictionary[Hashable, Segment] = WeakValueDictionary()

    def __len__(self) -> int:
        """Rows in the batch and waiting."""
        return self._count + len(self._waiting)

    def submit(self, rows: Iterable[Row], rules: Rules) -> None:
        """Queue rows."""
        self._waiting.extend((row, rules) for row in rows)

    @torch.inference_mode()
    def cancel(self, tree: int) -> list[Row]:
        """Take all rows of a tree out, unfinished as they are, and return them."""
        gone = [row for row, _ in self._waiting if row.tree == tree]
        self._waiting = deque((row, rules) for row, rules in self._waiting if row.tree != tree)
        for place in [p for p in self.batch.places() if p.item.row.tree == tree]:
            self._leave(place)
            gone.append(place.item.row)
        return gone

    def take_done(self) -> list[Row]:
        """The rows that have ended since the last call; none is lost when a pass is interrupted."""
        done, self._done = self._done, []
        return done

    @torch.inference_mode()
    def step(self) -> None:
        """Decode one token of each row in the batch."""
        while True:
            try:
                self._admit()
                places = self._ready()
                found = self._fed(places) if places else None
                break
            except (RuntimeError, MemoryError) as error:
                self._shrink(error)
        self._halved = 0
        if found is None:
            return
        features, looks = found
        going, over = self._harvest(places, features, looks)
        if going:
            self._go_on([(i, p.item) for i, p in going], features, looks)
            over += [p for _, p in going if not p.item.row.wants_feeding(p.item.rules)]
        self._greedy = {}  # a row that is done, and the keys and values it stands on, must not live on in here
        for place in over:
            self._leave(place)
            self._done.append(place.item.row)

    def _admit(self) -> None:
        """Move waiting rows into the batch; those that end with their first token are done at once."""
        while self._waiting and self._count < self.max_rows:
            row, rules = self._waiting[0]
            path, lost = self._replayed(row)
            forced = [t for one in lost for t in one.tokens]
            place = self.batch.enter(_Active(row, rules, forced[::-1]), path)
            place.item.start = place.length + len(forced)
            self._waiting.popleft()
            self._count += 1
            row.append(row.first_token, rules)
            self.actor.generated_tokens += 1
            if not row.wants_feeding(rules):
                self._leave(place)
                self._done.append(row)

    def _replayed(self, row: Row) -> tuple[Sequence[Segment], Sequence[Lost]]:
        """A row's path, and what of it is still lost: nothing, where pieces of a text are encoded at once."""
        if not row.lost:
            return row.path, ()
        known = list(itertools.takewhile(lambda one: one is not None, (self._back.get(one.key) for one in row.lost)))
        missing = row.lost[len(known) :]
        path = [*row.path, *known]
        found = self.actor.replay(path, [one.tokens for one in missing]) if missing else []
        if found is None:
            return row.path, row.lost
        row.recovered = [(one.key, run) for one, run in zip(row.lost, [*known, *found], strict=True)]
        self._back.update(row.recovered)
        return [*path, *found], ()

    def _ready(self) -> list[Place]:
        self.batch.make_room()
        return list(self.batch.places())

    def _fed(self, places: Sequence[Place]) -> tuple[Features, Looks]:
        """Feed each row its next token."""
        rows: list[tuple[Row, Rules]] = [(p.item.row, p.item.rules) for p in places]
        # The number of a row that draws none, at its end or as it is computed again, means nothing.
        uniforms = [row.uniforms[at] if (at := len(row.tokens) - 1) < len(row.uniforms) else 0.5 for row, _ in rows]
        asked = [rules.branch_below is not None and not row.step_tokens for row, rules in rows]
        # Where a step has just ended at an open choice, a rollout goes on with a draw.
        drawn = any(rules.rollout or not (ask and rules.greedy) for ask, (_, rules) in zip(asked, rows, strict=True))
        wanted = Wanted(np.array(uniforms, np.float64), likely=any(asked), drawn=drawn)
        return self.actor.step([self._next(p.item) for p in places], self.batch, wanted)

    @staticmethod
    def _next(active: _Active) -> int:
        return active.forced[-1] if active.forced else active.row.tokens[-1]

    def _harvest(
        self, places: Sequence[Place], features: Features, looks: Looks
    ) -> tuple[list[tuple[int, Any]], list[Any]]:
        """Take what the pass gave; returns the rows that want another token, with their index, and those that end."""
        going: list[tuple[int, Any]] = []
        over: list[Any] = []
        self._greedy = self._end_steps(places, looks)
        usable = self._usable(places, looks)
        for index, place in enumerate(places):
            active: _Active = place.item
            row = active.row
            if active.forced:
                active.forced.pop()
                self.actor.repeated_tokens += 1
                if not active.forced:
                    self._recover(place)
                continue
            row.passes += 1
            if index in usable:
                row.features = features.rows(slice(index, index + 1))
                row.segment = self.batch.columns(place, active.start, place.length)
                row.broken = row.broken or not usable[index]
            if row.goes_on(active.rules):
                going.append((index, place))
            else:
                over.append(place)
        return going, over

    @staticmethod
    def _usable(places: Sequence[Place], looks: Looks) -> dict[int, bool]:
        """Whether the features at the ends of steps are finite, by row: one look at the device for all."""
        ends = [
            i
            for i, place in enumerate(places)
            if not place.item.forced and place.item.row.step_tokens == len(place.item.row.tokens)
        ]
        return dict(zip(ends, looks.usable(ends), strict=True)) if ends else {}

    @staticmethod
    def _end_steps(places: Sequence[Place], looks: Looks) -> dict[Row, tuple[int, int | None]]:
        """End the steps that have come to an open choice, where the rules ask for that.

        Returns:
            Token and code of the rows whose steps go on, where these are not to be drawn.
        """
        asked = [
            i
            for i, place in enumerate(places)
            if place.item.rules.branch_below is not None and not place.item.row.step_tokens and not place.item.forced
        ]
        if not asked:
            return {}
        going: dict[Row, tuple[int, int | None]] = {}
        for i, probability, token, code in zip(asked, *looks.likely(asked), strict=True):
            row, rules = places[i].item.row, places[i].item.rules
            checked = rules.is_checked is not None and rules.is_checked(row.record)
            if not probability >= (max(rules.branch_below, CHECKED_BRANCH_BELOW) if checked else rules.branch_below):
                row.end_step(rules)  # NaN is no certainty
            elif rules.greedy:
                going[row] = token, code
        return going

    def _recover(self, place: Place) -> None:
        row: Row = place.item.row
        end = place.item.start
        for lost in reversed(row.lost):
            begin = end - len(lost.tokens)
            row.recovered.append((lost.key, self.batch.columns(place, begin, end)))
            end = begin

    def _go_on(self, going: Sequence[tuple[int, _Active]], features: Features, looks: Looks) -> None:
        """Give each row its next token: the most probable one, or one that is drawn."""
        found = dict(self._greedy)
        open_ = [(i, active.row) for i, active in going if active.row not in found]
        if open_:
            drawn = looks.drawn([i for i, _ in open_])
            if drawn.kept_BA is not None:
                _note_kept([row for _, row in open_], drawn.kept_BA)
            for (_, row), token, code, fine in zip(open_, drawn.tokens, drawn.codes, drawn.fine, strict=True):
                found[row] = (token if fine else UNUSABLE), code
        for i, active in going:
            row = active.row
            token, code = found[row]
            if token == UNUSABLE:
                row.broken = True
                continue
            if code is not None:
                row.codes.append(code)
            if row.states is not None:
                row.states.append(features.hidden_BD[i])
            row.append(token, active.rules)
            if row.ended:
                row.last = features.rows(slice(i, i + 1))
            self.actor.generated_tokens += 1

    def _leave(self, place: Place) -> None:
        self.batch.leave(place, poisoned=place.item.row.broken)
        self._count -= 1

    def _shrink(self, error: RuntimeError | MemoryError) -> None:
        """Halve the batch if ``error`` says that memory ran out; the rows that must leave start anew later.

        Raises:
            ResourceError: Halving has not helped.
        """
        if not is_out_of_memory(error):
            raise error
        places: list[Place] = list(self.batch.places())
        rows = max(1, len(places))
        if rows == 1 or self._halved == HALVINGS:
            raise ResourceError(
                f"out of memory with {rows} rows in the batch ({str(error).splitlines()[0][:160]}); "
                "lower --batch-size, --max-tokens or --kv-memory, or use a smaller model"
            ) from None
        self._halved += 1
        self.max_rows = rows // 2
        for place in reversed(places[self.max_rows :]):
            active: _Active = place.item
            self._leave(place)
            self.actor.generated_tokens -= len(active.row.tokens)
            active.row.restart()
            self._waiting.appendleft((active.row, active.rules))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warnings.warn(f"out of memory with {rows} rows in a batch: going on with {self.max_rows}", stacklevel=3)


def _note_kept(rows: Sequence[Row], kept_BA: Tensor) -> None:
    """Tell rows among what they drew, by two looks at the device, whatever their number."""
    pairs = kept_BA.nonzero()
    counts = torch.bincount(pairs[:, 0], minlength=len(rows)).tolist()
    for row, kept in zip(rows, torch.split(pairs[:, 1], counts), strict=True):
        if row.kept is not None:
            row.kept.append(kept)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of CPU or GPU is exhausted."""
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text


def decode(actor: Actor, rows: Sequence[Row], rules: Rules | Sequence[Rules], at_once: int | None = None) -> None:
    """Decode all ``rows``, at most ``at_once`` together, filling them in. A row that ends leaves the batch at once.

    ``rules`` are those of all rows, or one each.
    """
    decoder = Decoder(actor, max(1, at_once or len(rows)))
    for row, its in zip(rows, [rules] * len(rows) if isinstance(rules, Rules) else rules, strict=True):
        decoder.submit([row], its)
    while len(decoder):
        decoder.step()
    decoder.take_done()
