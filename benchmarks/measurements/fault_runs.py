"""What the fault campaigns share: problems, a small random model, and the comparison with an undisturbed run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import click

from colasearch.benchmarks.measurements.random_model import random_model
from colasearch.benchmarks.measurements.toy_units import ToyRecipe
from colasearch.cluster import Pool
from colasearch.cluster.recipes import Recipe, SearchRecipe
from colasearch.engine.scheduler import Searched
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import ColasearchError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem

RETRIES = 10
"""Losses that a problem of a disturbed run may suffer: more than the usual 3, since each suffers many here."""


def small_model() -> LatentLM:
    """Five million random parameters: a worker's start costs little."""
    return random_model("random-5m", "cpu", "float32")


def settings(sims: int, tokens: int) -> SearchSettings:
    """Searches whose texts have up to ``tokens`` tokens; with few, a problem takes a fraction of a second."""
    return SearchSettings(sims=sims, world=WorldConfig(max_tokens=tokens))


def campaign_options(problems: int, kills: int | None = None) -> Callable[[Any], Any]:
    """The options that all campaigns have; with ``kills`` also how often something is killed."""
    options = [
        click.option("--problems", "count", default=problems, show_default=True),
        click.option("--slots", default=4, show_default=True, help="Problems that a worker has in hand."),
        click.option("--sims", default=32, show_default=True, help="More simulations make longer problems."),
        click.option("--tokens", default=24, show_default=True, help="Longest text."),
        click.option("--toy-seconds", type=float, help="Search a toy world instead, so long a problem (asleep)."),
        click.option("--seed", default=0, show_default=True, help="Of the moments at which something is killed."),
    ]
    if kills is not None:
        options.insert(0, click.option("--kills", default=kills, show_default=True))

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def problems(count: int) -> list[Problem]:
    """``count`` different problems."""
    return [Problem.from_text(f"What is {i} + {i % 7}?") for i in range(count)]


def subject(
    count: int, sims: int, tokens: int, toy_seconds: float | None
) -> tuple[LatentLM | None, Recipe, Sequence[Any]]:
    """Model, recipe and items of a campaign; no model, so that workers start soon, with ``toy_seconds``."""
    if toy_seconds is not None:
        return None, ToyRecipe(sims, toy_seconds), range(count)
    return small_model(), SearchRecipe(settings(sims, tokens)), problems(count)


@dataclass(slots=True)
class Run:
    """What came out of a pool.

    Attributes:
        digests: Item to the hashes of what came out for it; one each, if nothing is lost or duplicated.
        errors: Items that ended in an error.
        seconds: From the first item's submission to the last result.
    """

    digests: dict[str, list[str]] = field(default_factory=dict)
    errors: int = 0
    seconds: float = 0.0

    def take(self, item: Any, value: Any, error: ColasearchError | None) -> None:
        """Add a result: of a search answer, tree and cost count, time does not."""
        content = value
        if isinstance(value, Searched):
            error, content = value.error, value.trace
        self.errors += error is not None
        text = repr(content) if error is None else type(error).__name__
        self.digests.setdefault(str(item), []).append(hashlib.sha256(text.encode()).hexdigest())

    @property
    def count(self) -> int:
        """Results so far."""
        return sum(map(len, self.digests.values()))


def work(pool: Pool, recipe: Recipe, items: Iterable[Any], on_result: Callable[[int], None] | None = None) -> Run:
    """Let a pool work on ``items``; ``on_result`` is told how many results there are."""
    run = Run()
    begun = time.monotonic()
    for item, value, error in pool.run(recipe, items):
        run.take(getattr(item, "id", item), value, error)
        if on_result is not None:
            on_result(run.count)
    run.seconds = time.monotonic() - begun
    return run


def compare(clean: Run, disturbed: Run) -> dict[str, Any]:
    """What the faults did to the results, and the time they cost."""
    same = {key for key, value in clean.digests.items() if disturbed.digests.get(key) == value}
    return {
        "problems": len(clean.digests),
        "lost": len(clean.digests.keys() - disturbed.digests.keys()),
        "duplicated": disturbed.count - len(disturbed.digests),
        "different": len(clean.digests) - len(same),
        "errors": disturbed.errors,
        "clean_seconds": round(clean.seconds, 1),
        "disturbed_seconds": round(disturbed.seconds, 1),
        "overhead": round(disturbed.seconds / clean.seconds, 2),
    }


def tell(report: dict[str, Any], hits: int, wanted: int) -> NoReturn:
    """Print what came of a campaign as JSON, and exit: 1 if anything was lost or changed, or a kill hit nobody."""
    click.echo(json.dumps(report))
    raise SystemExit(bool(report["lost"] or report["duplicated"] or report["different"] or hits != wanted))
