"""``colasearch train pairs``: preference pairs out of scored texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.common import COUNT, PathType


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
def command(
    rollouts: tuple[Path, ...],
    model: str,
    data: tuple[Path, ...],
    task: str,
    most: int,
    per_problem: int,
    least_gap: float,
    seed: int,
    output: Path,
) -> None:
    """Pair texts of one problem by their rewards, for `train reward`."""
    from colasearch.storage.files import write_atomic
    from colasearch.training.preference.making import make_pairs, scored_texts
    from colasearch.training.problems import load_problems
    from colasearch.training.rollout import read_rollouts

    problems = load_problems(data, task, gold=False)
    found = [row for path in rollouts for row in read_rollouts(path)]
    texts = scored_texts(found, _tokenizer(model))
    wordings = {one.problem.id: one.problem.text for one in problems}
    if unknown := set(texts) - set(wordings):
        raise click.UsageError(
            f"problem {min(unknown)} of the rollouts is not in --data; give the problems that were rolled out"
        )
    rows = make_pairs(texts, wordings, most, per_problem, least_gap, seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    gap = sum(row["gap"] for row in rows) / len(rows)
    report = {"pairs": len(rows), "problems": len({row["problem"] for row in rows}), "mean_gap": gap}
    click.echo(json.dumps({"schema": 1, "kind": "pairs", **report}))


def _tokenizer(model: str) -> Any:
    from colasearch.cli.train.common import Where, load

    return load(model, Where("cpu", "auto", None), to_train=False).base.tokenizer
