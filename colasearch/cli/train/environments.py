"""An environment in place of problems: ``--data env:NAME[:TASK]`` of `train rl` and `train rollouts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from colasearch.cli.train.settings import Problems
    from colasearch.environments import Catalogue, Start

PREFIX = "env:"
OF_PROBLEMS = {
    "task": "--task",
    "prompt": "--prompt",
    "columns": "--columns",
    "reward": "--reward",
    "format_weight": "--format-weight",
}
"""Fields that say how problems are asked and paid: an environment does both by itself."""


@dataclass(frozen=True)
class Starts:
    """The episodes that may be played.

    Attributes:
        catalogue: The environment.
        items: Those to train on, then those held out.
    """

    catalogue: Catalogue
    items: Sequence[Start]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Start]:
        return iter(self.items)


class Given(Protocol):
    """The fields that say whether there is an environment."""

    @property
    def data(self) -> Sequence[Path]:
        """``--data``."""

    @property
    def max_steps(self) -> int | None:
        """``--max-steps``."""


def environment_of(settings: Given) -> str | None:
    """The environment that ``--data`` names, without its prefix; None where it names files.

    Raises:
        UsageError: There is something else beside it, or a flag that is for problems or for environments alone.
    """
    named = [str(path) for path in settings.data if str(path).startswith(PREFIX)]
    if not named:
        if settings.max_steps is not None:
            raise click.UsageError("--max-steps is for environments (--data env:NAME); leave it out here")
        return None
    if len(settings.data) > 1:
        raise click.UsageError(f"--data {named[0]} is an environment; give it alone")
    for field, flag in OF_PROBLEMS.items():
        if getattr(settings, field):
            raise click.UsageError(
                f"{flag} is for problems; an environment asks by its observations and pays by its rewards: leave it out"
            )
    return named[0].removeprefix(PREFIX)


def starts_of(
    settings: Problems, ref: str, *, limit: int | None = None, skip: int = 0, shuffle_seed: int | None = None
) -> tuple[Starts, list[int], list[int]]:
    """The episodes, and the indices of those to train on and of those held out.

    To train on are all of the train split, in their own order; or those of them that ``limit``, ``skip`` and
    ``shuffle_seed`` leave, as in ``bench env:``. Held out are the first of the dev split, as many as
    ``--heldout`` says of the others; none of an environment that does not say which variations it has.
    """
    from colasearch.environments import catalogue_of, find

    kind, task = find(ref, servers=settings.servers, timeout=settings.server_timeout)
    click.get_current_context().call_on_close(kind.close)
    catalogue = catalogue_of(kind)
    train = catalogue.starts(task, "train", limit=limit, skip=skip, shuffle_seed=shuffle_seed)
    held: list[Start] = []
    if settings.heldout and catalogue.told:
        held = catalogue.starts(task, "dev", limit=max(1, round(settings.heldout * len(train))))
    count = len(train)
    click.echo(f"{count} variations to train on, {len(held)} held out", err=True)
    return Starts(catalogue, [*train, *held]), list(range(count)), list(range(count, count + len(held)))


def roller_of(settings: Problems, lm: Any, starts: Starts, seed: int, **changes: Any) -> Any:
    """What plays them."""
    from colasearch.training.reinforcement.episodes import EpisodeRoller
    from colasearch.training.reinforcement.rollout import RolloutConfig

    assert settings.max_new_tokens is not None
    config = RolloutConfig(
        max_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        rows=settings.rows,
        seed=seed,
        **changes,
    )
    return EpisodeRoller(lm, starts.catalogue, list(starts), config, settings.max_steps)


def described(settings: Problems, ref: str) -> dict[str, Any]:
    """The part that a run's results depend on; the roller adds what the environment says of itself."""
    same = ("heldout", "max_new_tokens", "temperature", "top_k")
    return {"environment": ref, **{name: getattr(settings, name) for name in same}}
