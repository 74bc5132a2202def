"""Two runs of one benchmark judged text against text: win rates, ties, and whether the judge goes by position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from colasearch.benchmarks.harness.comparison import Run, check_comparable
from colasearch.benchmarks.harness.intervals import paired_bootstrap, wilson
from colasearch.problem import LabelledProblem, Problem

if TYPE_CHECKING:
    from colasearch.verifiers.rewards.pairwise import Choice, Chooser


def contest(first: Run, second: Run, arms: Sequence[tuple[str, str]], chooser: Chooser, sims: int | None = None) -> Any:
    """What ``compare --judge SPEC --json`` adds under ``judge``.

    Args:
        first: Run A.
        second: Run B.
        arms: Arm of the first and of the second, for each row.
        chooser: Says which of two selected texts is better.
        sims: As for ``comparison.compare``.

    Returns:
        ``{"spec", "rows": [{"first_arm", "second_arm", ... of tally, "characters": [mean of A's texts, of B's]}]}``.

    Raises:
        InputError: The runs cannot be compared.
        PrerequisiteError: The judge is not there.
    """
    check_comparable(first, second)
    rows = []
    for mine, theirs in arms:
        a, b = ({r["problem_id"]: r for r in run.arm(arm, sims) if r["status"] == "ok"}
                for run, arm in ((first, mine), (second, theirs)))  # fmt: skip
        common = [name for name in a if name in b]
        texts_a, texts_b = ([str(side[name]["text"]) for name in common] for side in (a, b))
        choices = chooser.choose([_item(a[name]) for name in common], texts_a, texts_b)
        found = tally(choices, int(first.settings["seed"]))
        lengths = [round(math.fsum(map(len, texts)) / max(1, len(texts)), 1) for texts in (texts_a, texts_b)]
        rows.append({"first_arm": mine, "second_arm": theirs, **found, "characters": lengths})
    return {"spec": chooser.name, "rows": rows}


def _item(record: dict[str, Any]) -> LabelledProblem:
    problem = Problem(id=str(record["problem_id"]), text=str(record.get("problem") or ""))
    return LabelledProblem(problem, str(record.get("gold") or ""))


def tally(choices: Sequence[Choice], seed: int) -> dict[str, Any]:
    """Win rate of the first texts.

    Returns:
        ``{"n", "wins", "losses", "ties", "unjudged", "why", "win_rate", "ci95", "p_value", "separate", "position"}``.
        A tie counts half. ``ci95`` is the percentile interval of a bootstrap over problems, ``p_value`` that of the
        exact sign test on wins and losses; ``separate``: as for accuracies (``intervals.Paired``). ``unjudged`` pairs
        count nowhere; ``why`` is the first one's reason. ``position``: None without a judge.
    """
    known = [choice for choice in choices if choice.share is not None]
    wins = [choice.share == 1 for choice in known]
    losses = [choice.share == 0 for choice in known]
    paired = paired_bootstrap(wins, losses, seed)
    return {
        "n": len(known),
        "wins": sum(wins),
        "losses": sum(losses),
        "ties": len(known) - sum(wins) - sum(losses),
        "unjudged": len(choices) - len(known),
        "why": next((choice.reason for choice in choices if choice.share is None), ""),
        "win_rate": round(0.5 + paired.difference / 2, 6),
        "ci95": [round(0.5 + paired.low / 2, 6), round(0.5 + paired.high / 2, 6)],
        "p_value": paired.p_value,
        "separate": paired.separate,
        "position": _position(known),
    }


def _position(choices: Sequence[Choice]) -> dict[str, Any] | None:
    """How often a judge preferred what it saw first, over both orders: 0.5 without bias.

    ``changed`` counts the pairs of which the two orders name different winners, or a winner and a tie; ``ci95`` is
    Wilson's interval of the share over pairs that were won by position in both orders.
    """
    asked = [choice.shown_first for choice in choices if choice.shown_first]
    if not asked:
        return None
    by_first = sum(shown == (1.0, 1.0) for shown in asked)
    by_second = sum(shown == (0.0, 0.0) for shown in asked)
    low, high = wilson(by_first, by_first + by_second)
    return {
        "pairs": len(asked),
        "changed": sum(shown[0] != 1 - shown[1] for shown in asked),
        "shown_first": round(math.fsum(map(math.fsum, asked)) / (2 * len(asked)), 6),
        "won_by_place": [by_first, by_second],
        "first_of_those_ci95": [round(low, 6), round(high, 6)],
        "biased": low > 0.5 or high < 0.5,
    }
