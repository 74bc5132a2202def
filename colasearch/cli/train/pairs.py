"""``colasearch train pairs``: preference pairs out of scored texts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.options import COUNT, PathType


@dataclass(frozen=True, kw_only=True)
class PairsSettings:
    """``colasearch train pairs``: fields are named as the flags are."""

    rollouts: tuple[Path, ...]
    model: str
    data: tuple[Path, ...]
    output: Path
    task: str = "math"
    most: int = 10_000
    per_problem: int = 1
    least_gap: float = 0.0
    seed: int = 0


@click.command("pairs")
@click.option("--rollouts", multiple=True, required=True, type=PathType, help="Logs of `train rollouts --reward SPEC`.")
@click.option("--model", required=True, help="The model that wrote them: its tokenizer reads them.")
@click.option("--data", multiple=True, required=True, type=PathType, help="The problems, as given to `train rollouts`.")
@click.option("--task", default="math", show_default=True, help="As given to `train rollouts`.")
@click.option("--most", type=COUNT, default=10_000, show_default=True, help="Pairs at most.")
@click.option("--per-problem", type=COUNT, default=1, show_default=True, help="Pairs of one problem at most.")
@click.option(
    "--least-gap", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Rewards must differ by more."
)
@click.option("--seed", default=0, show_default=True, help="Fixes which texts are paired.")
@click.option("--output", required=True, type=PathType, help="jsonl file of problem, chosen, rejected, gap.")
def command(**given: Any) -> None:
    """Pair texts of one problem by their rewards, for `train reward`."""
    run(PairsSettings(**given))


def run(settings: PairsSettings) -> None:
    """Make the pairs as ``settings`` say."""
    from colasearch.storage.files import write_atomic
    from colasearch.training.data.problems import load_problems
    from colasearch.training.preference.making import make_pairs, scored_texts
    from colasearch.training.reinforcement.rollout import read_rollouts

    problems = load_problems(settings.data, settings.task, gold=False)
    found = [row for path in settings.rollouts for row in read_rollouts(path)]
    texts = scored_texts(found, _tokenizer(settings.model))
    wordings = {one.problem.id: one.problem.text for one in problems}
    if unknown := set(texts) - set(wordings):
        raise click.UsageError(
            f"problem {min(unknown)} of the rollouts is not in --data; give the problems that were rolled out"
        )
    how = (settings.most, settings.per_problem, settings.least_gap, settings.seed)
    rows = make_pairs(texts, wordings, *how)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(settings.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    gap = sum(row["gap"] for row in rows) / len(rows)
    report = {"pairs": len(rows), "problems": len({row["problem"] for row in rows}), "mean_gap": gap}
    click.echo(json.dumps({"schema": 1, "kind": "pairs", **report}))


def _tokenizer(model: str) -> Any:
    from colasearch.cli.train.loading import load
    from colasearch.cli.train.settings import Where

    return load(model, Where(device="cpu"), to_train=False).base.tokenizer
