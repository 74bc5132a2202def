"""Runs the arms of a benchmark on episodes into a run folder: resumable, and the same whatever the batch.

Episodes are taken in batches. In a batch each arm runs in turn, so all arms of the early episodes are there while the
run goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from colasearch.agents.acting import ActingPlayer
from colasearch.agents.layout import Layout
from colasearch.agents.planning import SearchPlan, plan_and_play
from colasearch.agents.players import PlaySettings
from colasearch.agents.writer import Writer
from colasearch.benchmarks.episodes.arms import (
    ACT,
    BEST_OF_N,
    GOLD,
    ONCE,
    Result,
    best_of_n,
    no_budget,
    of_live,
    play_gold,
    play_once,
)
from colasearch.benchmarks.episodes.records import record_of
from colasearch.benchmarks.episodes.summary import ONCE_SIMS, build
from colasearch.benchmarks.episodes.traces import trace_of
from colasearch.engine.settings import WorldConfig
from colasearch.environments import Catalogue, Start
from colasearch.model.latent_lm import LatentLM
from colasearch.searchers import Progress
from colasearch.storage.runs import RunFolder


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """What is run.

    Attributes:
        benchmark: Its name.
        searcher: The arm whose steps are the budget of best-of-N.
        arms: All arms, ``searcher`` among them.
        sims: Numbers of simulations, ascending.
        play: How episodes are played.
        world: Limits and sampling.
        seed: Run seed.
        actions: ``latent`` or ``sampled``.
        options: Of the searcher.
        equal: What best-of-N has as much of as the search: ``steps`` or ``tokens``.
        max_seconds: Wall-clock limit of a batch and arm.
        slots: Episodes at a time.
        traces: Whether traces are kept.
    """

    benchmark: str
    searcher: str
    arms: tuple[str, ...]
    sims: tuple[int, ...]
    play: PlaySettings
    world: WorldConfig
    seed: int = 0
    actions: str = "latent"
    options: Mapping[str, Any] = field(default_factory=dict)
    equal: str = "steps"
    max_seconds: float | None = None
    slots: int = 16
    traces: bool = True

    def units(self) -> list[tuple[str, int]]:
        """``(arm, sims)`` in the order in which they run."""
        once = [(arm, ONCE_SIMS) for arm in ONCE if arm in self.arms]
        rest = [arm for arm in (self.searcher, *self.arms) if arm not in ONCE]
        return once + [(arm, count) for count in self.sims for arm in dict.fromkeys(rest)]


@dataclass(frozen=True, slots=True)
class EpisodeData:
    """The episodes of a run.

    Attributes:
        items: Which ones, in order.
        total: How many there are without ``--limit``.
        split: Of the environment's variations.
        remarks: What a user should know.
    """

    items: list[Start]
    total: int
    split: str
    remarks: list[str] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """Over tasks and variations, in order."""
        return hashlib.sha256(json.dumps([[s.task, s.variation] for s in self.items]).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "split": self.split,
            "selected": len(self.items),
            "total": self.total,
            "sha256": self.sha256,
            "remarks": list(self.remarks),
        }


class Listener(Protocol):
    """Who is told how a run goes."""

    def began(self, arm: str, sims: int) -> None:
        """An arm has begun on a batch."""

    def working(self, tokens: int, sims: int) -> None:
        """Tokens and simulations of the arm so far in this batch."""

    def finished(self, record: dict[str, Any]) -> None:
        """A record has been written."""


class EpisodeRunner:
    """One run."""

    def __init__(
        self,
        lm: LatentLM,
        catalogue: Catalogue,
        data: EpisodeData,
        plan: EpisodePlan,
        folder: RunFolder,
        listener: Listener,
    ) -> None:
        self.lm, self.catalogue, self.data, self.plan = lm, catalogue, data, plan
        self.folder, self.listener = folder, listener
        layout = Layout.of(lm.base, catalogue.instruction, plan.world.max_tokens)
        self.writer = Writer(lm, layout, plan.world, plan.seed, plan.actions, poll=self._working)
        self._sims = self._tokens = 0

    def run(self) -> None:
        """Do all that is not done yet. What was finished before an exception stays finished."""
        size = self.plan.slots
        for begin in range(0, len(self.data.items), size):
            batch = self.data.items[begin : begin + size]
            for arm, sims in self.plan.units():
                pending = [start for start in batch if self.folder.find(start.id, arm, sims) is None]
                if pending:
                    self.listener.began(arm, sims)
                    self._run(arm, sims, pending)

    def _working(self) -> None:
        self.listener.working(self.writer.generated_tokens - self._tokens, self._sims)

    def _on_round(self, progress: Progress) -> None:
        self._sims = progress.sims

    def _run(self, arm: str, sims: int, starts: Sequence[Start]) -> None:
        begun = time.monotonic()
        self._sims, self._tokens = 0, self.writer.generated_tokens
        before = {start: self.writer.tokens_of[start.id] for start in starts}
        for result in self._results(arm, sims, starts, self._late(begun)):
            seconds = time.monotonic() - begun
            result.tokens = self.writer.tokens_of[result.start.id] - before[result.start]
            result.seconds, result.wall = seconds, seconds / len(starts)
            self._write(result, arm, sims)

    def _late(self, begun: float) -> Callable[[], bool] | None:
        limit = self.plan.max_seconds
        return None if limit is None else lambda: time.monotonic() - begun >= limit

    def _results(self, arm: str, sims: int, starts: Sequence[Start], late: Callable[[], bool] | None) -> list[Result]:
        play = self.plan.play
        if arm == GOLD:
            return play_gold(self.catalogue, play, starts)
        if arm in ONCE:
            return play_once(self.catalogue, self.writer, play, starts, arm, late=late)
        if arm == BEST_OF_N:
            return self._best(sims, starts, late)
        if arm == ACT:
            player = ActingPlayer(self.lm, self.writer, play, self._search(sims))
            return [of_live(live) for live in player.play(self.catalogue, starts, late)]
        return self._planned(sims, starts)

    def _search(self, sims: int) -> SearchPlan:
        plan = self.plan
        return SearchPlan(plan.searcher, sims, plan.seed, plan.options, plan.max_seconds)

    def _planned(self, sims: int, starts: Sequence[Start]) -> list[Result]:
        plan = self.plan
        searched = plan_and_play(
            self.catalogue, self.writer, plan.play, starts, self._search(sims), on_round=self._on_round
        )
        results = []
        for place, one in enumerate(searched.planned):
            result = of_live(one.live)
            result.tried, result.solved = one.tried, one.solved
            result.sims, result.branching = one.sims, one.branching
            result.steps, result.replayed, result.resets = one.steps, one.replayed, one.resets
            if result.error is None:
                result.stop = f"{searched.outcome.stop_B[one.tree]}, {one.live.episode.stop}"
                if plan.traces:
                    result.trace = trace_of(
                        searched, place, self.writer, environment=plan.benchmark, model=self.lm.name,
                        searcher=plan.searcher, actions=plan.actions,
                    )  # fmt: skip
            results.append(result)
        return results

    def _best(self, sims: int, starts: Sequence[Start], late: Callable[[], bool] | None) -> list[Result]:
        plan = self.plan
        key = ONCE_SIMS if plan.searcher in ONCE else sims
        field_ = "generated_tokens" if plan.equal == "tokens" else "environment_steps"
        budgets, results = [], []
        for start in starts:
            record = self.folder.find(start.id, plan.searcher, key)
            assert record is not None, f"{start.id} has no record of {plan.searcher}, which runs first"
            if record["status"] == "ok":
                budgets.append((start, int(record[field_])))
            else:
                results.append(no_budget(start, plan.searcher))
        return results + best_of_n(self.catalogue, self.writer, plan.play, budgets, plan.equal, late)

    def _write(self, result: Result, arm: str, sims: int) -> None:
        record = record_of(result, arm, sims)
        record["trace"] = None
        if result.trace is not None:
            path = self.folder.trace_path(f"{arm}-{sims}", result.start.id)
            result.trace.write(path)
            record["trace"] = self.folder.relative(path)
        self.listener.finished(self.folder.append(record))

    def summary(self) -> dict[str, Any]:
        """The summary of what is done so far."""
        plan, items = self.plan, self.data.items
        return build(
            self.folder.records,
            benchmark=plan.benchmark,
            model=self.lm.name,
            seed=plan.seed,
            searcher=plan.searcher,
            arms=plan.arms,
            sims=plan.sims,
            ids=[start.id for start in items],
            tasks=sorted({start.task for start in items if start.task}),
            equal=plan.equal,
            data=self.data.to_json(),
            max_tokens=plan.world.max_tokens,
        )
