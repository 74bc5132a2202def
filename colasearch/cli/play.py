"""``colasearch play ENV``: one episode, shown as it is played."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from colasearch.cli.bench_env import Closing, searcher_name
from colasearch.cli.environments import environment_options, load_model, play_options, world_of
from colasearch.cli.options import config_option, engine_options, model_options, option, searcher_option
from colasearch.printable import visible

if TYPE_CHECKING:
    from colasearch.agents.episode import Episode, Live
    from colasearch.benchmarks.episodes.arms import Result
    from colasearch.environments import Catalogue, Start

EPILOG = """\b
Examples:
  colasearch play house --by gold
  colasearch play house:wash --model MODEL --variation 212
  colasearch play FILE.py:Class --model MODEL --actions sampled --by gumbel --sims 32
"""


@dataclass(frozen=True, kw_only=True)
class PlayCommand:
    """What ``play`` is told; each field is the flag of that name."""

    environment: str
    by: str = "greedy"
    sims: int = 32
    variation: int | None = None
    split: str = "dev"
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    max_steps: int | None = None
    max_tokens: int = 24
    width: int = 8
    valid_actions: bool = True
    seed: int = 0
    actions: str = "auto"
    temperature: float | None = None
    values: str = "head"
    options: Mapping[str, Any] = field(default_factory=dict)
    servers: int = 1
    server_timeout: float = 60.0
    rows: int | None = None
    engine: str = "auto"
    kv_memory: float = 4.0
    as_json: bool = False


@click.command(name="play", epilog=EPILOG)
@click.argument("environment", metavar="ENV")
@model_options
@option(
    "--by",
    default="greedy",
    callback=searcher_name,
    help="Who plays: greedy, sampled, majority, gold (the environment's own solution), or a searcher, such as gumbel.",
)
@option("--sims", type=click.IntRange(min=1), default=32, help="Simulations of a searcher.")
@option("--variation", type=int, help="Which variation [default: the first one of --split].")
@environment_options
@play_options
@searcher_option
@engine_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**given: Any) -> int:
    """Play one episode of an environment, and show it.

    ENV is NAME[:TASK] or FILE.py:Class[:TASK], as in bench env:ENV. A searcher comes back to states while it plans;
    shown is the episode that it then plays.
    """
    return run(PlayCommand(**given))


def run(settings: PlayCommand) -> int:
    """Play as ``settings`` say; returns the exit code."""
    from colasearch.environments import catalogue_of, find

    said = Console(stderr=True, highlight=False)
    kind, task = find(settings.environment, servers=settings.servers, timeout=settings.server_timeout)
    with closing(Closing(kind.close)):
        catalogue = catalogue_of(kind)
        if settings.variation is None:
            start = catalogue.starts(task, settings.split, limit=1)[0]
        else:
            start = catalogue.start(task, settings.variation)
        shown = _Shown(None if settings.as_json else Console(highlight=False))
        result = _played(settings, catalogue, start, shown, lambda text: said.print(text, style="dim", soft_wrap=True))
    if result.error is not None:
        raise result.error
    if settings.as_json:
        click.echo(json.dumps(_told(settings, result), ensure_ascii=False))
    else:
        shown.end(result)
    return 0


def _played(settings: PlayCommand, catalogue: Catalogue, start: Start, shown: _Shown, say: Any) -> Result:
    from colasearch.agents.layout import Layout
    from colasearch.agents.planning import SearchPlan, plan_and_play
    from colasearch.agents.players import PlaySettings
    from colasearch.agents.writer import Writer
    from colasearch.benchmarks.episodes.arms import GOLD, ONCE, of_live, play_gold, play_once
    from colasearch.defaults import actions_for

    play = PlaySettings(
        settings.max_steps or catalogue.max_steps, settings.width, settings.valid_actions, settings.temperature or 1.0
    )
    if settings.by == GOLD:
        return play_gold(catalogue, play, [start])[0]
    lm = load_model(settings, catalogue.kind.name, say)
    layout = Layout.of(lm.base, catalogue.instruction, settings.max_tokens)
    writer = Writer(lm, layout, world_of(settings, lm), settings.seed, actions_for(lm, settings.actions, say))
    if settings.by in ONCE:
        return play_once(catalogue, writer, play, [start], settings.by, on_turn=shown.turn)[0]
    search = SearchPlan(settings.by, settings.sims, settings.seed, settings.options)
    planned = plan_and_play(catalogue, writer, play, [start], search).planned[0]
    say(f"{settings.by}: {planned.sims} simulations, {planned.steps} new steps, {planned.solved} ends solved")
    return of_live(planned.live)


def _told(settings: PlayCommand, result: Result) -> dict[str, Any]:
    episode = result.episode
    return {
        "schema": 1,
        "environment": settings.environment,
        "task": result.start.task,
        "variation": result.start.variation,
        "by": settings.by,
        "observation": episode.first,
        "turns": [{"action": t.action, "observation": t.observation, "reward": t.reward} for t in episode.turns],
        "score": episode.score,
        "success": episode.success,
        "stop": episode.stop,
    }


class _Shown:
    """The episode on standard output, turn by turn where it is played so."""

    def __init__(self, console: Console | None) -> None:
        self.console, self._turns = console, -1

    def turn(self, live: Live) -> None:
        """Show what is new."""
        self.show(live.episode)

    def show(self, episode: Episode) -> None:
        """The same, of an episode."""
        console = self.console
        if console is None:
            return
        if self._turns < 0:
            console.print(Text(visible(episode.first)), soft_wrap=True)
            self._turns = 0
        for turn in episode.turns[self._turns :]:
            gained = f"  [{turn.reward:+g}]" if turn.reward else ""
            console.print(Text(visible(f"> {turn.action}{gained}"), style="bold"), soft_wrap=True)
            console.print(Text(visible(turn.observation)), soft_wrap=True)
        self._turns = len(episode.turns)

    def end(self, result: Result) -> None:
        """Show the rest, and what came of it."""
        episode = result.episode
        self.show(episode)
        assert self.console is not None
        end = "solved" if episode.success else "not solved"
        actions = f"{len(episode.turns)} action{'s' * (len(episode.turns) != 1)}"
        self.console.print(
            Text(f"score {episode.score:g}, {end} ({episode.stop}), {actions}", style="bold"), soft_wrap=True
        )
