"""A benchmark on many workers: the same records as ``runner.Runner`` writes, made by a pool of Ray actors.

Nothing waits for the end of a chunk here. What depends on nothing (greedy, the search) is submitted at once; the
baselines of a problem follow when its search is done and their token budget is known. Priorities keep the order of the
local runner: all arms of the early problems first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from colasearch.benchmarks.data_sets.base import Item
from colasearch.benchmarks.data_sets.load import DataSet
from colasearch.benchmarks.harness.arms import ArmResult, search_settings, searched
from colasearch.benchmarks.harness.drawing import Job
from colasearch.benchmarks.harness.runner import BATCHES_A_CHUNK, Listener, Plan, Runner
from colasearch.benchmarks.names import BASELINES
from colasearch.cluster.pool import Pool
from colasearch.cluster.recipes import Recipe, SampleRecipe, SearchRecipe
from colasearch.engine.scheduler import Searched
from colasearch.errors import ColasearchError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.storage.runs import RunFolder


@dataclass(frozen=True, slots=True)
class _Work:
    """What one unit of the pool does for a problem: arms that share texts, or a search.

    Attributes:
        stage: Place in the plan.
        arms, sims: What is run.
        after: The searcher's number of simulations whose tokens are the budget; None needs no budget.
    """

    stage: int
    arms: tuple[str, ...]
    sims: int
    after: int | None


class PooledRunner(Runner):
    """One run on a pool. The driver, this process, scores and writes; workers search and sample."""

    def __init__(
        self, lm: LatentLM, data: DataSet, plan: Plan, folder: RunFolder, listener: Listener, pool: Pool
    ) -> None:
        super().__init__(lm, data, plan, folder, listener)
        self.pool = pool
        self.works = self._works()
        size = BATCHES_A_CHUNK * plan.slots * pool.layout.workers
        self.chunks = {item.problem.id: place // size for place, item in enumerate(data.items)}
        self._last = 0.0

    def _works(self) -> list[_Work]:
        works: list[_Work] = []
        seen: set[tuple[str, int]] = set()
        for arm, sims in self.plan.units():
            if (arm, sims) in seen:
                continue
            arms = self._together(arm, sims)
            seen |= {(name, sims) for name in arms}
            free = arm in ("greedy", self.plan.searcher)
            works.append(_Work(len(works), arms, sims, None if free else self._sims_of(self.plan.searcher, sims)))
        return works

    def run(self) -> None:
        """Do all that is not done yet. What was finished before an exception stays finished."""
        self._last = time.monotonic()
        for item in self.data.items:
            for work in self.works:
                if work.after is None or self._has(item, self.plan.searcher, work.after):
                    self._submit(item, work)
        while self.pool.pending:
            for (item, work, tokens), value, error in self.pool.advance():
                for arm, result in self._results(item.problem, work, tokens, value, error):
                    self._write(item, arm, work.sims, result)
                if self.plan.searcher in work.arms:
                    for later in self.works:
                        if later.after == work.sims:
                            self._submit(item, later)

    def _submit(self, item: Item, work: _Work) -> None:
        if all(self._has(item, arm, work.sims) for arm in work.arms):
            return
        tokens = None if work.after is None else self._budget(item, work.sims)
        if work.after is not None and tokens is None:
            for arm in work.arms:
                self._write(item, arm, work.sims, self._no_budget(item, work.sims))
            return
        recipe, unit = self._unit(item, work, tokens)
        self.pool.submit(recipe, unit, (item, work, tokens), (self.chunks[item.problem.id], work.stage))

    def _unit(self, item: Item, work: _Work, tokens: int | None) -> tuple[Recipe, Problem | Job]:
        arm = work.arms[0]
        if arm in BASELINES:
            job = self._job(item, work.arms, work.sims)
            assert job is not None, "a search that failed was seen to before"
            return SampleRecipe(work.arms, self.plan.settings), job
        settings = self.plan.settings if arm == self.plan.searcher else self._capped_settings()
        return SearchRecipe(search_settings(arm, work.sims, settings, tokens)), item.problem

    def _results(
        self, problem: Problem, work: _Work, tokens: int | None, value: Any, error: ColasearchError | None
    ) -> Iterator[tuple[str, ArmResult]]:
        """A unit's results, one an arm; its wall time is that since the unit before it, so that units add up."""
        now = time.monotonic()
        wall, self._last = now - self._last, now
        if error is not None:
            for arm in work.arms:
                yield arm, ArmResult(problem, error=error, wall_seconds=wall)
        elif isinstance(value, Searched):
            yield work.arms[0], searched(value, wall, tokens)
        else:
            for arm, result in value.items():
                yield arm, replace(result, wall_seconds=wall)
