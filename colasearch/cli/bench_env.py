"""``colasearch bench env:NAME[:TASK]``: arms on the episodes of an environment, into a run folder."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.again import saying_how_to_go_on
from colasearch.cli.bench_run import RUNTIME_WORLD, new_folder, sims_list, warnings_to
from colasearch.cli.environments import environment_options, play_options, world_of
from colasearch.cli.groups import near_names
from colasearch.cli.options import config_option, engine_options, model_options, option, searcher_option

if TYPE_CHECKING:
    from colasearch.benchmarks.episodes.runner import EpisodeData, EpisodePlan
    from colasearch.cli.bench_display import Display
    from colasearch.environments import Catalogue
    from colasearch.model.latent_lm import LatentLM

EPILOG = """\b
Examples:
  colasearch bench env:house --model MODEL --limit 60 --output runs/house
  colasearch bench env:house:wash --model MODEL --sims 16,64 --arms best_of_n
  colasearch bench env:FILE.py:Class --model MODEL --actions sampled --limit 5
"""
PREFIX = "env:"
DEFAULT_ARMS = ("greedy", "sampled", "majority", "best_of_n")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """What ``bench env:NAME`` is told; each field is the flag of that name."""

    name: str
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    searcher: str = "gumbel"
    arms: tuple[str, ...] = ()
    sims: tuple[int, ...] = (32,)
    split: str = "dev"
    equal: str = "steps"
    limit: int | None = None
    skip: int = 0
    shuffle_seed: int | None = None
    max_steps: int | None = None
    max_tokens: int = 24
    width: int = 8
    valid_actions: bool = True
    max_seconds: float | None = None
    seed: int = 0
    batch_size: int = 16
    actions: str = "auto"
    temperature: float | None = None
    values: str = "head"
    options: Mapping[str, Any] = field(default_factory=dict)
    servers: int = 1
    server_timeout: float = 60.0
    rows: int | None = None
    engine: str = "auto"
    kv_memory: float = 4.0
    output: Path | None = None
    resume: bool = False
    traces: bool = True
    as_json: bool = False

    @property
    def all_arms(self) -> tuple[str, ...]:
        """The searcher and what it is compared with, each once."""
        return tuple(dict.fromkeys((self.searcher, *(self.arms or DEFAULT_ARMS))))


def _known_arms() -> tuple[list[str], list[str]]:
    """Searchers over trees, and all other arms."""
    from colasearch.benchmarks.episodes.arms import ACT, BEST_OF_N, ONCE
    from colasearch.benchmarks.names import BASELINES
    from colasearch.searchers.registry import ALGORITHMS

    return [name for name in ALGORITHMS if name not in BASELINES], [*ONCE, BEST_OF_N, ACT]


def searcher_name(context: click.Context, parameter: click.Parameter, value: Any) -> str:
    """A searcher over trees, or an arm that plays once, in the registry's spelling."""
    from colasearch.benchmarks.episodes.arms import ONCE

    searchers, _ = _known_arms()
    known = (*searchers, *ONCE)
    name = str(value).strip().lower().replace("-", "_")
    if name not in known:
        raise click.BadParameter(
            f"{value!r} is no searcher; choose from {', '.join(sorted(known))}.{near_names(name, known)}"
        )
    return name


