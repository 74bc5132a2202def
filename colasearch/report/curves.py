"""Charts of a benchmark's summary: accuracy against simulations and against generated tokens.

Selected and oracle accuracy are never one line, and each says which it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from colasearch.report.charts import GREY, PALETTE, Chart, Series

BASELINES = {
    "majority": "majority vote",
    "best_of_n": "best-of-N",
    "weighted_vote": "weighted vote",
    "greedy": "greedy",
}
"""Arms that search nothing, as people call them (the names are those of ``colasearch.benchmarks.harness.arms``)."""


def spoken(arm: str) -> str:
    """An arm's name for people."""
    return BASELINES.get(arm, arm)


def colors_of(arms: Iterable[str]) -> dict[str, int]:
    """Each arm's place in the palette: greedy, the yardstick, is grey, the others take colours in order."""
    free = (number for number in itertools.cycle(range(len(PALETTE))) if number != GREY)
    return {arm: GREY if arm == "greedy" else next(free) for arm in arms}


def charts_of(summary: Mapping[str, Any]) -> list[Chart]:
    """The charts of a benchmark run; only the one against tokens where there is one number of simulations."""
    curve = summary["curve"]
    charts = []
    interval = "Bars are Wilson's 95% intervals; arms at one place stand side by side."
    if len(curve) > 1:
        charts.append(
            Chart(
                name="accuracy-simulations",
                title="Accuracy against simulations",
                x_label="simulations a problem",
                y_label="problems solved",
                series=_series(summary, tokens=False),
                log_x=True,
                percent=True,
                note=f"Baselines have the tokens that {summary['searcher']} used at that point. {interval}",
            )
        )
    charts.append(
        Chart(
            name="accuracy-tokens",
            title="Accuracy against generated tokens",
            x_label="generated tokens a problem (mean)",
            y_label="problems solved",
            series=_series(summary, tokens=True),
            log_x=True,
            percent=True,
            note=f"Everything that an arm generated is counted. {interval}",
        )
    )
    return charts


def _series(summary: Mapping[str, Any], *, tokens: bool) -> tuple[Series, ...]:
    searcher = summary["searcher"]
    series = []
    for arm, color in colors_of(summary["arms"]).items():
        points = [(point["sims"], point["arms"][arm]) for point in summary["curve"] if point["arms"][arm]["n"]]
        if arm == "greedy":
            # One text, whatever the simulations: a level line against simulations, one point against tokens.
            points = points[-1:] if tokens else points
        for part in ("selected", "oracle") if arm == searcher else ("selected",):
            series.append(
                Series(
                    name=f"{spoken(arm)}: {part}",
                    x=[mean_tokens(point) if tokens else sims for sims, point in points],
                    y=[point[part]["accuracy"] for _, point in points],
                    low=[point[part]["ci95"][0] for _, point in points],
                    high=[point[part]["ci95"][1] for _, point in points],
                    color=color,
                    dashed=part == "oracle",
                )
            )
    return tuple(series)


def mean_tokens(arm: Mapping[str, Any]) -> float:
    """Generated tokens a problem, over those that did not error; 0 when there are none."""
    fine = arm["n"] - arm["errors"]
    return float(arm["generated_tokens"] / fine) if fine else 0.0
