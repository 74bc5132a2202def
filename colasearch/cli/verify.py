"""``colasearch verify``: grade a file of anyone's outputs, row by row, in order, as they come."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from colasearch.cli.inputs import check_stdin
from colasearch.cli.tasks import columns_option
from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.rows import row_of
from colasearch.tasks import TASKS, answer_of, answer_verifier, get_task, problem_of, settled, text_verifier
from colasearch.verifiers import Verdict
from colasearch.verifiers.countdown import Countdown
from colasearch.verifiers.math import Math
from colasearch.verifiers.pool import DEADLINE_S

MAX_LINE_BYTES = 16 << 20
"""A longer row is not read."""
_IN_FLIGHT = 512
FORMATS = ("text", "answer")


class RowError(ValueError):
    """A row cannot be graded; the message says why."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of input: what stands in it, or why it cannot be read; ``answer`` is what was graded of ``pred``."""

    line: int
    id: Any
    answer: str | None
    verdict: Future[Verdict] | None
    error: str | None
    end_byte: int


def _text(row: dict[str, Any], name: str, line: int) -> str:
    if name not in row:
        raise RowError(f"line {line} has no {name!r}; a row needs \"id\", \"gold\" and \"pred\" (or \"numbers\", "
                       "\"target\" and \"pred\")")  # fmt: skip
    value = row[name]
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise RowError(f"line {line} has {name!r} of type {type(value).__name__}; write it as a string")


class _Grader:
    """Makes of one row a call of the right verifier."""

    def __init__(self, task: str, deadline_s: float, workers: int | None, exactly: bool = False) -> None:
        self.task, self.kind, self.columns = task, task.partition("?")[0], get_task(task).columns
        self.math = Math(deadline_s=deadline_s, workers=workers)
        self.countdown = Countdown(use_all=exactly)
        self.texts, self.answers = text_verifier(task), answer_verifier(task)

    def prepare(self, row: Any, line: int) -> Callable[[], Verdict]:
        """The check of a row, ready to be called.

        Raises:
            RowError: if the row lacks what the task needs.
        """
        if not isinstance(row, dict):
            raise RowError(f"line {line} is a JSON {type(row).__name__}; a row is an object")
        pred = _text(row, "pred", line)
        form = row.get("format") or "text"
        if form not in FORMATS:
            raise RowError(f'line {line} has "format" {form!r}; it may be {" or ".join(FORMATS)}')
        if self.kind == "countdown" or (self.kind == "math" and "gold" not in row and "numbers" in row):
            return self._countdown(row, pred, line)
        if self.kind == "math":
            gold = self._gold(row, line)
            return lambda: self.math.score_pairs([(gold, pred)], bare=form == "answer")[0]
        verifier = self.answers if form == "answer" else self.texts
        problem = self._problem(row, line)
        if verifier.checkable:
            return lambda: _verdict(verifier, problem, pred)
        labelled = LabelledProblem(problem, self._gold(row, line))
        return lambda: _verdict(verifier, labelled, pred)

    def renamed(self, row: Any, line: int) -> Any:
        """A row with our names for the columns that were named.

        Raises:
            RowError: It has no column of the name given for ``pred``.
        """
        if not isinstance(row, dict) or not self.columns:
            return row
        theirs = self.columns.get("pred", "pred")
        if theirs not in row:
            raise RowError(
                f"line {line} has no {theirs!r}, the column named for pred; its columns are {', '.join(row)}"
            )
        ours = {key: value for key, value in row.items() if key not in self.columns}
        named = {name: row[column] for name, column in self.columns.items() if column in row}
        return ours | {"gold" if name == "answer" else name: value for name, value in named.items()}

    def _gold(self, row: dict[str, Any], line: int) -> str:
        return _text(row, "answer" if "gold" not in row and "answer" in row else "gold", line)

    def _problem(self, row: dict[str, Any], line: int) -> Problem:
        """The problem of a row of a task that is neither mathematics nor Countdown."""
        if self.kind not in TASKS:
            try:
                read = row_of(line, f"line {line}", row)
                # A verifier may do without the wording, and so may a row.
                problem = problem_of(replace(read, fields={"problem": "?", **read.fields}), self.task)
            except InputError as error:
                raise RowError(str(error)) from None
            return replace(problem, id=str(row.get("id")))
        data = {key: value for key, value in row.items() if key not in ("id", "gold", "pred", "format")}
        return Problem(id=str(row.get("id")), text="", task=self.task, data=data)

    def answer(self, row: dict[str, Any]) -> str | None:
        """The answer found in a row's ``pred``, which is what is graded; None where none is found."""
        pred = "" if row["pred"] is None else str(row["pred"])
        if row.get("format") == "answer":
            return pred.strip() or None
        countdown = self.kind == "math" and "gold" not in row and "numbers" in row
        return answer_of(pred, "countdown" if countdown else self.task)

    def _countdown(self, row: dict[str, Any], pred: str, line: int) -> Callable[[], Verdict]:
        for name in ("numbers", "target"):
            if name not in row:
                raise RowError(f'line {line} has no {name!r}; a Countdown row needs "numbers", "target", "pred"')
        data: dict[str, Any] = {name: row[name] for name in ("numbers", "target", "use") if name in row}
        problem = Problem(id=str(row.get("id")), text="", task="countdown", data=data)
        return lambda: self.countdown.score(problem, pred)


