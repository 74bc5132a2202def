"""``colasearch train problems``: problems with worked solutions to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from colasearch.cli.train.options import COUNT, PathType

KINDS = ("words", "stories", "countdown")
"""Kinds of problems that are made; episodes are played."""


@dataclass(frozen=True, kw_only=True)
class ProblemsSettings:
    """``colasearch train problems``: fields are named as the flags are."""

    output: Path
    count: int = 30_000
    seed: int = 0
    kind: str = "words"
    split: Literal["train", "heldout"] = "train"
    skill: float = 0.2
    text: bool = False


def kind_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """One of ``KINDS``, or an environment."""
    if value in KINDS or value.startswith("env:"):
        return value
    raise click.BadParameter(f"{value!r} must be one of {', '.join(KINDS)}, or env:NAME")


@click.command("problems")
@click.option(
    "--count",
    type=COUNT,
    default=30_000,
    show_default=True,
    help="How many problems; of an environment at most, one of each variation.",
)
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal problems.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
@click.option(
    "--kind",
    callback=kind_name,
    default="words",
    metavar="words|stories|countdown|env:NAME[:TASK]",
    show_default=True,
    help="Arithmetic word problems, all solved: from templates, or composed from parts. Countdown with solutions of "
    "which many fail. Or episodes of an environment that its gold actions solve.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "heldout"]),
    default="train",
    show_default=True,
    help="Countdown: held-out problems have numbers and targets that training never sees. Environments: the train, or "
    "the dev variations.",
)
@click.option(
    "--skill",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Countdown: probability that an attempt in a solution works.",
)
@click.option(
    "--text",
    is_flag=True,
    help="Environments: write each episode as plain text, of which a base learns every word, observations too.",
)
def command(**given: Any) -> None:
    """Make problems with worked solutions, to train on with --data."""
    run(ProblemsSettings(**given))


def run(settings: ProblemsSettings) -> None:
    """Make problems as ``settings`` say."""
    from colasearch.training.generated.countdown import CountdownConfig, countdown_rows
    from colasearch.training.generated.story_grammar.problems import stories
    from colasearch.training.generated.word_templates.problems import word_problems

    count, seed, output = settings.count, settings.seed, settings.output
    if settings.kind.startswith("env:"):
        from colasearch.training.generated.episodes import episode_text, gold_episodes

        split = "train" if settings.split == "train" else "dev"
        episodes, failed = gold_episodes(settings.kind.removeprefix("env:"), split, count, seed)
        for message in failed:
            click.echo(f"Warning: {message}; it is left out", err=True)
        _write([episode_text(row) for row in episodes] if settings.text else episodes, output, "episodes")
        return
    if settings.text:
        raise click.UsageError("--text is for environments (--kind env:NAME); leave it out here")
    rows = (
        countdown_rows(count, seed, settings.split, CountdownConfig(skill=settings.skill))
        if settings.kind == "countdown"
        else (stories if settings.kind == "stories" else word_problems)(count, seed)
    )
    _write(list(rows), output, "problems")


def _write(rows: list[dict[str, Any]], output: Path, what: str) -> None:
    import json

    from colasearch.storage.files import write_atomic

    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    click.echo(f"wrote {len(rows)} {what} to {output}", err=True)
