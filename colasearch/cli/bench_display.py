"""What a person sees while a benchmark runs: a live table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from colasearch.benchmarks.names import CHOOSERS
from colasearch.disk import as_told
from colasearch.errors import ResourceError
from colasearch.printable import visible

if TYPE_CHECKING:
    from colasearch.benchmarks.data_sets.load import DataSet
    from colasearch.benchmarks.episodes.runner import EpisodeData, EpisodePlan
    from colasearch.benchmarks.harness.runner import Plan
    from colasearch.cluster.progress import PoolStatus

PLAIN_EVERY_S = 10.0
"""Seconds between lines where there is no terminal."""


@dataclass(slots=True)
class _Arm:
    """Progress of one arm at one number of simulations."""

    name: str
    sims: int
    total: int
    done: int = 0
    right: int = 0
    errors: int = 0
    cut: int = 0

    @property
    def title(self) -> str:
        return self.name if not self.sims else f"{self.name} @{self.sims}"

    def remarks(self) -> str:
        """Problems that errored and texts that were cut, where there are any."""
        parts = [f"{self.errors} errors"] * bool(self.errors) + [f"{self.cut} texts cut"] * bool(self.cut)
        return "".join(f"  {part}" for part in parts)

    def accuracy(self) -> str:
        from colasearch.benchmarks.harness.intervals import wilson

        if not self.done:
            return ""
        low, high = wilson(self.right, self.done)
        return f"{100 * self.right / self.done:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def pace(problems: int, seconds: float) -> str:
    """Problems a second, or seconds a problem where they take longer."""
    if problems > seconds:
        return f"{problems / seconds:.1f} problems/s"
    each = seconds / problems
    return f"{each:.1f} s/problem" if each < 100 else f"{clock(each)} a problem"


class Display:
    """Progress on stderr; the runner's listener.

    Rates and the remaining time count this session's work only, not what a resumed run had done before.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.live: Live | None = None
        self.arms: dict[tuple[str, int], _Arm] = {}
        self.begun = self.last = time.monotonic()
        self.current: tuple[str, int] | None = None
        self.tokens = self.sims = self.tokens_now = self.sims_now = 0
        self._at_start = self._worked = self._chunk_tokens = 0
        self.workers: PoolStatus | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __rich__(self) -> Group:
        """The live table."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for column in ("right", "left", "right", "left"):
            table.add_column(justify=column)  # type: ignore[arg-type]
        for key, arm in self.arms.items():
            style = "bold" if key == self.current else ""
            table.add_row(
                Text(arm.title, style=style),
                ProgressBar(total=max(1, arm.total), completed=arm.done, width=24),
                Text(f"{arm.done}/{arm.total}", style=style),
                Text(arm.accuracy() + arm.remarks(), style=style),
            )
        return Group(table, Text(self.rates(), style="dim"))

    def rates(self) -> str:
        """Speeds of this session, and the time that is left."""
        seconds = max(1e-9, time.monotonic() - self.begun)
        tokens, sims = self.tokens + self.tokens_now, self.sims + self.sims_now
        if self.workers is not None:
            tokens, sims = self.workers.tokens, self.workers.sims
        problems = min((arm.done for arm in self.arms.values()), default=0) - self._at_start
        parts = [pace(problems, seconds)] if problems > 0 else []
        parts += [f"{sims / seconds:.1f} sims/s"] if sims else []
        parts += [f"{tokens / seconds:.0f} tokens/s"] if tokens else []
        parts.append(clock(seconds))
        if (pool := self.workers) is not None:
            lost = f", {pool.replaced} replaced" if pool.replaced else ""
            parts.insert(0, f"{pool.workers}/{pool.wanted} workers{lost}")
        left = self._left()
        return ", ".join(parts) + (f", about {clock(left)} left" if left is not None else "")

    def _left(self) -> float | None:
        """Seconds left, by work done in this session; a text costs about what a simulation costs."""
        todo = sum((arm.total - arm.done) * self._cost(*key) for key, arm in self.arms.items())
        begun = min(self.sims_now, todo)  # of problems in progress: a chunk's all end at about the same time
        if not self._worked + begun or not todo:
            return None
        return (time.monotonic() - self.begun) * (todo - begun) / (self._worked + begun)

    def _cost(self, arm: str, sims: int) -> int:
        """Work of a problem, in simulations.

        Majority vote and best-of-N choose from the same texts, which are decoded once, as do further arms that choose
        among texts: only the first of them costs anything.
        """
        first = next((name for name, many in self.arms if name in CHOOSERS and many == sims), arm)
        return 0 if arm in CHOOSERS and arm != first else max(1, sims)

    def say(self, text: str) -> None:
        """A line about what is being done."""
        self.console.print(Text(visible(text), style="dim" if self.console.is_terminal else ""), soft_wrap=True)

    def warn(self, text: str) -> None:
        """A warning."""
        self.console.print(Text(f"Warning: {visible(text)}", style="yellow"), soft_wrap=True)

    def start(
        self,
        plan: Plan | EpisodePlan,
        data: DataSet | EpisodeData,
        records: Iterable[Mapping[str, Any]],
        what: str = "problems",
    ) -> None:
        """The run begins, with what an earlier one has done already; ``what`` says of what it has many."""
        for arm, sims in plan.units():
            self.arms[arm, sims] = _Arm(arm, sims, len(data.items))
        for record in records:
            self._count(record)
        self._at_start = min(arm.done for arm in self.arms.values())
        self.begun = self.last = time.monotonic()
        self.say(
            f"{plan.benchmark}: {len(data.items)} of {data.total} {what}, {', '.join(plan.arms)}, "
            f"{','.join(map(str, plan.sims))} simulations, up to {plan.slots} {what} at a time"
        )
        if self.console.is_terminal:
            self.live = Live(self, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    def stop(self) -> None:
        """Take the live table away."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def began(self, arm: str, sims: int) -> None:
        """An arm has begun on a chunk."""
        self.current = (arm, sims)
        self.tokens_now = self.sims_now = self._chunk_tokens = 0

    def working(self, tokens: int, sims: int) -> None:
        """How far the arm is in this chunk; a line now and then where there is no terminal."""
        # ``tokens`` counts problems that are finished as well, and those are counted with their records.
        self.tokens_now = max(0, tokens - self._chunk_tokens)
        self.sims_now = sims
        self._line()

    def pool(self, status: PoolStatus) -> None:
        """How far a pool of workers is; it knows of work in progress, too."""
        self.workers = status
        self._line()

    def finished(self, record: dict[str, Any]) -> None:
        """A record has been written."""
        self._count(record)
        cost = self._cost(record["arm"], record["sims"])
        self._worked += cost
        if record["status"] != "ok":
            self.warn(record["error"]["message"])
        elif cost:
            self.tokens += record["generated_tokens"]
            self._chunk_tokens += record["generated_tokens"]
            self.sims += record["sims_done"] if record["effective_branching"] is not None else 0
        self.tokens_now = self.sims_now = 0
        self._line(force=not any(arm.done < arm.total for arm in self.arms.values()))

    def _count(self, record: Mapping[str, Any]) -> None:
        arm = self.arms.get((record["arm"], record["sims"]))
        if arm is None:
            return
        arm.done += 1
        arm.right += record["status"] == "ok" and bool(record["correct"])
        arm.errors += record["status"] != "ok"
        arm.cut += record.get("cut", 0)

    def _line(self, force: bool = False) -> None:
        now = time.monotonic()
        if self.live is not None or (not force and now - self.last < PLAIN_EVERY_S):
            return
        self.last = now
        # One arm a line: all of them side by side would be hundreds of characters.
        arm = self.arms.get(self.current) if self.current else None
        arm = arm or next((one for one in self.arms.values() if one.done < one.total), None)
        if force:
            for one in self.arms.values():
                self.console.print(
                    Text(f"{one.title} {one.done}/{one.total} {one.accuracy()}{one.remarks()}".rstrip()),
                    soft_wrap=True,
                )
        done = "done"
        if arm and not force:
            done = f"{arm.title} {arm.done}/{arm.total}, {arm.accuracy()}{arm.remarks()}".rstrip(", ")
        self.console.print(Text(f"{done}; {self.rates()}"), soft_wrap=True)

    def report(self, folder: Path) -> None:
        """Write ``report.md`` and what goes with it; a report that fails does not cost the run.

        Raises:
            ResourceError: The disk is full or broken. The run is complete; the exit code must say that this is not.
        """
        self.stop()
        try:
            import_module("colasearch.report").write_report(folder)
        except ModuleNotFoundError as error:
            self.warn(f"no report was written: it needs {error.name}; run `pip install '.[viz]'`")
        except Exception as error:
            known = as_told(error)
            if isinstance(known, ResourceError):
                raise ResourceError(f"the run is complete, but its report could not be written: {known}") from error
            self.warn(f"the run is complete, but its report could not be written: {type(error).__name__}: {error}")
