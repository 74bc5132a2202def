"""Options that ``colasearch train`` commands share; the fields of ``settings.py`` have their names and defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from colasearch.cli.environments import server_options
from colasearch.cli.options import LOGS
from colasearch.cli.tasks import task_options

Decorator = Callable[[Any], Any]
PathType = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


def together(*decorators: Decorator) -> Decorator:
    """Several decorators as one; their options show in this order."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


base_options = together(
    click.option("--device", default="auto", show_default=True),
    click.option("--dtype", default="auto", show_default=True, help="Element type of the base's weights."),
    click.option("--threads", type=COUNT, default=None, help="CPU threads (default: torch's own choice)."),
)


states_option = click.option(
    "--hidden",
    "keep",
    type=click.Choice(["auto", "cache", "fresh"]),
    default="auto",
    show_default=True,
    help="Hidden states of the base: kept on disk, or computed for each batch; auto looks at the free disk.",
)


def data_options(*, required: bool = True) -> Decorator:
    """Options of a run over texts."""
    return together(
        click.option(
            "--data",
            multiple=True,
            required=required,
            type=PathType,
            help="jsonl or parquet: problem, solution; or text. hf:OWNER/NAME:SPLIT streams.",
        ),
        click.option(
            "--max-tokens",
            type=COUNT,
            default=512,
            show_default=True,
            help="Cut longer texts off here, and where the base's context ends.",
        ),
        click.option(
            "--most-tokens",
            type=COUNT,
            default=None,
            help="Use about so many tokens of the texts, chosen by their hash; of a store its first texts.",
        ),
        click.option("--end-id", type=int, default=None, help="Token that ends a text [default: the base's own]."),
        click.option(
            "--heldout",
            type=click.FloatRange(0, 1),
            default=0.03,
            show_default=True,
            help="Share of texts never trained on.",
        ),
        base_options,
    )


def loop_options(*, lr: float, warmup_steps: int = 50, save_every: int = 100, evaluate_every: int = 500) -> Decorator:
    """Options of every run, with the defaults of this one."""
    return together(
        click.option("--output", required=True, type=PathType, help="Run folder to create."),
        click.option("--resume", is_flag=True, help="Go on with the run in --output."),
        click.option("--lr", default=lr, show_default=True, help="Learning rate after warm-up; a cosine to a tenth."),
        click.option("--warmup-steps", default=warmup_steps, show_default=True),
        click.option(
            "--save-every", type=COUNT, default=save_every, show_default=True, help="Steps between checkpoints."
        ),
        click.option(
            "--evaluate-every",
            type=COUNT,
            default=evaluate_every,
            show_default=True,
            help="Steps between held-out measures.",
        ),
        click.option("--seed", default=0, show_default=True),
        click.option(
            "--log",
            multiple=True,
            envvar="COLASEARCH_LOG",
            type=click.Choice(LOGS),
            help="Where metrics go beside metrics.jsonl, which is always written; may be repeated.",
        ),
        click.option("--tensorboard", is_flag=True, help="Short for --log tensorboard."),
    )


mixture_option = click.option(
    "--mixture-positions",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    help="Held-out states for mixture_kl; each costs as many output-head passes as there are codes. 0: none.",
)


def batch_options(*, epochs: int = 2, batch_tokens: int = 8192, micro_tokens: int = 4096) -> Decorator:
    """Options of a run over texts."""
    return together(
        click.option("--epochs", type=COUNT, default=epochs, show_default=True),
        click.option(
            "--batch-tokens", type=COUNT, default=batch_tokens, show_default=True, help="Padded tokens in one update."
        ),
        click.option(
            "--micro-tokens",
            type=COUNT,
            default=micro_tokens,
            show_default=True,
            help="Padded tokens in one pass (memory).",
        ),
    )


problem_options = together(
    click.option(
        "--data",
        multiple=True,
        required=True,
        type=PathType,
        help="jsonl, JSON array or CSV: problem and answer. Or env:NAME[:TASK], env:FILE.py:Class: episodes of the "
        "train variations of an environment, whose score is the reward (docs/environments.md).",
    ),
    task_options,
    click.option(
        "--heldout",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.1,
        show_default=True,
        help="Share of problems never trained on; of an environment so many dev variations.",
    ),
    click.option(
        "--max-new-tokens",
        type=COUNT,
        default=None,
        help="Longest rollout [default: by model and task, as in solve]; of an environment longest action [24].",
    ),
    click.option(
        "--max-steps", type=COUNT, default=None, help="Longest episode, in actions [default: the environment's]."
    ),
    server_options,
    click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True),
    click.option("--top-k", type=click.IntRange(min=0), default=0, show_default=True, help="0: no truncation."),
    click.option(
        "--reward",
        multiple=True,
        metavar="SPEC",
        help="Reward in place of the task's verifier, such as FILE.py:FUNCTION, http://..., rm:NAME (docs/rewards.md); "
        "several are averaged by their weights (SPEC*WEIGHT), each is logged.",
    ),
    click.option("--format-weight", default=0.0, show_default=True, help="Part of the reward that is for form."),
    click.option("--rows", type=COUNT, default=64, show_default=True, help="Most rollouts in one batch."),
)


def level_option(text: str) -> Decorator:
    """``--on codes|tokens``, with its help."""
    return click.option(
        "--on",
        "level",
        type=click.Choice(["codes", "tokens"]),
        default="codes",
        show_default=True,
        help=text,
    )


policy_option = click.option(
    "--model", required=True, help="Model folder with a trained policy (or any base, with --on tokens)."
)


def parse_layers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """``-2,-1`` as numbers."""
    try:
        return tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of layer numbers; write for example 28,29 or -2,-1") from None


tuning_options = together(
    click.option(
        "--tune",
        type=click.Choice(["lora", "layers", "full"]),
        default="lora",
        show_default=True,
        help="Low-rank changes (needs pip install '.[lora]'), chosen layers, or the whole base.",
    ),
    click.option("--layers", default="", callback=parse_layers, help="Layers for --tune layers, as -2,-1."),
    click.option("--rank", type=COUNT, default=16, show_default=True, help="Rank for --tune lora."),
)
