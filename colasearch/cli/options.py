"""Options that several commands share. Each also reads ``COLASEARCH_NAME``: flag > environment > file > default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from colasearch.cli.inputs import load_config


def option(name: str, **settings: Any) -> Callable[[Any], Any]:
    """A click option that also reads an environment variable and shows its default."""
    variable = "COLASEARCH_" + name.partition("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(name, envvar=variable, show_default=True, **settings)


def model_options(function: Any) -> Any:
    """``--model --device --dtype --threads``."""
    for decorator in (
        option("--threads", type=click.IntRange(min=1), help="CPU threads [default: torch's choice]."),
        option("--dtype", default="auto", help="auto, packed, float32, bfloat16 or float16."),
        option("--device", default="auto", help="auto, cpu, cuda or cuda:N."),
        option("--model", default="smollm2-135m", help="Known name, folder or hub name."),
    ):
        function = decorator(function)
    return function


def engine_options(function: Any) -> Any:
    """``--compile --engine --kv-memory``."""
    for decorator in (
        option(
            "--kv-memory", type=click.FloatRange(min=0, min_open=True), default=4.0, help="GiB kept for tree nodes."
        ),
        option(
            "--engine",
            type=click.Choice(["auto", "tree", "whole"]),
            default="auto",
            help="tree keeps keys and values; whole encodes whole texts at each step: slow, but serves any model.",
        ),
        option("--compile/--no-compile", default=False, help="Run the base through torch.compile (slower on a CPU)."),
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
