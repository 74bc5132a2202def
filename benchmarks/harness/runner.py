"""Runs the arms of a benchmark into a run folder: resumable, and the same whatever the order and batch.

Problems are taken in chunks of a few batches. In a chunk each arm runs in turn: greedy, then for each number of
simulations the search, the baselines with its tokens, and further searchers. So all arms of the early problems are
there while the run goes on, and an interrupted run can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from colasearch.benchmarks.data_sets.base import Item
from colasearch.benchmarks.data_sets.load import DataSet, group_names
from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings, search
from colasearch.benchmarks.harness.drawing import Job, sample
from colasearch.benchmarks.harness.scoring import Score, Scorer, record_of
from colasearch.benchmarks.harness.summary import GREEDY_SIMS, build
from colasearch.benchmarks.names import BASELINES, CHOOSERS
from colasearch.engine.scheduler import Status
from colasearch.errors import InputError, LostError
from colasearch.model.latent_lm import LatentLM
from colasearch.storage.records import was_lost
from colasearch.storage.runs import RunFolder

BATCHES_A_CHUNK = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        benchmark: Its name.
        searcher: The arm whose tokens are the others' budget; a search algorithm or a baseline.
        arms: All arms, ``searcher`` among them.
        sims: Numbers of simulations, ascending. For a baseline as ``searcher``: texts drawn.
        settings: What all arms share.
        slots: Problems at a time.
        traces: Whether traces are kept.
    """

    benchmark: str
    searcher: str
    arms: tuple[str, ...]
    sims: tuple[int, ...]
    settings: ArmSettings
    slots: int = 16
    traces: bool = True

    def units(self) -> list[tuple[str, int]]:
        """``(arm, sims)`` in the order in which they run."""
        order = [("greedy", GREEDY_SIMS)] if "greedy" in self.arms else []
        for count in self.sims:
            rest = [arm for arm in self.arms if arm not in ("greedy", self.searcher)]
            order += [(self.searcher, count)] if self.searcher != "greedy" else []
            # Baselines draw from the same texts, so they come together.
            order += sorted(((arm, count) for arm in rest), key=lambda unit: unit[0] not in BASELINES)
        return order


class Listener(Protocol):
    """Who is told how a run goes."""

    def began(self, arm: str, sims: int) -> None:
        """An arm has begun on a chunk."""

    def working(self, tokens: int, sims: int) -> None:
        """Tokens and simulations of the arm so far in this chunk."""

    def finished(self, record: dict[str, Any]) -> None:
        """A record has been written."""


