"""``colasearch verify --reward SPEC``: the rewards of a file's rows, in order, as they come."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers.rewards import Item, Mix

AT_ONCE = 256
"""Most rows scored together; what is there is scored without waiting for more."""
OURS = ("id", "problem", "pred", "gold", "answer", "task")
"""Fields of a row that are no columns for a function."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of input; ``error`` says why it cannot be scored."""

    id: Any
    item: Item | None = None
    pred: str = ""
    error: str = ""


def score_rows(name: str, specs: Sequence[str], lines: Iterator[tuple[int, bytes | None, int]]) -> int:
    """Print ``{"id", "reward", "seconds"}`` for each row; returns the exit code.

    A row without a reward also says ``reason``; with several specs each row has ``rewards``, each spec's own number.

    Raises:
        InputError: There is no row, or a spec is wrong.
        PrerequisiteError: A server or model is not there; rows scored before have been printed.
    """
    from colasearch.rewards import reward_of

    mix = reward_of(specs)
    rows: queue.Queue[_Row | BaseException | None] = queue.Queue(maxsize=4 * AT_ONCE)

    def feed() -> None:
        # Reading has its own thread, so that a slow producer holds up no row that could be scored.
        try:
            for line in lines:
                rows.put(_row(*line[:2]))
            rows.put(None)
        except BaseException as error:
            rows.put(error)

    threading.Thread(target=feed, daemon=True).start()
    count = failed = 0
    begun = time.monotonic()
    try:
        for batch in _batches(rows, name):
            failed += _print(batch, mix)
            count += len(batch)
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain again when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        click.echo(f"{count} rows in {time.monotonic() - begun:.1f} s; {failed} without a reward by a fault", err=True)
    if not count:
        raise InputError(f"{name} has no rows; a row is one JSON object a line, with id, problem and pred")
    return 1 if failed else 0


def _row(number: int, line: bytes | None) -> _Row:
    if line is None:
        return _Row(None, error=f"line {number} is too long")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _Row(None, error=f"line {number} is not JSON: {error}")
    if not isinstance(row, dict):
        return _Row(None, error=f"line {number} is a JSON {type(row).__name__}; a row is an object")
    for field in ("problem", "pred"):
        if not isinstance(row.get(field), str | int | float):
            return _Row(row.get("id"), error=f'line {number} has no text {field!r}; give "id", "problem" and "pred"')
    data = {key: value for key, value in row.items() if key not in OURS}
    problem = Problem(id=str(row.get("id")), text=str(row["problem"]), task=str(row.get("task", "math")), data=data)
    gold = row.get("gold", row.get("answer"))
    item = problem if gold is None else LabelledProblem(problem, str(gold))
    return _Row(row.get("id"), item, str(row["pred"]))


def _batches(rows: queue.Queue[_Row | BaseException | None], name: str) -> Iterator[list[_Row]]:
    """All rows that are there at a time."""
    done = False
    while not done:
        batch: list[_Row] = []
        more: _Row | BaseException | None = rows.get()
        while True:
            if more is None:
                done = True
                break
            if isinstance(more, BaseException):
                raise InputError(f"{name} cannot be read to its end: {more}") from more
            batch.append(more)
            if len(batch) == AT_ONCE:
                break
            try:
                more = rows.get_nowait()
            except queue.Empty:
                break
        if batch:
            yield batch


def _print(batch: Sequence[_Row], mix: Mix) -> int:
    """Score and print rows; returns how many have no reward by a fault."""
    begun = time.monotonic()
    good = [row for row in batch if row.item is not None]
    mixed = iter(mix.mixed([row.item for row in good if row.item is not None], [row.pred for row in good]))
    seconds = (time.monotonic() - begun) / max(1, len(good))
    failed = 0
    for row in batch:
        record: dict[str, Any] = {"id": row.id, "reward": None, "seconds": round(seconds if row.item else 0.0, 6)}
        if row.item is None:
            record["reason"], fault = row.error, True
        else:
            found = next(mixed)
            record["reward"], fault = found.score.value, found.score.failed
            if found.score.value is None:
                record["reason"] = found.score.reason
            if len(mix.names) > 1:
                record["rewards"] = dict(zip(mix.names, found.parts, strict=True))
        if fault:
            failed += 1
            click.echo(f"Error: row {row.id}: {record['reason']}", err=True)
        sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
    return failed
