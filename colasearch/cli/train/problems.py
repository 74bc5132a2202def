"""``colasearch train problems``: word problems to train on."""

from __future__ import annotations

from pathlib import Path

import click

from colasearch.cli.train.common import COUNT, PathType


@click.command("problems")
@click.option("--count", type=COUNT, default=30_000, show_default=True, help="How many problems.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal problems.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
def command(count: int, seed: int, output: Path) -> None:
    """Make easy arithmetic word problems with worked solutions, to train on with --data."""
    import json

    from colasearch.files import write_atomic
    from colasearch.training.word_problems import word_problems

    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in word_problems(count, seed)))
    click.echo(f"wrote {count} problems to {output}", err=True)
