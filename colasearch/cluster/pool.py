"""A pool of workers on Ray: units go in, values come out, each once, whatever happens to the workers meanwhile.

    with Pool(lm, workers=4) as pool:
        for searched in pool.search(problems, SearchSettings(sims=64)):
            ...

A worker that is lost (its process killed, its node gone, its memory needed elsewhere), that raises, hangs, or gives NaN
time and again is replaced, and what it had is given to others. ``ledger.py`` says how often. Workers that come back
after a network failure are not listened to any more: their calls are forgotten when they are replaced.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from colasearch.cluster.connect import Layout, check_own_ray, connect, lay_out, leave
from colasearch.cluster.crew import Crew, Member
from colasearch.cluster.ledger import Ledger, Unit
from colasearch.cluster.progress import PoolStatus, Tally
from colasearch.cluster.recipes import Recipe, SampleRecipe, SearchRecipe
from colasearch.cluster.worker import Assignment, Report
from colasearch.errors import ColasearchError, InputError, LostError

if TYPE_CHECKING:
    from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings
    from colasearch.benchmarks.harness.drawing import Job
    from colasearch.engine.scheduler import Searched
    from colasearch.engine.settings import SearchSettings
    from colasearch.model.latent_lm import LatentLM, LatentModules
    from colasearch.problem import Problem

CALLS_AHEAD = 2
"""Calls in flight a worker: one that runs, and one that it goes on with while the first one's report travels."""
SUSPICIOUS_IN_A_ROW = 4
"""So many suspicious values and no sound one mean a broken worker."""
DEAF_S = 60.0
"""A worker with work whose process answers nothing for so long (it was stopped, its machine is gone) is lost."""
POLL_S = 1.0
"""Longest wait without looking after workers and showing progress."""


