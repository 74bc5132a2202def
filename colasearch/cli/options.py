"""Options that several commands share. Each also reads ``COLASEARCH_NAME``: flag > environment > file > default."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from colasearch.cli.inputs import load_config


def option(name: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option that also reads an environment variable and shows its default."""
    variable = "COLASEARCH_" + name.partition("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_default=True, **settings)


LOGS = ("jsonl", "tensorboard", "wandb")


def stage_log_option(function: Any) -> Any:
    """``--log`` of commands that train in stages, which take it from the environment."""

    def leave(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        if value:
            os.environ["COLASEARCH_LOG"] = " ".join(value)

    return option(
        "--log",
        multiple=True,
        type=click.Choice(LOGS),
        expose_value=False,
        callback=leave,
        help="Where the metrics of trainings go beside each stage's metrics.jsonl; may be repeated.",
    )(function)


def model_options(function: Any) -> Any:
    """``--model --device --dtype --threads``."""
    for decorator in (
        option("--threads", type=click.IntRange(min=1), help="CPU threads [default: torch's choice]."),
        option("--dtype", default="auto", help="auto, packed, float32, bfloat16 or float16."),
        option("--device", default="auto", help="auto, cpu, cuda, cuda:N, or spread: over all GPUs."),
        option(
            "--model",
            help="Known name, folder or hub name [default: the shipped model made for the task, as countdown-tiny is "
            "for Countdown and house-tiny for env:house, else qwen2.5-coder-0.5b].",
        ),
    ):
        function = decorator(function)
    return function


def chosen_model(named: str | None, task: str, say: Callable[[str], None]) -> str:
    """The model that the user named, else the shipped one for ``task`` (or ``env:NAME``); says which one it took."""
    from colasearch.model.known import DEFAULT_MODEL, model_for
    from colasearch.tasks import get_task

    if named:
        return named
    task = task if task.startswith("env:") else get_task(task).name
    name = model_for(task)
    why = "the default" if name == DEFAULT_MODEL else f"made for {task}"
    say(f"model {name}, {why}; --model takes another")
    return name


def actions_option(function: Any) -> Any:
    """``--actions``: what a search chooses among."""
    return option(
        "--actions",
        type=click.Choice(["auto", "latent", "sampled"]),
        default="auto",
        help="latent: codes; sampled: tokens drawn from the base; auto: codes where the model has them.",
    )(function)


def key_values(context: click.Context, parameter: click.Parameter, value: Any) -> dict[str, Any]:
    """``("a=1", "b=x")`` (or a YAML mapping) as ``{"a": 1, "b": "x"}``: numbers, true and false are read as such."""
    if isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for part in value or ():
        key, equals, text = str(part).partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{part!r} is no NAME=VALUE; write e.g. gumbel_scale=0")
        try:
            found[key.strip().replace("-", "_")] = json.loads(text)
        except ValueError:
            found[key.strip().replace("-", "_")] = text
    return found


def value_specs(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """Specs of values, checked and with absolute paths; ``head`` or ``rollouts`` stand alone.

    Raises:
        InputError: One cannot be read.
    """
    from colasearch.rewards import external, settled

    specs = (value,) if isinstance(value, str) else tuple(map(str, value))
    return settled(specs) if external(specs) else specs


def search_options(function: Any) -> Any:
    """``--option --branch-below --max-step-tokens --values --check-steps --complete``: what the search does."""
    for decorator in (
        option(
            "--complete/--no-complete",
            default=True,
            help="Where the simulations end before any text does, write the most promising one to its end.",
        ),
        option(
            "--check-steps/--no-check-steps",
            default=True,
            help="Give up texts that state a false equation, such as 3 + 4 = 8, and count their answers for nothing; "
            "count texts for less that never mention a number of the problem.",
        ),
        option(
            "--values",
            multiple=True,
            default=("head",),
            metavar="SPEC",
            callback=value_specs,
            help="What judges leaves: head, the value head, where the model has one; q, its Q head; rollouts, which "
            "cost more tokens; or a reward such as FILE.py:FUNCTION, http://..., rm:NAME or prm:NAME "
            "(docs/rewards.md). Several rewards are averaged by their weights (SPEC*WEIGHT).",
        ),
        option("--max-step-tokens", type=click.IntRange(min=1), default=24, help="Longest step of a tree."),
        option(
            "--branch-below",
            type=click.FloatRange(min=0, max=1),
            help="Steps end where the most probable next token has less than this probability "
            "[default: the task's own; 0: at sentences and lines].",
        ),
        searcher_option,
    ):
        function = decorator(function)
    return function


def searcher_option(function: Any) -> Any:
    """``--option``."""
    return click.option(
        "--option",
        "options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=key_values,
        help="An option of the searcher, e.g. gumbel_scale=0 or pb_c_init=2; may be repeated.",
    )(function)


def engine_options(function: Any) -> Any:
    """``--rows --engine --kv-memory``."""
    for decorator in (
        option(
            "--kv-memory", type=click.FloatRange(min=0, min_open=True), default=4.0, help="GiB kept for tree nodes."
        ),
        option(
            "--rows",
            type=click.IntRange(min=1),
            help="Most texts decoded in one batch [default: 64; on a GPU 64 to 512, by its memory].",
        ),
        option(
            "--engine",
            type=click.Choice(["auto", "tree", "paged", "whole"]),
            default="auto",
            help="tree keeps keys and values; paged too, in one pool of pages; whole encodes whole texts at each step: "
            "slow, but serves any model.",
        ),
    ):
        function = decorator(function)
    return function


def backend_option(function: Any) -> Any:
    """``--backend``: who writes whole texts."""
    return option(
        "--backend",
        type=click.Choice(["own", "vllm"]),
        default="own",
        help="vllm: with --actions sampled, whole texts (greedy, majority, best_of_n) are written by vLLM.",
    )(function)


def compile_option(function: Any) -> Any:
    """``--compile``."""
    decorated: Any = option(
        "--compile/--no-compile", default=False, help="Run the base through torch.compile (slower on a CPU)."
    )(function)
    return decorated


def worker_options(function: Any) -> Any:
    """``--workers --ray-address``."""
    for decorator in (
        option("--ray-address", help="Run on a Ray cluster: auto, or HOST:PORT [default: no Ray]."),
        option(
            "--workers",
            type=click.IntRange(min=1),
            help="Search processes, run by Ray [default: none; with --ray-address one a GPU, or a core].",
        ),
    ):
        function = decorator(function)
    return function


def config_option(function: Any) -> Any:
    """``--config FILE``: options from YAML."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=load_config,
        envvar="COLASEARCH_CONFIG",
        help="YAML file with options (`sims: 64`); flags and environment come first.",
    )(function)
