"""``colasearch train solutions``: the right texts that searches found, to fine-tune on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from colasearch.cli.tasks import TASK_HELP
from colasearch.cli.train.judging import judge_of
from colasearch.cli.train.options import COUNT, PathType


@dataclass(frozen=True, kw_only=True)
class SolutionsSettings:
    """``colasearch train solutions``: fields are named as the flags are."""

    traces: tuple[Path, ...]
    data: tuple[Path, ...]
    output: Path
    task: str | None = None
    most: int = 2


@click.command("solutions")
@click.option("--traces", multiple=True, required=True, type=PathType, help="Run folder of searches, or a trace file.")
@click.option(
    "--data", multiple=True, required=True, type=PathType, help="The problems searched, with answers (jsonl)."
)
@click.option("--task", metavar="TASK", help=TASK_HELP)
@click.option("--most", type=COUNT, default=2, show_default=True, help="Texts of one problem, the most probable first.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
def command(**given: Any) -> None:
    """Collect the right texts that searches found, as worked solutions for `train guide --data`.

    The searches did not know which texts are right; this command is told by --data (Countdown's verifier needs only
    the numbers and targets there).
    """
    run(SolutionsSettings(**given))


def run(settings: SolutionsSettings) -> None:
    """Collect as ``settings`` say."""
    from colasearch.errors import InputError
    from colasearch.storage.files import write_atomic
    from colasearch.storage.traces import Trace
    from colasearch.tasks import settled
    from colasearch.training.data.problems import load_problems
    from colasearch.training.from_search.solutions import solutions
    from colasearch.training.from_search.targets import find_traces

    task = settings.task and settled(settings.task)
    problems = {one.problem.text: one for one in load_problems(settings.data, task)}
    files = [file for path in settings.traces for file in find_traces(path)]
    rows = solutions((Trace.read(file) for file in files), problems, judge_of(settings.data), settings.most)
    if not rows:
        raise InputError(f"{len(files)} searches found no right text of the problems in --data; search more problems")
    output = settings.output
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    solved = len({row["problem"] for row in rows})
    click.echo(f"wrote {len(rows)} solutions of {solved} problems to {output}; {len(files)} were searched", err=True)
