"""Charts of the Countdown experiment: RL on codes and on tokens, the iterations, search and its baselines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.countdown_results import clock
from colasearch.report.charts import GREY, Chart, Series
from colasearch.report.curves import charts_of
from colasearch.storage.files import read_json

MARKS = 30
"""Most marks on a line of rounds."""
COLORS = {"codes": 0, "tokens": 1}
NAMES = {"codes": "RL on codes", "tokens": "RL on tokens"}


def rl_charts(rl: Mapping[str, Any]) -> list[Chart]:
    """Format, length and reward over the rounds; held-out reward over rounds and over seconds."""
    rounds = (
        ("format", "Well-formed texts", "share of a round's texts", True),
        ("length", "Length of texts, in tokens", "tokens a text", False),
        ("reward", "Reward in training", "mean reward of a round", False),
    )
    charts = []
    for key, title, label, percent in rounds:
        lines = [_rounds(level, rl[level]["rounds"], key) for level in COLORS if key in rl[level]["rounds"]]
        if lines:
            charts.append(
                Chart(
                    name=f"rl-{key}",
                    title=title,
                    x_label="rounds of RL",
                    y_label=label,
                    series=tuple(lines),
                    percent=percent,
                    note=_binned_note(rl["codes"]["rounds"]["step"]),
                )
            )
    heldout = [_heldout(level, rl[level], [0.0, *map(float, rl[level]["heldout"]["step"])]) for level in COLORS]
    charts.append(
        Chart(
            name="rl-heldout",
            title="Greedy reward on held-out problems",
            x_label="rounds of RL",
            y_label="mean reward",
            series=tuple(heldout),
            note=f"{rl['codes']['heldout_problems']} problems of RL's data that no update uses.",
        )
    )
    clocks = {level: clock(rl[level]["rounds"]) for level in COLORS}
    timed = [
        _heldout(level, rl[level], [0.0, *(ends[step - 1] for step in rl[level]["heldout"]["step"])])
        for level, ends in clocks.items()
        if ends
    ]
    if timed:
        charts.append(
            Chart(
                name="rl-heldout-seconds",
                title="Greedy reward against time",
                x_label="seconds of rollouts and updates",
                y_label="mean reward",
                series=tuple(timed),
            )
        )
    return charts


def _heldout(level: str, one: Mapping[str, Any], x: Sequence[float]) -> Series:
    return Series(NAMES[level], x, [one["before"], *one["heldout"]["greedy_reward"]], color=COLORS[level])


def _binned_note(steps: Sequence[float]) -> str:
    size = math.ceil(len(steps) / MARKS)
    if size == 1:
        return ""
    return f"A mark is the mean of {size} rounds, the band its 95% interval over these rounds."


def _rounds(level: str, rounds: Mapping[str, Sequence[float | None]], key: str) -> Series:
    """A line of means over equally many rounds each."""
    pairs = [(s, v) for s, v in zip(rounds["step"], rounds[key], strict=True) if s is not None and v is not None]
    size = math.ceil(len(pairs) / MARKS) or 1
    x, y, low, high = [], [], [], []
    for begin in range(0, len(pairs), size):
        part = pairs[begin : begin + size]
        values = [value for _, value in part]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1) / len(values))
        x.append(sum(step for step, _ in part) / len(part))
        y.append(mean)
        low.append(mean - 1.96 * spread)
        high.append(mean + 1.96 * spread)
    banded = size > 1
    return Series(NAMES[level], x, y, low if banded else None, high if banded else None, COLORS[level])


def iteration_chart(iterations: Sequence[Mapping[str, Any]]) -> Chart:
    """Greedy and searched accuracy before the first and after each iteration."""
    x = [float(row["iteration"]) for row in iterations]
    lines = [
        Series(
            name,
            x,
            [row[key]["accuracy"] for row in iterations],
            [row[key]["ci95"][0] for row in iterations],
            [row[key]["ci95"][1] for row in iterations],
            color,
        )
        for key, name, color in (("greedy", "greedy", GREY), ("search", "search", 0))
        if all(row.get(key) for row in iterations)
    ]
    return Chart(
        name="iterations",
        title="Accuracy by iteration",
        x_label="iterations of search and RL",
        y_label="problems solved",
        series=tuple(lines),
        percent=True,
        note="Problems held out from all training. Bands are Wilson's 95% intervals.",
    )


def search_charts(key: str, folder: Path) -> list[Chart]:
    """Accuracy against simulations and tokens of one of ``SEARCHES``, from its run folder."""
    charts = charts_of(read_json(folder / "summary.json"))
    return [dataclasses.replace(chart, name=f"{key}-{chart.name}") for chart in charts]
