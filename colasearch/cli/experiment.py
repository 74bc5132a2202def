"""``colasearch experiment``: whole experiments, from nothing to a report."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.groups import NamedGroup
from colasearch.cli.options import stage_log_option
from colasearch.cli.train.options import together

if TYPE_CHECKING:
    from colasearch.experiments.running.stages import Stage

MOST_JOBS = 4
"""Stages that a recipe has side by side at most; each takes 1 to 3 GB."""
EPILOG = """\b
Examples:
  colasearch experiment countdown --output runs/countdown
  colasearch experiment countdown --output runs/countdown --resume
  colasearch experiment countdown --size smoke --output runs/smoke
  colasearch experiment countdown --set rl_rounds=50 --set sims=4,16,64 --output runs/short
  colasearch experiment countdown --set rl_lr=1e-4 --reuse runs/countdown --output runs/slower
"""
PREFERENCE_EPILOG = """\b
Examples:
  colasearch experiment preference --output runs/preference
  colasearch experiment preference --set golds=academy --set betas=0,0.01 --set seeds=3 --output runs/academy
"""
AGENTS_EPILOG = """\b
Examples:
  colasearch experiment agents --output runs/agents
  colasearch experiment agents --size smoke --output runs/smoke
  colasearch experiment agents --set environment=FILE.py:Class --set test=50 --output runs/mine
"""


recipe_options = together(
    click.option("--output", type=click.Path(path_type=Path), help="Run folder to create."),
    click.option("--size", type=click.Choice(["full", "smoke"]), default="full", show_default=True),
    click.option(
        "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a number of the recipe; may be repeated."
    ),
    click.option("--resume", is_flag=True, help="Go on with the run in --output."),
)
"""What is run, and where."""
reuse_option = click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    help="A run with another recipe: stages whose commands, and all before that they read, are the same are copied.",
)
running_options = together(
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=lambda: min(MOST_JOBS, len(os.sched_getaffinity(0))),
        show_default=False,
        help="Most stages at a time; no result depends on it. [default: a core each, at most 4]",
    ),
    stage_log_option,
    click.option("--show", is_flag=True, help="Print the recipe and its commands, and run nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print summary.json on standard output."),
)
"""How it is run and shown."""


@click.group(name="experiment", cls=NamedGroup)
def command() -> None:
    """Run a whole experiment: training, search, evaluation, report."""


@command.command("countdown", epilog=EPILOG)
@recipe_options
@reuse_option
@running_options
def countdown(
    output: Path | None,
    size: str,
    changes: tuple[str, ...],
    resume: bool,
    reuse: Path | None,
    jobs: int,
    show: bool,
    as_json: bool,
) -> None:
    """Countdown from nothing: a base, latent actions, RL against token RL, search, and all of them in turn.

    Each stage is one colasearch command with a folder of its own in the run folder. Ctrl-C or a crash costs little:
    --resume goes on where it stopped. docs/experiments.md explains stages and report.
    """
    from colasearch.experiments.countdown_run import run_countdown
    from colasearch.experiments.recipes.countdown import stages
    from colasearch.experiments.recipes.countdown_recipe import SIZES
    from colasearch.experiments.recipes.overrides import override

    recipe = override(SIZES[size], changes)
    if show:
        show_recipe(size, recipe, stages(recipe))
        return
    output = needed(output)
    summary = run_countdown(recipe, size, output, resume=resume, reuse=reuse, jobs=jobs, say=say)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        from colasearch.experiments.reports.countdown_tables import aims_text

        click.echo(aims_text(summary))
        click.echo(f"Report: {output / 'report.html'}; model: {output / 'model'}")


@command.command("preference", epilog=PREFERENCE_EPILOG)
@recipe_options
@running_options
def preference(
    output: Path | None, size: str, changes: tuple[str, ...], resume: bool, jobs: int, show: bool, as_json: bool
) -> None:
    """RL against a reward model of few pairs, on codes and on tokens: which of them games it less?

    A gold scorer labels pairs, a proxy learns from them, RL is paid by the proxy and the gold score is watched. The
    report has both against the divergence from the start, beside diversity and length.
    """
    from colasearch.experiments.preference_run import run_preference
    from colasearch.experiments.recipes.overrides import override
    from colasearch.experiments.recipes.preference import SIZES, stages
    from colasearch.experiments.reports.preference_report import lead

    recipe = override(SIZES[size], changes)
    if show:
        show_recipe(size, recipe, stages(recipe))
        return
    output = needed(output)
    summary = run_preference(recipe, size, output, resume=resume, jobs=jobs, say=say)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        click.echo(lead(summary))
        click.echo(f"Report: {output / 'report.html'}")


@command.command("agents", epilog=AGENTS_EPILOG)
@recipe_options
@reuse_option
@running_options
def agents(
    output: Path | None,
    size: str,
    changes: tuple[str, ...],
    resume: bool,
    reuse: Path | None,
    jobs: int,
    show: bool,
    as_json: bool,
) -> None:
    """A tiny model from nothing acts in a world of texts: RL on codes against RL on tokens, their harm, and search.

    Few solved episodes make a base, its latent actions and a policy. RL on codes and on tokens have equal rollouts and
    about equally many trained numbers. The report has success on test variations, what either did to the base's text,
    and searches in the true environment against best-of-N.
    """
    from colasearch.environments import settled
    from colasearch.experiments.agents_run import run_agents
    from colasearch.experiments.countdown_run import MODEL_NAME
    from colasearch.experiments.recipes.agents import SIZES, stages
    from colasearch.experiments.recipes.overrides import override
    from colasearch.experiments.reports.agents_report import lead

    recipe = override(SIZES[size], changes)
    recipe = dataclasses.replace(recipe, environment=settled(recipe.environment))
    if show:
        show_recipe(size, recipe, stages(recipe))
        return
    output = needed(output)
    summary = run_agents(recipe, size, output, resume=resume, reuse=reuse, jobs=jobs, say=say)
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        click.echo(lead(summary))
        click.echo(f"Report: {output / 'report.html'}; model: {output / MODEL_NAME}")


def needed(output: Path | None) -> Path:
    """The run folder.

    Raises:
        UsageError: None was given.
    """
    if output is None:
        raise click.UsageError("--output is missing: the run folder to create, or to --resume")
    return output


def say(line: str) -> None:
    """Show a line to people."""
    click.echo(line, err=True)


def show_recipe(size: str, recipe: Any, stages: Iterable[Stage]) -> None:
    """Print the numbers of a recipe (a dataclass) and its commands as JSON."""
    shown = [{"name": s.name, "about": s.about, "command": s.command} for s in stages]
    click.echo(json.dumps({"size": size, "recipe": dataclasses.asdict(recipe), "stages": shown}, indent=2))