class Pool:
    """Workers that search and sample; use as a context manager.

    Attributes:
        layout: Workers, and what each gets.
        tally: What has been done, for progress.
    """

    def __init__(
        self,
        lm: LatentLM | None,
        *,
        workers: int | None = None,
        address: str | None = None,
        layout: Layout | None = None,
        slots: int = 16,
        threads: int | None = None,
        device: str = "auto",
        retries: int = 3,
        start_seconds: float = 300.0,
        silent_seconds: float = 300.0,
        on_status: Callable[[PoolStatus], None] | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Say what is wanted; nothing starts before ``__enter__``.

        Args:
            lm: The model, on the CPU; None for recipes that need none.
            workers: How many; None for as many as the cluster has GPUs, or else cores.
            address: A Ray cluster's, ``auto`` for the one this machine belongs to; None starts Ray on this machine.
            layout: Workers and what each gets, in place of ``workers``, ``threads`` and ``device``.
            slots: Problems that a worker works on at a time.
            threads: Threads of each worker [default: cores over workers].
            device: ``auto`` (GPUs, where the cluster has some), ``cpu`` or ``cuda``.
            retries: How often a problem is tried again after its worker was lost.
            start_seconds: How long to wait for a first worker.
            silent_seconds: A worker with work that has not moved for so long hangs, and is replaced. No forward pass of
                the model may take that long. One whose process does not even answer is replaced after ``DEAF_S``.
            on_status: Told about once a second how far the work is.
            on_event: Told when a worker is replaced.

        Raises:
            InputError: A number is out of range.
        """
        for name, value, least in (("workers", workers, 1), ("slots", slots, 1), ("retries", retries, 0)):
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")
        self.lm, self._wanted, self.address = lm, workers, address
        self.slots, self._threads, self._device = slots, threads, device
        self.start_seconds, self.silent_seconds = start_seconds, silent_seconds
        self.on_status, self.on_event = on_status, on_event
        self.ledger = Ledger(retries)
        self.tally = Tally()
        self._layout = layout
        self.layout: Layout
        self.crew: Crew
        self._ours = False
        self._shown = self._listened = 0.0
        self._confirmed = 0  # suspicious values that a second worker gave as well: so many, and the model is like that
        self._out: list[tuple[Any, Any, ColasearchError | None]] = []

    def __enter__(self) -> Pool:
        self._ours = connect(self.address, self._wanted)
        try:
            self.layout = self._layout or lay_out(self._wanted, self._threads, self._device, self.address is None)
            self.crew = self._hire()
            self.crew.fill()
        except BaseException:
            self._leave()
            raise
        return self

    def _hire(self) -> Crew:
        return Crew(self.lm, self.layout, self.slots, self.start_seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):
            self.crew.dismiss()
        self._leave()

    def _leave(self) -> None:
        if self._ours:
            leave()

    def search(self, problems: Iterable[Problem], settings: SearchSettings) -> Iterator[Searched]:
        """Search problems; yields as ``engine.scheduler.search_problems`` does, in any order.

        A problem that is lost too often is yielded with a ``LostError``.

        Raises:
            InputError: A bad setting.
            PrerequisiteError: The model has no latent modules; or no worker starts.
        """
        from colasearch.engine.scheduler import Searched

        settings.check()
        for problem, value, error in self.run(SearchRecipe(settings), problems):
            yield value if error is None else Searched(problem, None, None, error)

    def sample(self, jobs: Iterable[Job], arms: Sequence[str], settings: ArmSettings) -> Iterator[dict[str, ArmResult]]:
        """Draw texts and let ``arms`` choose; yields as ``benchmarks.harness.drawing.sample`` returns, in any order."""
        from colasearch.benchmarks.harness.arms import ArmResult

        for job, value, error in self.run(SampleRecipe(tuple(arms), settings), jobs):
            yield value if error is None else {arm: ArmResult(job.problem, error=error) for arm in arms}

    def run(self, recipe: Recipe, items: Iterable[Any]) -> Iterator[tuple[Any, Any, ColasearchError | None]]:
        """Work on ``items``, taken as they are needed; yields item, value and error of each.

        One of value and error is None. Leaving the loop early forgets what was in progress.
        """
        waiting = iter(items)
        window = 2 * self.layout.workers * (self.slots + self.spare)
        more = True
        try:
            while True:
                while more and len(self.ledger) < window:
                    try:
                        item = next(waiting)
                    except StopIteration:
                        more = False
                    else:
                        self.submit(recipe, item, item)
                if not self.ledger and not self._out:
                    return
                yield from self.advance()
        finally:
            if self.pending:
                self.forget()

    def submit(self, recipe: Recipe, item: Any, tag: Any, priority: tuple[int, ...] = ()) -> None:
        """Add a unit of work; ``advance`` yields ``(tag, value, error)`` once for it."""
        self.ledger.submit(tag, recipe, pickle.dumps(recipe), item, priority)

    @property
    def pending(self) -> int:
        """Units that have not come out yet."""
        return len(self.ledger) + len(self._out)

    @property
    def spare(self) -> int:
        """Units that a worker has in reserve."""
        return max(1, self.slots // 8) if self.slots > 1 else 0

    def advance(self) -> Iterator[tuple[Any, Any, ColasearchError | None]]:
        """Hand out work, wait until something happens, and yield what is done.

        Raises:
            PrerequisiteError: No worker starts, or they fail one after another with nothing done in between.
            ColasearchError: A recipe cannot be followed.
        """
        if self.ledger:
            self._listen()
            for member in self.crew.members():
                self._feed(member)
            for member, ref in self.crew.wait(POLL_S):
                self._hear(member, ref)
        self._show()
        out, self._out = self._out, []
        yield from out

    def forget(self) -> None:
        """Drop all units, and the workers that have some."""
        for member in self.crew.members():
            if self.ledger.flying(member.number):
                self.crew.replace(member)
        self.ledger.clear()
        self._out.clear()

    def broadcast(self, latents: LatentModules) -> None:
        """Let all workers go on with other latent modules, now and after they are replaced; none is restarted.

        Raises:
            InputError: Units are in progress.
        """
        if self.pending:
            raise InputError(
                f"{self.pending} problems are in progress; take all results before broadcasting new weights, so that "
                "each comes from one set of weights"
            )
        self._confirmed = 0  # what is known of the old modules
        self.crew.broadcast(latents)

    def renew(
        self, lm: LatentLM, on_status: Callable[[PoolStatus], None] | None, on_event: Callable[[str], None] | None
    ) -> None:
        """Begin other work with other latent modules on the same base: what is counted is counted from here.

        Raises:
            InputError: Units are in progress; or ``lm`` has no latent modules.
        """
        self.broadcast(lm.require_latents())
        self.lm, self.on_status, self.on_event = lm, on_status, on_event
        self.tally = Tally()

    def _feed(self, member: Member) -> None:
        number = member.number
        units = self.ledger.take(number, self.slots, self.spare, self.crew.size)
        if units:
            first = units[0]
            given = Assignment(first.recipe, first.key, tuple((unit.number, unit.item) for unit in units))
            self.crew.call(member, given)
        while self.ledger.flying(number) and len(member.calls) < CALLS_AHEAD:
            self.crew.call(member, None)

    def _listen(self) -> None:
        """Now and then, find workers that hang."""
        now = time.monotonic()
        # Only time spent in here counts: a driver may be busy with other things for hours between two calls.
        since = min(now - self._listened, 2 * POLL_S)
        if since < POLL_S:
            return
        self._listened = now
        check_own_ray()
        for member in self.crew.members():
            if not self.ledger.flying(member.number):
                member.silent = member.deaf = 0.0
                continue
            self.crew.listen(member, since)
            if member.silent > self.silent_seconds:
                self._hangs(member, f"it has not moved for {member.silent:.0f} s (process {member.pid})")
            elif member.deaf > DEAF_S:
                self._hangs(member, f"it has not answered for {member.deaf:.0f} s (process {member.pid})")

    def _hear(self, member: Member, ref: Any) -> None:
        """Take in a worker's report, or its end."""
        report = self.crew.take(member, ref)
        if isinstance(report, str):
            self._lost(member, report)
            return
        if not isinstance(report, Report):
            return  # it has started, or has new weights
        self.tally.worked(report.sims, report.tokens)
        if report.fatal is not None:
            raise report.fatal
        for number, value, suspicious in report.results:
            self._done(member, number, value, suspicious)
        if report.broken is not None:
            self._lost(member, report.broken)
        elif member.held and (
            len(member.held) >= SUSPICIOUS_IN_A_ROW or self.ledger.flying(member.number) <= len(member.held)
        ):
            self._doubt(member)

    def _done(self, member: Member, number: int, value: Any, suspicious: bool) -> None:
        unit = self.ledger.unit(member.number, number)
        if unit is None:
            return
        if suspicious and unit.doubted:
            self._confirmed += 1
        elif suspicious and self._confirmed < SUSPICIOUS_IN_A_ROW:
            # Kept back until the worker has shown with another unit that it is sound.
            member.held.append((number, value))
            return
        self.crew.trust()
        if not suspicious or self._confirmed >= SUSPICIOUS_IN_A_ROW:
            for earlier, kept in member.held:
                self._emit(member, earlier, kept)
            member.held.clear()
        self._emit(member, number, value)

    def _emit(self, member: Member, number: int, value: Any) -> None:
        unit = self.ledger.finish(member.number, number)
        if unit is not None:
            self.tally.done()
            self._out.append((unit.tag, value, None))

    def _doubt(self, member: Member) -> None:
        """All that a worker gave lately is NaN: replace it, and believe the next one."""
        self._say(f"worker {member.number} gave nothing but NaN for {len(member.held)} problems and is replaced")
        self.ledger.doubt(member.number, {number for number, _ in member.held})
        self.crew.replace(member)

    def _lost(self, member: Member, why: str) -> None:
        self._say(f"worker {member.number} was lost and is replaced: {_last_line(why)}")
        given_up = self.ledger.lose(member.number)
        for unit in given_up:
            self._out.append((unit.tag, None, self._error(unit, why)))
        self.crew.replace(member, failed=why)
        if given_up:
            self.crew.trust()  # that is progress, too: the number of units is finite
        self.crew.check()

    def _hangs(self, member: Member, why: str) -> None:
        # Ray asks a process to end; a stopped one does not hear that, and would keep its memory.
        self.crew.kill(member)
        self._lost(member, why)

    def _error(self, unit: Unit, why: str) -> LostError:
        name = getattr(unit.item, "id", None) or getattr(getattr(unit.item, "problem", None), "id", unit.number)
        return LostError(
            f"problem {name}: {unit.losses} workers were lost while they had it, more than the {self.ledger.retries} "
            f"retries; the last one: {_last_line(why)}. If memory ran out, use a smaller --batch-size, or fewer "
            "--workers"
        )

    def _say(self, text: str) -> None:
        self.tally.replaced += 1
        if self.on_event is not None:
            self.on_event(text)

    def _show(self) -> None:
        now = time.monotonic()
        if self.on_status is not None and now - self._shown >= POLL_S:
            self._shown = now
            self.on_status(self.status())

    def status(self) -> PoolStatus:
        """How far the work is."""
        return self.tally.status(self.crew.size, self.layout.workers, len(self.ledger))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason is known"
