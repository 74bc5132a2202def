"""``colasearch train problems``: problems with worked solutions to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from colasearch.cli.train.options import COUNT, PathType

SOLVED = "solved"
KINDS = ("words", "stories", "countdown", SOLVED)
"""Kinds of problems beside the episodes of an environment: made ones, and episodes that were played before."""


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
    runs: tuple[Path, ...] = ()

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: A flag is of another kind, or one is missing.
        """
        if bool(self.runs) != (self.kind == SOLVED):
            raise click.UsageError(
                "--kind solved takes its episodes from --run, the folder of a `colasearch bench env:NAME` run; give "
                "both or neither"
            )
        if self.text and self.kind in KINDS and self.kind != SOLVED:
            raise click.UsageError("--text is for environments (--kind env:NAME, or solved); leave it out here")


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
    help="How many problems; of episodes at most, one of each variation.",
)
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal problems.")
@click.option("--output", required=True, type=PathType, help="jsonl file to write.")
@click.option(
    "--kind",
    callback=kind_name,
    default="words",
    metavar="words|stories|countdown|env:NAME[:TASK]|solved",
    show_default=True,
    help="Arithmetic word problems, all solved: from templates, or composed from parts. Countdown with solutions of "
    "which many fail. Or episodes of an environment that its gold actions solve; or (solved) that a run has solved.",
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    type=PathType,
    help="With --kind solved: folder of a `bench env:NAME` run; may be repeated.",
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
    settings.check()
    if settings.kind == SOLVED:
        from colasearch.training.from_search.episodes import solved_episodes

        found, played = solved_episodes(settings.runs)
        click.echo(f"{len(found)} of {played} episodes were solved", err=True)
        _write_episodes(found[:count], settings)
        return
    if settings.kind.startswith("env:"):
        from colasearch.training.generated.episodes import gold_episodes

        split = "train" if settings.split == "train" else "dev"
        episodes, failed = gold_episodes(settings.kind.removeprefix("env:"), split, count, seed)
        for message in failed:
            click.echo(f"Warning: {message}; it is left out", err=True)
        _write_episodes(episodes, settings)
        return
    rows = (
        countdown_rows(count, seed, settings.split, CountdownConfig(skill=settings.skill))
        if settings.kind == "countdown"
        else (stories if settings.kind == "stories" else word_problems)(count, seed)
    )
    _write(list(rows), output, "problems")


def _write_episodes(rows: list[dict[str, Any]], settings: ProblemsSettings) -> None:
    from colasearch.training.generated.episodes import episode_text

    _write([episode_text(row) for row in rows] if settings.text else rows, settings.output, "episodes")


def _write(rows: list[dict[str, Any]], output: Path, what: str) -> None:
    import json

    from colasearch.storage.files import write_atomic

    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    click.echo(f"wrote {len(rows)} {what} to {output}", err=True)
