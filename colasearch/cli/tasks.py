"""``--task``, ``--prompt`` and ``--columns``: how problems are asked and judged, in every command that has problems."""

from __future__ import annotations

from typing import Any

import click

from colasearch.cli.options import option

TASK_HELP = (
    "How to ask and how to judge: math, countdown, ..., FILE.py[:NAME] or FILE.yaml (docs/tasks.md) "
    "[default: countdown for numbers and a target, else math]."
)


def named_columns(context: click.Context, parameter: click.Parameter, value: Any) -> dict[str, str] | None:
    """``problem=Q,answer=A`` (or a YAML mapping) as a mapping of our names to the file's.

    Raises:
        InputError: It is no such list.
    """
    from colasearch.tasks import columns_of

    if isinstance(value, dict):
        value = ",".join(f"{ours}={theirs}" for ours, theirs in value.items())
    return None if value is None else columns_of(str(value))


def prompt_style(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A style of prompts that there is.

    Raises:
        InputError: There is none of this name.
    """
    from colasearch.tasks.styles import style_of

    if value is not None:
        style_of(value)
    return value


def columns_option(function: Any) -> Any:
    """``--columns``."""
    return option(
        "--columns",
        metavar="OURS=THEIRS,...",
        callback=named_columns,
        help="Names of columns in the data, as in problem=Q,answer=A.",
    )(function)


def task_options(function: Any) -> Any:
    """``--task --prompt --columns``."""
    function = columns_option(function)
    function = option(
        "--prompt",
        metavar="STYLE",
        callback=prompt_style,
        help="chat, the model's chat template; plain; paper (User: ... Assistant:); think, with <think> and <answer> "
        "tags; few-shot:FILE.jsonl, solved problems first [default: the task's own, chat for most].",
    )(function)
    return option("--task", metavar="TASK", help=TASK_HELP)(function)
