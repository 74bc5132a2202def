"""A worker: one process with one model replica, which works on what the driver gives it and reports what is done.

It runs as a Ray actor, but knows nothing about Ray. The driver keeps a call of ``exchange`` in reserve behind the one
that runs, so the worker goes on with the next while its report travels.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from colasearch.cluster.recipes import Engine, Recipe
from colasearch.errors import ColasearchError, PrerequisiteError, RewardError

REPORT_S = 0.5
"""Longest time without a report, as far as a single step of the engine lets it."""
EXIT_S = 5.0
"""A broken worker that nobody has ended by then ends itself."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """New units for a worker; all it has in hand have this recipe."""

    recipe: Recipe
    key: Any
    units: tuple[tuple[int, Any], ...]


@dataclass(slots=True)
class Report:
    """What happened in a call.

    Attributes:
        results: Number, value and whether the value is suspicious, of each unit that is done.
        sims, tokens: Done since the last report.
        broken: Why the worker can no longer be trusted; it takes no more work.
        fatal: What is wrong with the recipe: any worker would refuse it.
    """

    results: list[tuple[int, Any, bool]] = field(default_factory=list)
    sims: int = 0
    tokens: int = 0
    broken: str | None = None
    fatal: ColasearchError | None = None


class Worker:
    """Works on units. Made in a process of its own."""

    def __init__(self, model: Any = None, latents: Any = None, *, slots: int, threads: int, device: str) -> None:
        """Build the replica.

        Args:
            model: A ``Frozen`` model; None for recipes that need none.
            latents: ``Frozen`` latent modules in place of the model's own.
            slots: Units worked on at a time.
            threads: Threads of torch in this process.
            device: Where the model runs.
        """
        os.environ["OMP_NUM_THREADS"] = str(threads)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.slots, self.lm = slots, None
        if model is not None:
            import torch

            from colasearch.cluster.weights import place, thaw

            torch.set_num_threads(threads)
            self.lm = place(thaw(model), device)
            if latents is not None:
                self.swap(latents)
        self.engine: Engine | None = None
        self.recipe: Recipe | None = None
        self.key: Any = None
        self.queue: list[tuple[int, Any]] = []
        self.busy = 0
        self.reported = (0, 0)
        self.beats = 0
        self.broken: str | None = None

    def ready(self) -> int:
        """This process's id; answering says that the replica is built."""
        return os.getpid()

    def pulse(self) -> int:
        """A number that grows as the worker gets on; called in a thread of its own, so a stuck worker answers, too."""
        return self.beats

    def _beat(self) -> None:
        self.beats += 1

    def swap(self, latents: Any) -> None:
        """Go on with other latent modules. Only between units: the driver waits for the worker to be idle."""
        from colasearch.cluster.weights import swap, thaw

        swap(self.lm, thaw(latents))  # type: ignore[arg-type]
        self.engine, self.key = None, None

    def exchange(self, given: Assignment | None) -> Report:
        """Take new units, work until something is done or for ``REPORT_S``, and report."""
        report = Report(broken=self.broken)
        if self.broken is not None:
            # The call in reserve, which comes at once: to exit here could overtake the first report.
            return report
        try:
            if given is not None:
                self._take(given)
            self._work(report)
        except ColasearchError as error:
            if self.engine is None or isinstance(error, RewardError | PrerequisiteError):
                # No worker could do better: a model or an option is wrong, or a server of values is down.
                report.fatal = error
                self.queue, self.busy, self.key = [], 0, None
            else:
                self._break(report)
        except Exception:
            self._break(report)
        return report

    def _break(self, report: Report) -> None:
        report.broken = self.broken = traceback.format_exc(limit=-6)
        report.results.clear()
        timer = threading.Timer(EXIT_S, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def _take(self, given: Assignment) -> None:
        if given.key != self.key:
            assert not self.busy, "units of two recipes at once"
            # The old engine's memory goes before the new one's comes.
            self.engine, self.key, self.recipe, self.reported = None, given.key, given.recipe, (0, 0)
            self.engine = given.recipe.engine(self.lm, self.slots, self._beat)
        self.queue += given.units

    def _work(self, report: Report) -> None:
        begun = time.monotonic()
        while self.engine is not None and (self.busy or self.queue):
            while self.queue and self.busy < self.slots:
                free = self.slots - self.busy
                new, self.queue = self.queue[:free], self.queue[free:]
                self.busy += len(new)
                self._done(report, self.engine.add(new))
            if self.busy:
                self._done(report, self.engine.step())
            self._beat()
            if report.results or time.monotonic() - begun >= REPORT_S:
                break
        if self.engine is not None:
            now = self.engine.progress()
            report.sims, report.tokens = (max(0, new - old) for new, old in zip(now, self.reported, strict=True))
            self.reported = now

    def _done(self, report: Report, results: list[tuple[int, Any]]) -> None:
        assert self.recipe is not None
        self.busy -= len(results)
        report.results += [(number, value, self.recipe.suspicious(value)) for number, value in results]
