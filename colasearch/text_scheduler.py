"""Problems of sampling searchers in slots: the texts of all decode in one batch, as the trees of a ``Scheduler`` do.

``whole_texts.draw`` draws one problem's texts to their end; here problems join and leave while others are drawn. The
result is the same: a text depends on its seed, problem and number alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from colasearch.benchmarks.harness.drawing import Drawing
from colasearch.benchmarks.harness.samples import GREEDY, Sampler
from colasearch.engine.decoding.decoder import Decoder
from colasearch.engine.decoding.row import Row
from colasearch.engine.forward.actor import Actor
from colasearch.engine.scheduler import Searched, Status
from colasearch.engine.settings import SearchSettings
from colasearch.engine.texts.ends import TextEnds
from colasearch.errors import ColasearchError, InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, StopReason
from colasearch.whole_texts import job_of, searched, world_of


@dataclass(slots=True)
class _Run:
    """A problem in a slot.

    Attributes:
        problem: The problem.
        settings: How its texts are drawn.
        begun: When it got its slot.
        drawing: Its texts.
        rows: Those in the decoder; each has the run's number as its tree.
        reason: Why it ends before all are drawn.
    """

    problem: Problem
    settings: SearchSettings
    begun: float
    drawing: Drawing
    rows: set[Row]
    reason: StopReason | None = None


class TextScheduler:
    """Slots of problems whose whole texts are drawn, with one sampling of tokens for all.

    Attributes:
        actor: The model; counts calls and tokens.
    """

    def __init__(self, lm: LatentLM, settings: SearchSettings, slots: int = 16) -> None:
        """An empty batch.

        Args:
            lm: The model.
            settings: Of a problem as they will come: same actions, sampling (or ``greedy``) and world, but for the
                length of texts.
            slots: Most problems at a time.

        Raises:
            InputError: A bad setting.
            PrerequisiteError: The model has no latent modules.
        """
        settings.check()
        if slots < 1:
            raise InputError(f"slots is {slots}; it must be at least 1")
        self.lm, self.slots, self._like = lm, slots, shared_by(settings)
        world = world_of(settings)
        sampling = GREEDY if settings.searcher == "greedy" else world.sampling
        self.actor = Actor(lm, sampling, latent=settings.actions == "latent", engine=world.engine)
        self._ends = TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self._decoder = Decoder(self.actor, self.actor.rows_for(world))
        self._runs: dict[int, _Run] = {}
        self._next = 0

    @property
    def free(self) -> int:
        """Slots without a problem."""
        return self.slots - len(self._runs)

    def add(self, problem: Problem, settings: SearchSettings) -> Iterator[Searched]:
        """Begin a problem; yields it where it cannot be drawn for.

        Raises:
            InputError: Its texts cannot be in one batch with the others.
        """
        if shared_by(settings) != self._like:
            raise InputError("texts in one batch must have the same sampling, actions and values")
        begun = time.monotonic()
        try:
            job, how = job_of(problem, settings)
            sampler = Sampler(self.lm, [problem], how.world, how.seed, how.actions, shared=(self.actor, self._ends))
        except ColasearchError as error:
            yield Searched(problem, None, None, error)
            return
        if sampler.errors:
            yield Searched(problem, None, None, sampler.errors[0])
            return
        number, self._next = self._next, self._next + 1
        drawing = Drawing([job], (settings.searcher,), how, sampler, begun)
        self._runs[number] = _Run(problem, settings, begun, drawing, set())
        self._draw_more(number)

    def step(self) -> Iterator[Searched]:
        """One token of every text in the batch; yields the problems that are done."""
        for number in [number for number, run in self._runs.items() if self._is_over(run)]:
            yield self._end(number)
        self._decoder.step()
        for row in self._decoder.take_done():
            self._runs[row.tree].rows.discard(row)
        for number in [number for number, run in self._runs.items() if not run.rows]:
            self._runs[number].drawing.take()
            if not self._draw_more(number):
                yield self._end(number)

    def interrupt(self, problem: Problem) -> None:
        """End the drawing for ``problem`` (this very object): the next step yields it with its texts by then."""
        for run in self._runs.values():
            if run.problem is problem:
                run.reason = StopReason.INTERRUPTED

    def cancel(self, problem: Problem) -> None:
        """Drop ``problem`` (this very object), and free its slot at once; nothing comes of it."""
        for number in [number for number, run in self._runs.items() if run.problem is problem]:
            del self._runs[number]
            self._decoder.cancel(number)

    def status_of(self, problem: Problem) -> Status:
        """How far ``problem`` (this very object) is, in texts; all zero where it is not in a slot."""
        for run in self._runs.values():
            if run.problem is problem:
                (job,), (drawn,) = run.drawing.jobs, run.drawing.drawn
                rows = run.drawing.sampler.in_progress if run.rows else []
                ended = len(drawn.samples) + sum(row not in run.rows for _, _, row in rows)
                tokens = drawn.tokens + sum(len(row.tokens) for _, _, row in rows)
                return Status(ended, job.texts or 0, ended, tokens, time.monotonic() - run.begun)
        return Status(0, 0, 0, 0, 0.0)

    def _draw_more(self, number: int) -> bool:
        """Queue the texts that a problem wants next; returns whether it wants any."""
        run = self._runs[number]
        wanted = run.drawing.wanted()
        if not wanted:
            return False
        rows, rules = run.drawing.sampler.begin(wanted)
        for row, its in zip(rows, rules, strict=True):
            row.tree = number
            self._decoder.submit([row], its)
        run.rows = set(rows)
        return True

    @staticmethod
    def _is_over(run: _Run) -> bool:
        limit = run.settings.max_seconds
        if limit is not None and time.monotonic() - run.begun >= limit:
            run.reason = run.reason or StopReason.MAX_SECONDS
        return run.reason is not None

    def _end(self, number: int) -> Searched:
        run = self._runs.pop(number)
        self._decoder.cancel(number)
        if run.reason is not None:
            run.drawing.take()
            run.drawing.end(run.reason)
        (drawn,) = run.drawing.results()
        return searched(self.lm, drawn[run.settings.searcher], run.settings, time.monotonic() - run.begun)


def shared_by(settings: SearchSettings) -> tuple[object, ...]:
    """What the settings of problems in one batch have in common."""
    world = replace(world_of(settings), max_tokens=0)
    if settings.searcher == "greedy":
        world = replace(world, sampling=GREEDY)
    return settings.actions, world
