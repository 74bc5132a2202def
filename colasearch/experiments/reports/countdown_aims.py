"""The experiment's aims, which are effects that CoLA's paper reports, beside what was measured.

An aim is met, or not, by the measured number alone; ``detail`` has its interval, which says how far to trust that.
``met`` is None where nothing was measured (a ratio to a model that solves nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

RL_RATIO = 1.11
SEARCH_RATIO = 1.61
SEARCH_POINTS = 0.05
UPDATE_RATIO = 0.5


def aims(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The aims, in the order in which they are shown.

    Args:
        summary: As ``countdown_results`` describes it, but for ``aims``.
    """
    sims = summary["recipe"]["aim_sims"]
    against = summary["search_against_greedy"]["rl"]
    return [
        _ratio(
            "rl",
            f"RL on codes solves at least {RL_RATIO} times what RL on tokens solves",
            RL_RATIO,
            summary["rl"]["paired"],
            "greedy, after equally many rollouts of equally many trained numbers",
        ),
        _ratio(
            "search",
            f"search with {sims} simulations solves at least {SEARCH_RATIO} times what the RL policy does greedily",
            SEARCH_RATIO,
            against,
            "the RL policy with a value head",
        ),
        _beats(summary, "majority", "majority vote", sims),
        _beats(summary, "best_of_n", "best-of-N", sims),
        _rises(summary["iterations"]),
        _update(summary["times"]),
    ]


def _aim(
    key: str, aim: str, target: float | None, value: float | None, met: bool | None, **texts: str
) -> dict[str, Any]:
    return {"key": key, "aim": aim, "target": target, "value": value, "met": met, **texts}


def _ratio(key: str, aim: str, target: float, pair: Mapping[str, Any], what: str) -> dict[str, Any]:
    first, second, ratio = pair["first"], pair["second"], pair["ratio"]
    solved = f"{percent(first['accuracy'])} against {percent(second['accuracy'])} of {pair['n']} ({what})"
    if ratio is None:
        return _aim(key, aim, target, None, None, measured="no ratio: the second solves nothing", detail=solved)
    low, high = pair["ratio_ci95"]
    interval = f"95% bootstrap {'∞' if low is None else f'{low:.2f}'} to {'∞' if high is None else f'{high:.2f}'}"
    return _aim(key, aim, target, ratio, ratio >= target, measured=f"{ratio:.2f} times", detail=f"{solved}; {interval}")


def _beats(summary: Mapping[str, Any], arm: str, words: str, sims: int) -> dict[str, Any]:
    """The final model's search against a baseline of equal tokens."""
    search = summary["search"]["final"]
    point = next(p for p in search["points"] if p["sims"] == sims)
    mine, theirs = point["arms"][search["searcher"]]["selected"], point["arms"][arm]["selected"]
    paired = next(c for c in point["comparisons"] if c["second"] == arm)
    apart = mine["ci95"][0] > theirs["ci95"][1]
    value = paired["difference"]
    low, high = paired["ci95"]
    return _aim(
        f"search-{arm.replace('_', '-')}",
        f"search is {100 * SEARCH_POINTS:.0f} points above {words} at equal tokens, their intervals apart",
        SEARCH_POINTS,
        value,
        value >= SEARCH_POINTS and apart,
        measured=f"{100 * value:+.1f} points, intervals {'apart' if apart else 'overlap'}",
        detail=f"final model, {sims} simulations: {interval(mine)} against {interval(theirs)}; paired difference "
        f"{100 * low:+.1f} to {100 * high:+.1f}; {words} generated {paired['token_ratio'] or 0:.2f} times as many "
        "tokens as the search",
    )


def _rises(iterations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    accuracies = [row["greedy"]["accuracy"] for row in iterations]
    risen = [after > before for before, after in pairwise(accuracies)]
    return _aim(
        "iterations",
        "greedy accuracy rises in each iteration of search and RL",
        None,
        None,
        all(risen) if risen else None,
        measured=f"in {sum(risen)} of {len(risen)}",
        detail=" → ".join(percent(value) for value in accuracies)
        + (f" of {iterations[0]['n']} held-out problems" if iterations else ""),
    )


def _update(times: Mapping[str, Any]) -> dict[str, Any]:
    ratio = times["update_ratio"]
    codes, tokens = (times["rl"][level]["update_seconds"] for level in ("codes", "tokens"))
    each = [times["rl"][level]["update_ms_a_token"] or 0.0 for level in ("codes", "tokens")]
    aim = f"an RL update on codes takes at most {UPDATE_RATIO} times as long as one on tokens"
    if ratio is None:
        return _aim("update-time", aim, UPDATE_RATIO, None, None, measured="not logged", detail="")
    return _aim(
        "update-time",
        aim,
        UPDATE_RATIO,
        ratio,
        ratio <= UPDATE_RATIO,
        measured=f"{ratio:.2f} times",
        detail=f"{codes:.2f} s against {tokens:.2f} s an update, rollouts apart (means over all rounds); a token of "
        f"text takes {' against '.join(f'{ms:.2f} ms' for ms in each)}",
    )


def percent(value: float) -> str:
    """``12.3%``."""
    return f"{100 * value:.1f}%"


def interval(proportion: Mapping[str, Any]) -> str:
    """``12.3% [10.1, 14.8]``."""
    low, high = proportion["ci95"]
    return f"{percent(proportion['accuracy'])} [{100 * low:.1f}, {100 * high:.1f}]"


def verdict(met: bool | None) -> str:
    """Whether an aim is met, in words."""
    return "not measured" if met is None else "met" if met else "not met"
