"""``colasearch solve`` of several problems, or into a run folder: results in order, resumable, with traces to view."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.printable import visible

if TYPE_CHECKING:
    from colasearch.engine.scheduler import Searched
    from colasearch.engine.settings import SearchSettings
    from colasearch.model.latent_lm import LatentLM
    from colasearch.problem import Problem
    from colasearch.storage.runs import RunFolder

AT_A_TIME = 8
"""Problems searched together; no result depends on it."""
KIND = "solve"
"""Of the manifest."""
KEY = ("problem_id",)
"""Names a record."""

Show = Callable[[Mapping[str, Any], "Problem"], None]


def folder_options(function: Any) -> Any:
    """``--output --resume``."""
    function = click.option("--resume", is_flag=True, help="Go on with the run in --output.")(function)
    return click.option(
        "--output",
        type=click.Path(path_type=Path),
        help="Run folder: results, and traces for `colasearch view` [default: none].",
    )(function)


@dataclass(slots=True)
class InOrder:
    """Shows results in the order of the problems, however they come; two problems that are the same share one.

    Attributes:
        problems: In the order of the file.
        show: Shows one record.
        found: Records by problem.
        next: How many have been shown.
    """

    problems: Sequence[Problem]
    show: Show
    found: dict[str, Mapping[str, Any]]
    next: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record, and show what can be shown by now."""
        self.found[record["problem_id"]] = record
        while self.next < len(self.problems) and self.problems[self.next].id in self.found:
            self._show(self.problems[self.next])
            self.next += 1

    def rest(self) -> None:
        """Show what waits for an earlier problem that does not come any more."""
        for problem in self.problems[self.next :]:
            if problem.id in self.found:
                self._show(problem)

    def _show(self, problem: Problem) -> None:
        self.show(self.found[problem.id], problem)


def solve_all(
    problems: Sequence[Problem],
    search: Callable[[Sequence[Problem]], Iterable[Searched]],
    show: Show,
    folder: RunFolder | None = None,
) -> int:
    """Search problems, show each result when its turn comes, keep it in ``folder``; returns the exit code.

    Args:
        problems: In the order in which results are shown. Those that ``folder`` has are not searched again.
        search: Yields each problem as it is done, in any order.
        show: Shows a record to the user.
        folder: Where finished records and traces go.
    """
    order = InOrder(problems, show, {})
    for earlier in [] if folder is None else folder.finished:
        order.add(earlier)
    todo = list({p.id: p for p in problems if p.id not in order.found}.values())
    interrupted = False
    try:
        for done in search(todo):
            record = _record(done, folder)
            interrupted |= record.get("stop") == "interrupted"
            order.add(record)
    finally:
        order.rest()
    if interrupted or len(order.found) < len({p.id for p in problems}):
        return 130
    return 1 if any(record.get("error") for record in order.found.values()) else 0


def _record(done: Searched, folder: RunFolder | None) -> Mapping[str, Any]:
    """What is known of a problem: the object of ``solve --json``, its wording and its trace's file."""
    record: dict[str, Any] = {"problem_id": done.problem.id, "problem": done.problem.text, "task": done.problem.task}
    if done.result is None:
        error = done.error
        record |= {"status": "error", "error": {"kind": type(error).__name__, "message": str(error)}, "trace": None}
        return record if folder is None else folder.append(record)
    record |= {"status": "ok", "error": None, **done.result.to_json(), "trace": None}
    if folder is None or done.result.stop == "interrupted":
        return record  # what was cut short is searched again by --resume
    if done.trace is not None:
        path = folder.trace_path(done.result.searcher, done.problem.id)
        done.trace.write(path)
        record["trace"] = folder.relative(path)
    return folder.append(record)


def printer(as_json: bool, show: Callable[[Any, Problem], None], many: bool) -> Show:
    """Prints a record: one line of JSON, or a block for people."""

    def one(record: Mapping[str, Any], problem: Problem) -> None:
        if as_json:
            hidden = {"sum", "trace", "problem", "status"} | ({"error"} if not record["error"] else set())
            shown = {key: value for key, value in record.items() if key not in hidden}
            click.echo(json.dumps({"schema": 1, **shown}, ensure_ascii=False))
            return
        if many:
            click.echo(f"{'-' * 8} {visible(problem.id)}\n{visible(problem.text[:200])}\n")
        if record["error"]:
            click.echo(f"Error: {visible(record['error']['message'])}")
        else:
            show(_result_of(record), problem)
        if many:
            click.echo()

    return one


def _result_of(record: Mapping[str, Any]) -> Any:
    from dataclasses import fields

    from colasearch.problem import Candidate, SolveResult

    given = {field.name: record[field.name] for field in fields(SolveResult) if field.name in record}
    return SolveResult(**{**given, "candidates": tuple(Candidate(**c) for c in record["candidates"])})


def run_folder(
    path: Path,
    resume: bool,
    problems: Sequence[Problem],
    settings: SearchSettings,
    lm: LatentLM,
    model: str,
    stack: ExitStack,
) -> RunFolder:
    """The run folder of these problems, locked until ``stack`` is left.

    Raises:
        InputError: It exists and ``resume`` is not given, or its settings or problems differ.
    """
    from hashlib import sha256

    from colasearch.model.folders import latents_folder
    from colasearch.rewards import hashes_of
    from colasearch.storage.files import read_sums
    from colasearch.storage.runs import RunFolder, manifest_of
    from colasearch.tasks import hashes_of as task_hashes

    latents = latents_folder(model)
    rows = [[p.id, p.task, p.text, dict(p.data)] for p in problems]
    manifest = manifest_of(
        KIND,
        _described(settings, lm),
        {
            "problems": sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest(),
            "base": lm.base.identity.weights_sha256 or lm.base.identity.sha256,
            "latents": None if latents is None else read_sums(latents),
            **({"values": hashes} if (hashes := hashes_of(settings.world.values)) else {}),
            **({"tasks": files} if (files := task_hashes({p.task for p in problems})) else {}),
        },
        {"problems": len(problems)},
    )
    return stack.enter_context(RunFolder(path, manifest, resume=resume, key=KEY))


def _described(settings: SearchSettings, lm: LatentLM) -> dict[str, Any]:
    described = {"model": lm.name, **asdict(settings)}
    described["world"]["rows"] = 64  # results do not depend on it; as in runs from before it could be chosen
    # What --check-steps says, as in runs from before each heuristic had a switch.
    described["world"]["check_steps"] = described["world"].pop("choosing")["false_equations"]
    if not described["world"]["q_values"]:
        del described["world"]["q_values"]  # as in runs from before there was this choice
    if not described["world"]["values"]:
        del described["world"]["values"]  # as in runs from before values could be rewards
    return described