def _verdict(verifier: Any, item: Problem | LabelledProblem, pred: str) -> Verdict:
    verdict: Verdict = verifier.score(item, pred)
    return verdict


def _lines(fd: int) -> Iterator[tuple[int, bytes | None, int]]:
    """(line number, line or ``None`` if it is too long, bytes read so far) of each line that is not blank.

    It reads the descriptor itself: a thread that waits inside one of Python's buffered streams when the interpreter
    ends makes it abort.
    """
    number = position = 0
    rest = bytearray()
    too_long = False
    while True:
        chunk = os.read(fd, 1 << 16)
        *whole, last = (chunk or b"\n").split(b"\n")
        for piece in whole:
            rest += piece
            number += 1
            position += len(rest) + 1
            line = bytes(rest.removeprefix(b"\xef\xbb\xbf") if number == 1 else rest)
            rest.clear()
            if too_long or len(line) > MAX_LINE_BYTES:
                yield number, None, position
            elif line.strip():
                yield number, line, position
            too_long = False
        if not chunk:
            return
        rest += last
        if len(rest) > MAX_LINE_BYTES:
            too_long = True
            position += len(rest)
            rest.clear()


def _read(fd: int, grader: _Grader, executor: ThreadPoolExecutor) -> Iterator[_Row]:
    for number, line, position in _lines(fd):
        row_id: Any = None
        answer: str | None = None
        try:
            if line is None:
                raise RowError(f"line {number} is longer than {MAX_LINE_BYTES >> 20} MiB")
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise RowError(f"line {number} is not JSON: {error}") from None
            row_id = row.get("id") if isinstance(row, dict) else None
            row = grader.renamed(row, number)
            check = grader.prepare(row, number)
            answer = grader.answer(row)
        except RowError as error:
            yield _Row(number, row_id, None, None, str(error), position)
            continue
        yield _Row(number, row_id, answer, executor.submit(check), None, position)


class _Display:
    """Progress bar on a terminal's stderr; nothing but the summary elsewhere."""

    def __init__(self, total_bytes: int | None) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.counts: Counter[str] = Counter()
        self.started = time.monotonic()
        self.progress: Progress | None = None
        self.bar = TaskID(0)
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("grading"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.bar = self.progress.add_task("", total=total_bytes, state="")
            self.progress.start()

    def count(self, verdict: bool | None, reason: str, failed: bool, end_byte: int) -> None:
        """Take one graded row into account."""
        self.counts["rows"] += 1
        self.counts["unreadable rows" if failed else {True: "true", False: "false", None: "null"}[verdict]] += 1
        self.counts["timeouts"] += reason == "timeout"
        if self.progress is not None and (self.counts["rows"] % 16 == 0 or self.counts["rows"] < 16):
            graded = self.counts["true"] + self.counts["false"]
            share = f"{self.counts['true'] / graded:.1%} true" if graded else ""
            rate = self.counts["rows"] / max(time.monotonic() - self.started, 1e-9)
            state = f"{self.counts['rows']} rows, {rate:.0f}/s, {share}"
            self.progress.update(self.bar, completed=end_byte, state=state)

    def close(self) -> None:
        """Take the bar away and write the summary."""
        if self.progress is not None:
            self.progress.stop()
        seconds = time.monotonic() - self.started
        c = self.counts
        parts = [
            f"{c['rows']} rows in {seconds:.1f} s",
            f"{c['true']} true",
            f"{c['false']} false",
            f"{c['null']} null",
        ]
        parts += [f"{c[name]} {name}" for name in ("timeouts", "unreadable rows") if c[name]]
        graded = c["true"] + c["false"]
        if graded:
            parts.append(f"accuracy {c['true'] / graded:.4f} of {graded} graded")
        self.console.print("; ".join(parts), soft_wrap=True)


def _open(name: str) -> tuple[int, int | None]:
    """Descriptor of the input, and its size in bytes if it is a file."""
    if name == "-":
        check_stdin()
        return sys.stdin.fileno(), None
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name} is a folder; give a jsonl file, or - for standard input")
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); give a jsonl file, or - for stdin") from None
    return fd, path.stat().st_size if path.is_file() else None


