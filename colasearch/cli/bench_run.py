"""``colasearch bench NAME``: run a benchmark into a run folder, show the comparison."""

from __future__ import annotations

import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.again import saying_how_to_go_on
from colasearch.cli.groups import near_names
from colasearch.cli.options import (
    actions_option,
    backend_option,
    chosen_model,
    config_option,
    engine_options,
    model_options,
    option,
    search_options,
    worker_options,
)
from colasearch.cli.settings import SLOTS, BenchSettings
from colasearch.cli.tasks import task_options

if TYPE_CHECKING:
    from colasearch.benchmarks.data_sets.load import DataSet
    from colasearch.benchmarks.harness.runner import Listener, Plan
    from colasearch.cli.bench_display import Display
    from colasearch.cluster.pool import Pool
    from colasearch.model.latent_lm import LatentLM

EPILOG = """\b
Examples:
  colasearch bench {name} --sims 64 --output runs/{name}
  colasearch bench {name} --sims 1,4,16,64 --limit 100 --shuffle-seed 0 --output runs/curve
  colasearch bench {name} --output runs/{name} --resume
  colasearch bench {name} --workers 4
"""
RUNTIME_WORLD = ("rows", "kv_bytes", "engine")
"""Settings of the world that results do not depend on."""


SIMS_HELP = "Simulations; several, as in 1,4,16,64, give a curve [default: by model, 64 for most]."


