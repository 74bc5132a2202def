"""``colasearch train problems``: problems with worked solutions to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from colasearch.cli.train.options import COUNT, PathType


@dataclass(frozen=True, kw_only=True)
class ProblemsSettings:
    """``colasearch train problems``: fields are named as the flags are."""

    output: Path
    count: int = 30_000
    seed: int = 0
    kind: Literal["words", "stories", "countdown"] = "words"
    split: Literal["train", "heldout"] = "train"
    skill: float = 0.2


@click.command("problems")
@click.option("--count", type=COUNT, default=30_000, show_default=True, help="How many problems.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal problems.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
@click.option(
    "--kind",
    type=click.Choice(["words", "stories", "countdown"]),
    default="words",
    show_default=True,
    help="Arithmetic word problems, all solved: from templates, or composed from parts. Or Countdown with solutions of "
    "which many fail.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "heldout"]),
    default="train",
    show_default=True,
    help="Countdown: held-out problems have numbers and targets that training never sees.",
)
@click.option(
    "--skill",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Countdown: probability that an attempt in a solution works.",
)
def command(**given: Any) -> None:
    """Make problems with worked solutions, to train on with --data."""
    run(ProblemsSettings(**given))


def run(settings: ProblemsSettings) -> None:
    """Make problems as ``settings`` say."""
    import json

    from colasearch.storage.files import write_atomic
    from colasearch.training.generated.countdown import CountdownConfig, countdown_rows
    from colasearch.training.generated.story_grammar.problems import stories
    from colasearch.training.generated.word_templates.problems import word_problems

    count, seed, output = settings.count, settings.seed, settings.output
    rows = (
        countdown_rows(count, seed, settings.split, CountdownConfig(skill=settings.skill))
        if settings.kind == "countdown"
        else (stories if settings.kind == "stories" else word_problems)(count, seed)
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    click.echo(f"wrote {count} problems to {output}", err=True)