@click.command(
    epilog='A row is {"id", "gold", "pred"}, for Countdown {"id", "numbers", "target", "pred"}. '
    '"format" may be "text" (find the answer in pred; the default) or "answer" (gold and pred are bare answers). '
    'Out comes {"id", "verdict", "answer", "reason", "seconds"} for each row, in order; answer is what was found in '
    "pred; verdict is null when the gold answer cannot be read. "
    "Example: colasearch verify outputs.jsonl > verdicts.jsonl"
)
@click.argument("file")
@click.option(
    "--task",
    default="math",
    show_default=True,
    metavar="TASK",
    help=f"What to grade as: {', '.join(sorted(TASKS))}, FILE.py[:NAME] or FILE.yaml (docs/tasks.md).",
)
@columns_option
@click.option(
    "--deadline",
    type=click.FloatRange(min=0.05),
    default=DEADLINE_S,
    show_default=True,
    help="Seconds that one answer may take.",
)
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Worker processes for hard answers.")
@click.option("--exactly", is_flag=True, help="Countdown: every number exactly once, not at most once.")
@click.option(
    "--reward",
    "specs",
    multiple=True,
    metavar="SPEC",
    help='Score rows {"id", "problem", "pred"} by a reward, such as FILE.py:FUNCTION (docs/rewards.md), in place of '
    "grading them; several are averaged by their weights (SPEC*WEIGHT).",
)
def command(
    file: str,
    task: str,
    columns: dict[str, str] | None,
    deadline: float,
    workers: int | None,
    exactly: bool,
    specs: tuple[str, ...],
) -> int:
    """Grade the outputs in FILE (jsonl; - for standard input)."""
    if specs:
        from colasearch.cli.verify_reward import score_rows

        fd, _ = _open(file)
        return score_rows(file, specs, _lines(fd))
    task = settled(task, columns=columns)  # an unknown task is reported before anything is read
    fd, size = _open(file)
    grader = _Grader(task, deadline, workers, exactly)
    rows: queue.Queue[_Row | BaseException | None] = queue.Queue(maxsize=_IN_FLIGHT)
    executor = ThreadPoolExecutor(max_workers=max(2, workers or 2), thread_name_prefix="verify")

    def feed() -> None:
        # Reading has its own thread, so that a slow producer holds up no row that is already graded.
        try:
            for row in _read(fd, grader, executor):
                rows.put(row)
            rows.put(None)
        except BaseException as error:
            rows.put(error)

    display = _Display(size)
    try:
        threading.Thread(target=feed, daemon=True).start()
        while (row := rows.get()) is not None:
            if isinstance(row, BaseException):
                raise InputError(f"{file} cannot be read to its end: {row}") from row
            _write(row, display)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain again when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        display.close()
    if display.counts["rows"] == 0:
        raise InputError(f"{file} has no rows; a row is one JSON object a line, with id, gold and pred")
    return 1 if display.counts["unreadable rows"] else 0


def _write(row: _Row, display: _Display) -> None:
    if row.verdict is None:
        reason = row.error or "unreadable"
        display.console.print(f"Error: {reason}", markup=False, soft_wrap=True)
        record = {"id": row.id, "verdict": None, "answer": None, "reason": reason, "seconds": 0.0}
    else:
        verdict = row.verdict.result()
        record = {
            "id": row.id,
            "verdict": verdict.correct,
            "answer": row.answer,
            "reason": verdict.reason,
            "seconds": round(verdict.seconds, 6),
        }
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
    display.count(record["verdict"], str(record["reason"]), row.verdict is None, row.end_byte)