class Runner:
    """One run."""

    def __init__(self, lm: LatentLM, data: DataSet, plan: Plan, folder: RunFolder, listener: Listener) -> None:
        self.lm, self.data, self.plan, self.folder, self.listener = lm, data, plan, folder, listener
        self.scorer = Scorer()

    def run(self) -> None:
        """Do all that is not done yet. What was finished before an exception stays finished."""
        size = BATCHES_A_CHUNK * self.plan.slots
        for begin in range(0, len(self.data.items), size):
            chunk = self.data.items[begin : begin + size]
            done: set[tuple[str, int]] = set()
            for arm, sims in self.plan.units():
                if (arm, sims) in done:
                    continue
                together = self._together(arm, sims)
                done |= {(name, sims) for name in together}
                pending = [item for item in chunk if any(not self._has(item, name, sims) for name in together)]
                if pending:
                    self.listener.began(arm, sims)
                    self._run(together, sims, pending)

    def _has(self, item: Item, arm: str, sims: int) -> bool:
        return self.folder.find(item.problem.id, arm, sims) is not None

    def _together(self, arm: str, sims: int) -> tuple[str, ...]:
        """The arms that choose from the same texts as ``arm``."""
        if arm == self.plan.searcher or arm not in CHOOSERS:
            return (arm,)
        return tuple(a for a in CHOOSERS if a in self.plan.arms and a != self.plan.searcher)

    def _run(self, arms: tuple[str, ...], sims: int, items: Sequence[Item]) -> None:
        by_id = {item.problem.id: item for item in items}
        if arms[0] in BASELINES:
            results = self._sampled(arms, sims, items)
        elif arms[0] == self.plan.searcher:
            results = (
                (arms[0], result)
                for result in search(
                    self.lm,
                    [item.problem for item in items],
                    arms[0],
                    sims,
                    self.plan.settings,
                    slots=self.plan.slots,
                    on_status=self._status,
                )
            )
        else:
            results = self._capped(arms[0], sims, items)
        for arm, result in results:
            self._write(by_id[result.problem.id], arm, sims, result)

    def _status(self, status: Status) -> None:
        self.listener.working(status.generated_tokens, status.sims)

    def _searched(self, item: Item, sims: int) -> dict[str, Any]:
        """The search's record of a problem."""
        record = self.folder.find(item.problem.id, self.plan.searcher, self._sims_of(self.plan.searcher, sims))
        assert record is not None, f"{item.problem.id} has no record of {self.plan.searcher}, which runs first"
        return record

    def _budget(self, item: Item, sims: int) -> int | None:
        """Tokens that the search spent on a problem; None if it failed there."""
        record = self._searched(item, sims)
        if record["status"] != "ok":
            return None
        return int(record["generated_tokens"])

    @staticmethod
    def _sims_of(arm: str, sims: int) -> int:
        return GREEDY_SIMS if arm == "greedy" else sims

    def _job(self, item: Item, arms: tuple[str, ...], sims: int) -> Job | None:
        """The texts that baselines draw for a problem; None where the search failed, so that there is no budget."""
        if arms == ("greedy",):
            return Job(item.problem, texts=1)
        if arms[0] == self.plan.searcher:
            return Job(item.problem, texts=sims)
        tokens = self._budget(item, sims)
        return None if tokens is None else Job(item.problem, tokens=tokens)

    def _sampled(self, arms: tuple[str, ...], sims: int, items: Sequence[Item]) -> Iterator[tuple[str, ArmResult]]:
        jobs = []
        for item in items:
            if (job := self._job(item, arms, sims)) is not None:
                jobs.append(job)
            else:
                for arm in arms:
                    yield arm, self._no_budget(item, sims)
        for begin in range(0, len(jobs), self.plan.slots):
            batch = jobs[begin : begin + self.plan.slots]
            for results in sample(self.lm, batch, arms, self.plan.settings, self._tokens):
                yield from results.items()

    def _tokens(self, tokens: int) -> None:
        self.listener.working(tokens, 0)

    def _no_budget(self, item: Item, sims: int) -> ArmResult:
        why = f"problem {item.problem.id}: {self.plan.searcher} failed on it, so there is no token budget to match"
        # Of the search's kind, so that a resumed run tries either both again or none.
        lost = was_lost(self._searched(item, sims))
        return ArmResult(item.problem, error=LostError(why) if lost else InputError(why))

    def _capped(self, arm: str, sims: int, items: Sequence[Item]) -> Iterator[tuple[str, ArmResult]]:
        """A further searcher: as many simulations as the first one, and no more tokens, problem by problem."""
        for item in items:
            tokens = self._budget(item, sims)
            if tokens is None:
                yield arm, self._no_budget(item, sims)
                continue
            for result in search(
                self.lm,
                [item.problem],
                arm,
                sims,
                self._capped_settings(),
                slots=1,
                max_tree_tokens=tokens,
                on_status=self._status,
            ):
                yield arm, result

    def _capped_settings(self) -> ArmSettings:
        return replace(self.plan.settings, options={})  # those are the first searcher's

    def _write(self, item: Item, arm: str, sims: int, result: ArmResult) -> None:
        score: Score | None = None
        if result.error is None:
            score = self.scorer.score(item, result)
        record = record_of(item, arm, sims, result, score)
        record["trace"] = None
        if self.plan.traces and result.trace is not None:
            path = self.folder.trace_path(f"{arm}-{sims}", item.problem.id)
            result.trace.write(path)
            record["trace"] = self.folder.relative(path)
        self.listener.finished(self.folder.append(record))

    def summary(self) -> dict[str, Any]:
        """The summary of what is done so far."""
        plan = self.plan
        return build(
            self.folder.records,
            benchmark=plan.benchmark,
            model=self.lm.name,
            seed=plan.settings.seed,
            searcher=plan.searcher,
            arms=plan.arms,
            sims=plan.sims,
            ids=[item.problem.id for item in self.data.items],
            groups=group_names(self.data.items),
            data=self.data.to_json(),
            max_tokens=plan.settings.world.max_tokens,
        )


class Summed(Protocol):
    """A run that can be summed up at any time."""

    folder: RunFolder

    def run(self) -> None:
        """Do all that is not done yet."""

    def summary(self) -> dict[str, Any]:
        """The summary of what is done so far."""


def run_to_end(
    runner: Summed, on_summary: Callable[[dict[str, Any]], None], report: Callable[[Path], None]
) -> dict[str, Any]:
    """Run, then write the summary and the report; when interrupted, write them of what is done and raise on.

    Args:
        runner: The run.
        on_summary: Told the summary before the report is written.
        report: Writes ``report.md`` and plots into the folder.
    """
    try:
        runner.run()
    finally:
        summary = runner.summary()
        runner.folder.write_summary(summary)
        on_summary(summary)
    report(runner.folder.path)
    return summary