def arm_names(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """``greedy,best_of_n`` (or a YAML list) as known arms."""
    searchers, others = _known_arms()
    known = [*others, *searchers]
    parts = value if isinstance(value, list | tuple) else str(value or "").split(",")
    names = [str(part).strip().lower().replace("-", "_") for part in parts if str(part).strip()]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{name!r} is no arm; choose from {', '.join(others)}.{near_names(name, known)}")
    return tuple(dict.fromkeys(names))


def make_command(name: str) -> click.Command:
    """The command that runs the environment ``name``, which begins with ``env:``."""

    @click.command(name=name, help=inspect.cleandoc(run.__doc__ or ""), epilog=EPILOG)
    @model_options
    @option("--searcher", default="gumbel", callback=searcher_name, help="Search algorithm: gumbel, puct, ...")
    @option(
        "--arms",
        callback=arm_names,
        help="What it is compared with: of greedy, sampled, majority, best_of_n, act, gold "
        "[default: greedy,sampled,majority,best_of_n]; the searcher itself: with nothing.",
    )
    @option(
        "--sims", default="32", callback=sims_list, help="Simulations an episode; several, as in 8,32, give a curve."
    )
    @option(
        "--equal",
        type=click.Choice(["steps", "tokens"]),
        default="steps",
        help="What best_of_n gets as much of as the search took: steps in the environment, or tokens.",
    )
    @environment_options
    @option("--limit", type=click.IntRange(min=1), help="Only so many episodes.")
    @option("--skip", type=click.IntRange(min=0), default=0, help="Leave out so many episodes before the first.")
    @option("--shuffle-seed", type=int, help="Take episodes in an order drawn from this seed.")
    @play_options
    @option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Wall-clock limit of a batch and arm.")
    @option("--batch-size", type=click.IntRange(min=1), default=16, help="Episodes played at a time.")
    @option("--output", type=click.Path(path_type=Path), help="Run folder [default: runs/NAME-TIME].")
    @click.option("--resume", is_flag=True, help="Go on with the run in --output.")
    @click.option("--traces/--no-traces", default=True, help="Keep a trace of each search.")
    @searcher_option
    @engine_options
    @config_option
    @click.option("--json", "as_json", is_flag=True, help="Print summary.json on standard output.")
    @click.pass_context
    def command(context: click.Context, /, **given: Any) -> int:
        return run(EnvironmentSettings(name=name, **given), context)

    return command


def run(settings: EnvironmentSettings, context: click.Context) -> int:
    """Runs arms on the episodes of an environment: mean score, and the share that was solved.

    greedy, sampled and majority (of votes on each action) play each episode once. The searcher looks at states of the
    true environment and may begin again; best_of_n draws whole episodes with as many steps. act searches over the
    model alone before each action.

    NAME is house, scienceworld, textworld, an installed environment, or FILE.py:Class of your own, which is run.
    """
    from colasearch.cli.bench_display import Display
    from colasearch.cli.bench_env_table import show_summary
    from colasearch.environments import catalogue_of, find
    from colasearch.searchers.registry import make

    if settings.resume and settings.output is None:
        raise click.UsageError("--resume needs --output, the folder of the run to go on with")
    searchers, others = _known_arms()
    if second := next((arm for arm in settings.arms if arm in searchers and arm != settings.searcher), None):
        raise click.UsageError(
            f"--arms has {second}, but only one searcher runs at a time, here {settings.searcher}; give --searcher "
            f"{second}, or leave it out"
        )
    if settings.searcher not in others:
        make(settings.searcher, dict(settings.options))
    kind, task = find(settings.name.removeprefix(PREFIX), servers=settings.servers, timeout=settings.server_timeout)
    with closing(Closing(kind.close)), Display() as display, warnings_to(display):
        catalogue = catalogue_of(kind)
        data = _episodes(settings, catalogue, task)
        for remark in data.remarks:
            display.warn(remark)
        summary, folder = _run(settings, catalogue, data, context, display)
    click.echo(f"Run folder: {folder}", err=True)
    if settings.as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        show_summary(summary)
    return 1 if any(arm["errors"] for point in summary["curve"] for arm in point["arms"].values()) else 0


@dataclass
class Closing:
    """Something to call at the end."""

    close: Any


def _episodes(settings: EnvironmentSettings, catalogue: Catalogue, task: str | None) -> EpisodeData:
    from colasearch.benchmarks.episodes.runner import EpisodeData

    items = catalogue.starts(
        task, settings.split, limit=settings.limit, skip=settings.skip, shuffle_seed=settings.shuffle_seed
    )
    total = len(catalogue.starts(task, settings.split)) if catalogue.told else len(items)
    remarks = []
    if not catalogue.told:
        name = catalogue.kind.name
        remarks.append(f"{name} does not say which variations it has (variations(task, split)); taken are 0, 1, 2, ...")
    return EpisodeData(items, total, settings.split, remarks)


def _run(
    settings: EnvironmentSettings, catalogue: Catalogue, data: EpisodeData, context: click.Context, display: Display
) -> tuple[dict[str, Any], Path]:
    """Load the model, run, and return the summary and the folder."""
    from colasearch.benchmarks.episodes.runner import EpisodeRunner
    from colasearch.benchmarks.harness.runner import run_to_end
    from colasearch.cli.environments import load_model
    from colasearch.defaults import actions_for, sampling_said
    from colasearch.storage.runs import RunFolder, check_folder

    if settings.output:
        check_folder(settings.output, resume=settings.resume)
    lm = load_model(settings, catalogue.kind.name, display.say)
    settings = replace(settings, actions=actions_for(lm, settings.actions, display.say))
    if settings.actions == "sampled" and (said := sampling_said(lm.base, settings.temperature)):
        display.say(said)
    plan = _plan(settings, lm, catalogue)
    manifest = _manifest(plan, data, lm, catalogue, settings, context)
    path = settings.output or new_folder(settings.name)
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(path, manifest, resume=settings.resume))
        if folder.records:
            display.say(f"going on in {path}: {folder.resumed} records are there")
        display.start(plan, data, folder.finished, what="episodes")
        runner = EpisodeRunner(lm, catalogue, data, plan, folder, display)
        with saying_how_to_go_on(context, path):
            summary = run_to_end(runner, lambda s: None, display.report)
    return summary, path


