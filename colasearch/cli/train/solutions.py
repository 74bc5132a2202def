"""``colasearch train solutions``: the right texts that searches found, to fine-tune on."""

from __future__ import annotations

import json
from pathlib import Path

import click

from colasearch.cli.tasks import TASK_HELP
from colasearch.cli.train.common import COUNT, PathType, judge_of


@click.command("solutions")
@click.option("--traces", multiple=True, required=True, type=PathType, help="Run folder of searches, or a trace file.")
@click.option(
    "--data", multiple=True, required=True, type=PathType, help="The problems searched, with answers (jsonl)."
)
@click.option("--task", metavar="TASK", help=TASK_HELP)
@click.option("--most", type=COUNT, default=2, show_default=True, help="Texts of one problem, the most probable first.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
def command(traces: tuple[Path, ...], data: tuple[Path, ...], task: str | None, most: int, output: Path) -> None:
    """Collect the right texts that searches found, as worked solutions for `train guide --data`.

    The searches did not know which texts are right; this command is told by --data (Countdown's verifier needs only
    the numbers and targets there).
    """
    from colasearch.errors import InputError
    from colasearch.storage.files import write_atomic
    from colasearch.storage.traces import Trace
    from colasearch.tasks import settled
    from colasearch.training.problems import load_problems
    from colasearch.training.search_data import find_traces
    from colasearch.training.solutions import solutions

    task = task and settled(task)
    problems = {one.problem.text: one for one in load_problems(data, task)}
    files = [file for path in traces for file in find_traces(path)]
    rows = solutions((Trace.read(file) for file in files), problems, judge_of(data), most)
    if not rows:
        raise InputError(f"{len(files)} searches found no right text of the problems in --data; search more problems")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    solved = len({row["problem"] for row in rows})
    click.echo(f"wrote {len(rows)} solutions of {solved} problems to {output}; {len(files)} were searched", err=True)