def sims_list(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[int, ...]:
    """``1,4,16`` (or a YAML list or number) as ascending numbers without repeats; nothing: by model."""
    if value is None:
        return ()
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    try:
        numbers = sorted({int(part) for part in parts})
    except (TypeError, ValueError):
        numbers = []
    if not numbers or numbers[0] < 1:
        raise click.BadParameter(f"{value!r} is no list of whole numbers above 0; write e.g. 64, or 1,4,16,64")
    return tuple(numbers)


def arm_names(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """``gumbel,puct`` (or a YAML list) as known names in the registry's spelling."""
    from colasearch.searchers.registry import ALGORITHMS

    parts = value if isinstance(value, list | tuple) else str(value or "").split(",")
    names = [str(part).strip().lower().replace("-", "_") for part in parts if str(part).strip()]
    for name in names:
        if name not in ALGORITHMS:
            choices = ", ".join(sorted(ALGORITHMS))
            raise click.BadParameter(
                f"{name!r} is not a searcher; choose from {choices}.{near_names(name, ALGORITHMS)}"
            )
    return tuple(dict.fromkeys(names))


def make_command(name: str) -> click.Command:
    """The command that runs benchmark ``name``."""
    from colasearch.benchmarks.names import BENCHMARKS, ROWS, ROWS_HELP

    about = ROWS_HELP if name == ROWS else BENCHMARKS.get(name, f"reasoning-gym's task {name.removeprefix('gym:')}.")

    @click.command(name=name, help=f"{about}\n\n{inspect.cleandoc(run.__doc__ or '')}", epilog=EPILOG.format(name=name))
    @model_options
    @option("--searcher", default="gumbel", callback=arm_names, help="Search algorithm: gumbel, puct, ...")
    @option("--arms", callback=arm_names, help="What it is compared with [default: greedy,majority,best_of_n].")
    @option("--sims", callback=sims_list, help=SIMS_HELP)
    @option(
        "--data",
        type=click.Path(path_type=Path),
        help="A jsonl, JSON or CSV file in place of the benchmark's own rows.",
    )
    @task_options
    @option("--exactly", is_flag=True, help="Countdown: every number exactly once, not at most once.")
    @option("--limit", type=click.IntRange(min=1), help="Only so many problems.")
    @option("--skip", type=click.IntRange(min=0), default=0, help="Leave out so many problems before the first.")
    @option("--shuffle-seed", type=int, help="Take problems in an order drawn from this seed.")
    @option(
        "--max-tokens",
        type=click.IntRange(min=1),
        help="Longest text, in generated tokens [default: by model and task, 1024 for most].",
    )
    @option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Wall-clock limit of a problem and arm.")
    @option("--seed", type=int, default=0, help="Same seed, same results.")
    @option(
        "--batch-size",
        type=click.IntRange(min=1),
        help="Problems searched at a time [default: a quarter of --rows; 16 a worker].",
    )
    @actions_option
    @option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Of codes (or tokens).")
    @option("--output", type=click.Path(path_type=Path), help="Run folder [default: runs/NAME-TIME].")
    @click.option("--resume", is_flag=True, help="Go on with the run in --output.")
    @click.option("--traces/--no-traces", default=True, help="Keep a trace of each search.")
    @click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs into the run folder.")
    @search_options
    @engine_options
    @backend_option
    @worker_options
    @config_option
    @click.option("--json", "as_json", is_flag=True, help="Print summary.json on standard output.")
    @click.pass_context
    def command(context: click.Context, /, **given: Any) -> int:
        return run(BenchSettings(name=name, **given), context)

    return command


def run(settings: BenchSettings, context: click.Context) -> int:
    """Runs the chosen searcher next to greedy decoding, majority vote and best-of-N.

    The last two get, problem by problem, the tokens that the search generated there. Ctrl-C keeps what is finished, and
    --resume goes on with it.
    """
    from colasearch.benchmarks.data_sets import registry
    from colasearch.benchmarks.data_sets.load import load
    from colasearch.benchmarks.names import ROWS
    from colasearch.cli.bench_display import Display
    from colasearch.cli.bench_table import show_summary
    from colasearch.defaults import sims_for
    from colasearch.searchers.registry import make
    from colasearch.tasks import get_task, settled

    name = settings.name
    benchmark = registry.get(name)
    settings.check()
    if name == ROWS:
        settings = _own_rows(settings)
    if settings.columns and settings.data is None:
        raise click.UsageError("--columns names columns of --data; give a file, or leave it out")
    make(settings.searcher[0], dict(settings.options))  # a wrong option must not cost the loading of data and model
    task = get_task(settled(settings.task or benchmark.task)).name
    if settings.exactly and task != "countdown":
        raise click.UsageError(f"--exactly is a rule of Countdown; {name} has no numbers to use: leave it out")
    with Display() as display, warnings_to(display):
        data = load(
            benchmark,
            data=settings.data,
            limit=settings.limit,
            skip=settings.skip,
            shuffle_seed=settings.shuffle_seed,
            task=settings.task,
            prompt=settings.prompt,
            columns=settings.columns,
            report=display.say,
        )
        model = chosen_model(settings.model, task, display.say)
        settings = replace(settings, model=model, sims=settings.sims or (sims_for(model),))
        for remark in data.remarks:
            display.warn(remark)
        if task == "countdown":
            from colasearch.benchmarks.data_sets.countdown import with_rule

            data = with_rule(data, settings.exactly)
            display.say(data.remarks[-1])
        summary, folder = _run(settings, data, context, display)
    click.echo(f"Run folder: {folder}", err=True)
    if settings.as_json:
        click.echo(json.dumps(summary, ensure_ascii=False))
    else:
        show_summary(summary)
    return 1 if any(arm["errors"] for point in summary["curve"] for arm in point["arms"].values()) else 0


def _own_rows(settings: BenchSettings) -> BenchSettings:
    """The settings of a run over the user's rows, the task named.

    Raises:
        UsageError: There are no rows.
    """
    from colasearch.rows import read_rows
    from colasearch.tasks import task_of

    if settings.data is None:
        raise click.UsageError("bench without the name of a benchmark runs the rows of --data FILE; give one of both")
    if settings.task is not None:
        return settings
    return replace(settings, task=task_of(read_rows(settings.data, settings.columns)))


def _run(
    settings: BenchSettings, data: DataSet, context: click.Context, display: Display
) -> tuple[dict[str, Any], Path]:
    """Load the model, run, and return the summary and the folder."""
    from colasearch.benchmarks.harness.runner import Runner, run_to_end
    from colasearch.cli.workers import with_workers
    from colasearch.defaults import actions_for, sampling_said
    from colasearch.storage.runs import RunFolder, check_folder

    if settings.output:
        check_folder(settings.output, resume=settings.resume)
    with with_workers(
        settings.machine(settings.batch_size or SLOTS),
        lambda device, dtype: _load(replace(settings, device=device, dtype=dtype), display),
        most=len(data.items),
        say=display.say,
        on_status=display.pool,
    ) as (lm, pool):
        settings = replace(settings, actions=actions_for(lm, settings.actions, display.say))
        if settings.actions == "sampled" and (said := sampling_said(lm.base, settings.temperature)):
            display.say(said)
        plan = _plan(settings, lm, data, pooled=pool is not None)
        manifest = _manifest(plan, data, lm, pool, settings, context)
        path = settings.output or new_folder(settings.name)
        with ExitStack() as stack:
            folder = stack.enter_context(RunFolder(path, manifest, resume=settings.resume))
            if folder.records:
                display.say(f"going on in {path}: {folder.resumed} records are there")
            if folder.again:
                display.say(f"{len(folder.again)} records of work that was lost with its workers: it is tried again")
            display.start(plan, data, folder.finished)
            listener: Listener = display
            if settings.tensorboard:
                from colasearch.cli.bench_tensorboard import BoardListener

                listener = stack.enter_context(BoardListener(path, display, folder.finished))
            if pool is None:
                runner = Runner(lm, data, plan, folder, listener)
            else:
                from colasearch.cluster.pooled_runner import PooledRunner

                runner = PooledRunner(lm, data, plan, folder, listener, pool)
            with saying_how_to_go_on(context, path):
                summary = run_to_end(runner, lambda s: None, display.report)
    return summary, path


def new_folder(name: str) -> Path:
    """An empty folder for a run without ``--output``, named by benchmark and time; one that nobody else has."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-80:]
    stem = Path("runs") / f"{safe}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    path, number = stem, 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # a run begun in the same second
            number += 1
            path = stem.with_name(f"{stem.name}-{number}")


def _plan(settings: BenchSettings, lm: LatentLM, data: DataSet, *, pooled: bool) -> Plan:
    from colasearch.benchmarks.harness.arms import ArmSettings
    from colasearch.benchmarks.harness.runner import Plan
    from colasearch.engine.forward.capacity import slots_for

    world = settings.world(lm.base, {item.problem.task for item in data.items})
    slots = SLOTS if pooled else slots_for(lm, settings.rows, world.max_tokens, len(data.items))
    return Plan(
        benchmark=settings.name,
        searcher=settings.searcher[0],
        arms=settings.all_arms,
        sims=settings.sims,
        settings=ArmSettings(
            seed=settings.seed,
            actions=settings.actions,
            world=world,
            max_seconds=settings.max_seconds,
            options=settings.options,
        ),
        slots=settings.batch_size or slots,
        traces=settings.traces,
    )


def _load(settings: BenchSettings, display: Display) -> LatentLM:
    import torch

    from colasearch.model.latent_lm import LatentLM

    assert settings.model is not None
    if settings.threads:
        torch.set_num_threads(settings.threads)
    display.say(f"loading {settings.model}")
    alone = settings.workers is None and settings.ray_address is None
    lm = LatentLM.from_pretrained(settings.model, settings.device, settings.dtype, display.say, run_only=alone)
    if settings.actions == "latent":
        lm.require_latents()
    if settings.actions != "sampled" and settings.values == ("q",):
        lm.require_q()
    return lm


def _manifest(
    plan: Plan, data: DataSet, lm: LatentLM, pool: Pool | None, given: BenchSettings, context: click.Context
) -> dict[str, Any]:
    """What the results depend on, and what they do not."""
    from colasearch.model.folders import latents_folder
    from colasearch.rewards import hashes_of
    from colasearch.storage.files import read_sums
    from colasearch.storage.runs import manifest_of
    from colasearch.tasks import hashes_of as task_hashes

    world = {key: value for key, value in asdict(plan.settings.world).items() if key not in RUNTIME_WORLD}
    if world["value_head"]:
        del world["value_head"]  # as in runs from before there was a choice
    if not world["q_values"]:
        del world["q_values"]  # the same
    if not world["values"]:
        del world["values"]  # the same
    if world["backend"] == "own":
        del world["backend"]  # the same
    if world.pop("choosing")["false_equations"]:
        world["check_steps"] = True  # the same
    if not world["complete"]:
        del world["complete"]
    if world["sampling"]["token_top_p"] == 1:
        del world["sampling"]["token_top_p"]
    settings = {
        "benchmark": plan.benchmark,
        "limit": given.limit,
        "skip": given.skip,
        "shuffle_seed": given.shuffle_seed,
        "model": lm.name,
        "searcher": plan.searcher,
        "arms": list(plan.arms),
        "sims": list(plan.sims),
        "seed": plan.settings.seed,
        "actions": plan.settings.actions,
        "max_tokens": world.pop("max_tokens"),
        "max_seconds": plan.settings.max_seconds,
        "leaves_in_flight": plan.settings.leaves_in_flight,
        "options": dict(plan.settings.options),
        "world": world,
        "device": lm.base.device.type if pool is None else pool.layout.device,
        "dtype": str(lm.base.dtype).removeprefix("torch."),
        "traces": plan.traces,
    }
    if given.task or given.prompt or given.columns:
        settings["tasks"] = sorted({item.problem.task for item in data.items})
    folder = latents_folder(given.model or "")
    hashes = {
        "problems": data.selected_sha256,
        "data": data.sha256,
        "base": lm.base.identity.weights_sha256 or lm.base.identity.sha256,
        "latents": None if folder is None else read_sums(folder),
        **({"values": hashes} if (hashes := hashes_of(plan.settings.world.values)) else {}),
        **({"tasks": files} if (files := task_hashes({item.problem.task for item in data.items})) else {}),
    }
    origins = {
        key: str(source.name).lower()
        for key in context.params
        if (source := context.get_parameter_source(key)) is not None and source.name != "DEFAULT"
    }
    runtime: dict[str, Any] = {
        "batch_size": plan.slots,
        "threads": given.threads,
        "origins": origins,
        "data": data.to_json(),
    }
    if pool is not None:
        runtime |= {"workers": pool.layout.workers, "ray_address": given.ray_address}
    return manifest_of("bench", settings, hashes, runtime)


@contextmanager
def warnings_to(display: Display) -> Iterator[None]:
    """Show our own warnings as lines on stderr; others as Python shows them."""
    before = warnings.showwarning

    def show(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> None:
        if issubclass(category, UserWarning):
            display.warn(str(message))
        else:
            before(message, category, filename, *rest, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
        sys.stderr.flush()