def _plan(settings: EnvironmentSettings, lm: LatentLM, catalogue: Catalogue) -> EpisodePlan:
    from colasearch.agents.players import PlaySettings
    from colasearch.benchmarks.episodes.runner import EpisodePlan

    most = catalogue.kind.slots
    return EpisodePlan(
        benchmark=settings.name,
        searcher=settings.searcher,
        arms=settings.all_arms,
        sims=settings.sims,
        play=PlaySettings(
            max_steps=settings.max_steps or catalogue.max_steps,
            width=settings.width,
            restrict=settings.valid_actions,
            temperature=settings.temperature or 1.0,
        ),
        world=world_of(settings, lm),
        seed=settings.seed,
        actions=settings.actions,
        options=settings.options,
        equal=settings.equal,
        max_seconds=settings.max_seconds,
        slots=settings.batch_size if most is None else min(most, settings.batch_size),
        traces=settings.traces,
    )


def _manifest(
    plan: EpisodePlan,
    data: EpisodeData,
    lm: LatentLM,
    catalogue: Catalogue,
    given: EnvironmentSettings,
    context: click.Context,
) -> dict[str, Any]:
    """What the results depend on, and what they do not."""
    from colasearch.model.folders import latents_folder
    from colasearch.storage.files import read_sums
    from colasearch.storage.runs import manifest_of
    from colasearch.userfile import file_sha256

    world = {key: value for key, value in asdict(plan.world).items() if key not in RUNTIME_WORLD}
    settings = {
        "benchmark": plan.benchmark,
        "split": data.split,
        "limit": given.limit,
        "skip": given.skip,
        "shuffle_seed": given.shuffle_seed,
        "model": lm.name,
        "searcher": plan.searcher,
        "arms": list(plan.arms),
        "sims": list(plan.sims),
        "equal": plan.equal,
        "seed": plan.seed,
        "actions": plan.actions,
        "play": asdict(plan.play),
        "instruction": catalogue.instruction,
        "max_tokens": world.pop("max_tokens"),
        "max_seconds": plan.max_seconds,
        "options": dict(plan.options),
        "world": world,
        "device": lm.base.device.type,
        "dtype": str(lm.base.dtype).removeprefix("torch."),
        "traces": plan.traces,
    }
    folder = latents_folder(given.model or lm.name)
    hashes = {
        "episodes": data.sha256,
        "base": lm.base.identity.weights_sha256 or lm.base.identity.sha256,
        "latents": None if folder is None else read_sums(folder),
        **({"environment": file_sha256(catalogue.kind.file)} if catalogue.kind.file else {}),
    }
    origins = {
        key: str(source.name).lower()
        for key in context.params
        if (source := context.get_parameter_source(key)) is not None and source.name != "DEFAULT"
    }
    runtime = {"batch_size": plan.slots, "threads": given.threads, "origins": origins, "data": data.to_json()}
    return manifest_of("bench", settings, hashes, runtime)
