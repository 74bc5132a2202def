"""``colasearch iterate --data env:NAME``: what is asked of environment and model before the first stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.train.environments import OF_PROBLEMS as REFUSED
from colasearch.cli.train.environments import environment_of
from colasearch.experiments.recipes.iterations import Numbers

if TYPE_CHECKING:
    from colasearch.cli.iterate import IterateSettings
    from colasearch.experiments.recipes.episode_iterations import EpisodeIterations

OF_PROBLEMS = ("heldout_data", *(name for name in vars(Numbers)["__annotations__"] if name not in REFUSED))
"""Fields that mean nothing for an environment, beside those that all training refuses."""
OF_ENVIRONMENTS = ("width",)


def told_environment(settings: IterateSettings) -> str | None:
    """The environment that ``--data`` names, without its prefix; None where it names files.

    Raises:
        UsageError: There is something else beside it, or a flag that is for problems or for environments alone.
    """
    ref = environment_of(settings)
    wrong, right = (OF_ENVIRONMENTS, "environments (--data env:NAME)") if ref is None else (OF_PROBLEMS, "problems")
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for name in wrong:
        if getattr(settings, name) != defaults[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} is for {right}; leave it out here")
    return ref


def run_on(settings: IterateSettings, ref: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the iterations on an environment; the summary.

    Raises:
        InputError: The environment does not say which variations it has, has none of a split, or has some in both; or
            the model cannot clone.
    """
    from colasearch.errors import InputError
    from colasearch.experiments.iterate_run import run_episode_iterations

    if not settings.has("idm_layers"):
        raise InputError(
            f"{settings.model} has no inverse dynamics model, which tells the codes of the episodes that the policy "
            "clones (idm_layers is 0 in its config.json); give a model as `train policy` or `train actions` wrote it"
        )
    how, hashes = _planned(settings, ref)
    say(f"{how.train} variations to train on; {how.checked} dev variations to measure on")
    return run_episode_iterations(how, hashes, settings.output, resume=settings.resume, say=say)


def _planned(settings: IterateSettings, ref: str) -> tuple[EpisodeIterations, dict[str, str]]:
    """Every number of the run, and the hashes of what its results depend on."""
    from colasearch.benchmarks.episodes.runner import EpisodeData
    from colasearch.environments import catalogue_of, find, settled
    from colasearch.errors import InputError
    from colasearch.experiments.recipes.episode_iterations import EpisodeIterations, EpisodeNumbers
    from colasearch.userfile import file_sha256

    ref = settled(ref)
    kind, task = find(ref, servers=settings.servers, timeout=settings.server_timeout)
    with closing(kind):
        catalogue = catalogue_of(kind)
        if not catalogue.told:
            raise InputError(
                f"{kind.name} does not say which variations it has; give it variations(task, split), with other "
                "numbers for dev than for train: iterate measures on what it has not trained on"
            )
        train, dev = (catalogue.starts(task, split) for split in ("train", "dev"))
    known = {*train}
    if both := [start.id for start in dev if start in known]:
        raise InputError(
            f"{kind.name} has {len(both)} episodes both in train and in dev, such as {both[0]}; give each split "
            "variations of its own"
        )
    checked = dev[: max(1, round(settings.heldout * len(train)))]
    how = EpisodeIterations(
        **settings.numbers(EpisodeNumbers),
        environment=ref,
        train=len(train),
        checked=len(checked),
        has_value=settings.has("value_hidden"),
    )
    hashes = {name: EpisodeData(items, 0, name).sha256 for name, items in (("train", train), ("dev", checked))}
    return how, hashes if kind.file is None else {**hashes, "environment": file_sha256(kind.file)}
