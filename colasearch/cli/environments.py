"""What the commands on environments share: options, the model, the settings of its world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import click

from colasearch.cli.options import actions_option, chosen_model, option

if TYPE_CHECKING:
    from colasearch.engine.settings import WorldConfig
    from colasearch.model.latent_lm import LatentLM


class ModelSettings(Protocol):
    """The fields that a model is loaded and run by."""

    @property
    def model(self) -> Any:
        """``--model``."""

    @property
    def device(self) -> Any:
        """``--device``."""

    @property
    def dtype(self) -> Any:
        """``--dtype``."""

    @property
    def threads(self) -> Any:
        """``--threads``."""

    @property
    def actions(self) -> Any:
        """``--actions``."""

    @property
    def max_tokens(self) -> Any:
        """``--max-tokens``."""

    @property
    def temperature(self) -> Any:
        """``--temperature``."""

    @property
    def values(self) -> Any:
        """``--values``."""

    @property
    def rows(self) -> Any:
        """``--rows``."""

    @property
    def engine(self) -> Any:
        """``--engine``."""

    @property
    def kv_memory(self) -> Any:
        """``--kv-memory``."""


def server_options(function: Any) -> Any:
    """``--servers --server-timeout``."""
    for decorator in (
        option(
            "--server-timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=60.0,
            help="Seconds after which a server (scienceworld) that does not answer is replaced.",
        ),
        option(
            "--servers",
            type=click.IntRange(min=1),
            default=1,
            help="Processes that scienceworld runs in, and so its episodes at a time.",
        ),
    ):
        function = decorator(function)
    return function


def environment_options(function: Any) -> Any:
    """``--split --servers --server-timeout``."""
    split = option(
        "--split",
        type=click.Choice(["train", "dev", "test"]),
        default="dev",
        help="Which of the environment's variations.",
    )
    return split(server_options(function))


def play_options(function: Any) -> Any:
    """``--max-steps --max-tokens --width --valid-actions --seed --actions --temperature --values``."""
    for decorator in (
        option(
            "--values",
            type=click.Choice(["head", "none"]),
            default="head",
            help="What a search expects of states: the value head's word, where the model has one; or nothing.",
        ),
        option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Of codes (or tokens)."),
        actions_option,
        option("--seed", type=int, default=0, help="Same seed, same results."),
        option(
            "--valid-actions/--no-valid-actions",
            default=True,
            help="Choose among the actions that the environment says can be done, where it does; or write freely.",
        ),
        option(
            "--width", type=click.IntRange(min=1), default=8, help="Actions looked at in a state; votes of majority."
        ),
        option("--max-tokens", type=click.IntRange(min=1), default=24, help="Longest action, in tokens."),
        option(
            "--max-steps", type=click.IntRange(min=1), help="Longest episode, in actions [default: the environment's]."
        ),
    ):
        function = decorator(function)
    return function


def load_model(settings: ModelSettings, environment: str, say: Callable[[str], None]) -> LatentLM:
    """The model that the settings name, ready to run; without a name that for ``environment``, a kind's name.

    Raises:
        PrerequisiteError: It cannot be found, or has no latent modules and --actions is latent.
    """
    import torch

    from colasearch.model.latent_lm import LatentLM

    name = chosen_model(settings.model, f"env:{environment}", say)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    say(f"loading {name}")
    lm = LatentLM.from_pretrained(name, settings.device, settings.dtype, say, run_only=True)
    if settings.actions == "latent":
        lm.require_latents()
    return lm


def world_of(settings: ModelSettings, lm: LatentLM) -> WorldConfig:
    """Limits and sampling of actions."""
    from colasearch.defaults import sampling_for
    from colasearch.engine.settings import WorldConfig

    return WorldConfig(
        max_tokens=settings.max_tokens,
        value_head=settings.values == "head",
        sampling=sampling_for(lm.base, settings.temperature),
        rows=settings.rows,
        kv_bytes=int(settings.kv_memory * 2**30),
        engine=settings.engine,
    )
