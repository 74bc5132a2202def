#!/usr/bin/env python3
r"""Export a trained model into ``colasearch/pretrained/NAME``, its base included, so that it ships with the package.

    .venv/bin/python scripts/ship_model.py runs/rl/model countdown-tiny --data train.jsonl \
        --command "colasearch train base ..." --command "colasearch train actions ..." --notes notes.md

FROM_FOLDER is the ``model`` folder of any ``colasearch train`` run. Where the model was trained with relative paths,
run this in the same folder: the model names its base by the path that it was trained with. Checks greedy texts on 50
held-out problems (float16 is kept only if none changes) and the size, and writes the card.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from colasearch.errors import ColasearchError

if TYPE_CHECKING:
    from colasearch.training.trained.greedy import Asked

ROOT = Path(__file__).resolve().parent.parent
PathType = click.Path(path_type=Path, exists=True, dir_okay=False)


def commit_of(folder: Path) -> str:
    """The commit that ``folder`` is at, and whether files differ from it; empty outside a repository."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "HEAD").strip() + (" (with uncommitted changes)" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def asked_of(problems: Path | None, task: str, count: int) -> Asked:
    """``count`` held-out problems of a task, or episodes of an environment."""
    from colasearch.environments import catalogue_of, find
    from colasearch.problem import LabelledProblem, Problem
    from colasearch.training.data.problems import load_problems
    from colasearch.training.generated.countdown import countdown_rows
    from colasearch.training.trained.greedy import Episodes

    if problems is not None:
        return load_problems([problems], task)[:count]
    if task.startswith("env:"):
        kind, only = find(task.removeprefix("env:"))
        catalogue = catalogue_of(kind)
        return Episodes(catalogue, catalogue.starts(only, "dev", limit=count))
    if task == "countdown":
        rows = countdown_rows(count, 0, "heldout")
        return [LabelledProblem(Problem.from_text(r["problem"], task, r), "") for r in rows]
    raise click.UsageError(f"--task {task} needs --problems FILE; only Countdown problems are made on the spot")


@click.command(help=(__doc__ or "").split("\n\n")[0])
@click.argument("source", metavar="FROM_FOLDER")
@click.argument("name")
@click.option(
    "--command", "commands", multiple=True, required=True, help="A command that trained it, in order; repeat."
)
@click.option("--data", multiple=True, required=True, type=PathType, help="A file that it was trained on; repeat.")
@click.option("--commit", default=None, help="Of the code that trained it [default: this repository's].")
@click.option("--notes", type=PathType, default=None, help="Markdown for the end of the card.")
@click.option(
    "--storage",
    type=click.Choice(["auto", "float16", "float32"]),
    default="auto",
    show_default=True,
    help="Of the base's weights; auto is float16 unless that changes a greedy text.",
)
@click.option(
    "--without-base",
    is_flag=True,
    help="For a base that is fetched by its name: ship the modules and what fine-tuning changed.",
)
@click.option(
    "--keep-untouched-base",
    is_flag=True,
    help="For a fine-tuned base: ship base, changes and IDM, not the merged base without IDM.",
)
@click.option("--problems", type=PathType, default=None, help="jsonl to compare greedy texts on [default: Countdown].")
@click.option(
    "--task", default="countdown", show_default=True, help="Of these problems; or env:NAME, for its dev episodes."
)
@click.option("--count", type=click.IntRange(min=1), default=50, show_default=True, help="How many of them.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=ROOT / "colasearch" / "pretrained", help="Parent folder."
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def main(
    source: str,
    name: str,
    commands: tuple[str, ...],
    data: tuple[Path, ...],
    commit: str | None,
    notes: Path | None,
    storage: str,
    without_base: bool,
    keep_untouched_base: bool,
    problems: Path | None,
    task: str,
    count: int,
    into: Path,
    threads: int,
) -> None:
    """Export a trained model."""
    import torch

    from colasearch.training.trained.shipping import Origin, ship

    torch.set_num_threads(threads)
    asked = asked_of(problems, task, count)
    text = notes.read_text(encoding="utf-8") if notes else ""
    origin = Origin(commands, data, commit_of(ROOT) if commit is None else commit, text)
    try:
        shipped = ship(
            source,
            into / name,
            asked,
            origin,
            storage=storage,  # type: ignore[arg-type]
            keep_untouched_base=keep_untouched_base,
            without_base=without_base,
        )
    except ColasearchError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    for key, value in asdict(shipped).items():
        click.echo(f"{key}: {value}")


if __name__ == "__main__":
    main()
