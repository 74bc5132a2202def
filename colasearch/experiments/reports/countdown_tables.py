"""What the report of the Countdown experiment says, in Markdown and HTML alike: sections of words, tables, charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.countdown_aims import interval, percent, verdict
from colasearch.experiments.reports.countdown_charts import iteration_chart, rl_charts, search_charts
from colasearch.experiments.reports.countdown_results import LEVELS
from colasearch.experiments.reports.document import Section, Table
from colasearch.report.curves import spoken


def aims_text(summary: Mapping[str, Any]) -> str:
    """The aims for a terminal, a line each."""
    return "\n".join(f"{verdict(a['met']):>12}  {a['aim']}: {a['measured']} ({a['detail']})" for a in summary["aims"])


def lead(summary: Mapping[str, Any]) -> str:
    """The first sentence."""
    met = sum(a["met"] is True for a in summary["aims"])
    smoke = ""
    if summary["size"] == "smoke":
        smoke = " This is the smoke size: it shows that the parts fit together, its numbers mean nothing."
    return (
        f"{met} of {len(summary['aims'])} aims are met. The aims are effects that CoLA's paper reports for a model of "
        f"8 billion parameters; here all was trained from nothing.{smoke}"
    )


def sections(summary: Mapping[str, Any], folders: Mapping[str, Path]) -> list[Section]:
    """The report after the aims.

    Args:
        summary: ``summary.json``.
        folders: The stages' folders, by name.
    """
    return [
        _greedy(summary),
        _rl(summary),
        _iterations(summary["iterations"]),
        _search(summary["search"]["final"], "Search on held-out problems", "final", folders["bench-final"]),
        _search(summary["search"]["harder"], "Search on problems with 5 numbers", "harder", folders["bench-harder"]),
        _rl_search(summary),
        _training(summary["training"]),
        _times(summary["times"]),
    ]


def _greedy(summary: Mapping[str, Any]) -> Section:
    rows = [(row["model"], percent(row["accuracy"]), _bounds(row), f"{row['correct']}") for row in summary["greedy"]]
    pair = summary["rl"]["paired"]
    low, high = pair["ci95"]
    points = 100 * pair["difference"]
    text = (
        f"One text a problem, the most probable code (or token) at each place, on {summary['greedy'][0]['n']} problems "
        "whose numbers and targets no training row has. On the same problems RL on codes solves "
        f"{abs(points):.1f} points {'fewer' if points < 0 else 'more'} than RL on tokens (95% paired bootstrap "
        f"{100 * low:+.1f} to {100 * high:+.1f}); {pair['only_first']} problems are solved by the former alone, "
        f"{pair['only_second']} by the latter."
    )
    return Section("Greedy decoding", text, (Table(("model", "solved", "95% Wilson", "problems"), tuple(rows)),))


def _rl(summary: Mapping[str, Any]) -> Section:
    rl, times = summary["rl"], summary["times"]
    rows = []
    for level in LEVELS:
        one, clock = rl[level], times["rl"][level]
        rows.append(
            (
                level,
                f"{one['trained_parameters']:,}",
                str(clock["rounds"]),
                _number(clock["rollout_seconds"], 2),
                _number(clock["update_seconds"], 2),
                _number(clock["update_ms_a_token"], 2),
                f"{one['before']:.3f}",
                f"{one['after']:.3f}",
            )
        )
    recipe = summary["recipe"]
    form = recipe["format_weight"]
    text = (
        f"Rounds of {recipe['rl_batch']} problems with {recipe['rl_group']} rollouts each, "
        f"{recipe['algorithm'].upper()}; the reward is {1 - form:g} for a right answer and {form:g} for a well-formed "
        "text. On codes the policy trains, on tokens low-rank changes of the base with as many numbers."
    )
    head = ("RL on", "trained numbers", "rounds", "rollouts, s", "update, s", "ms a token", "held-out before", "after")
    equal = times["equal_time"]
    if equal is not None:
        text += (
            f" At equal time, {_number(equal['seconds'], 1)} s of rollouts and updates, the held-out greedy reward is "
            f"{equal['codes']['greedy_reward']:.3f} on codes (round {equal['codes']['rounds']}) and "
            f"{equal['tokens']['greedy_reward']:.3f} on tokens (round {equal['tokens']['rounds']}), read off between "
            "two measurements; the slower run's learning rate was then still on its way down."
        )
    return Section("RL on codes against RL on tokens", text, (Table(head, tuple(rows)),), tuple(rl_charts(rl)))


def _iterations(rows: Sequence[Mapping[str, Any]]) -> Section:
    cells = []
    for row in rows:
        searched = row.get("search")
        cells.append(
            (
                f"after iteration {row['iteration']}" if row["iteration"] else "before",
                percent(row["greedy"]["accuracy"]),
                _bounds(row["greedy"]),
                percent(searched["accuracy"]) if searched else "",
                _bounds(searched) if searched else "",
            )
        )
    text = (
        "Each iteration searches problems, trains policy and value head on what the search found, and goes on with RL. "
        "Measured on held-out problems that are not those of the tables below and above."
    )
    table = Table(("", "greedy", "95% Wilson", "search", "95% Wilson"), tuple(cells))
    return Section("Search and RL in turn", text, (table,), (iteration_chart(rows),))


def _search(one: Mapping[str, Any], title: str, key: str, folder: Path) -> Section:
    arms = list(one["points"][-1]["arms"])
    rows = []
    for point in one["points"]:
        for arm in arms:
            cell = point["arms"][arm]
            paired = next((c for c in point["comparisons"] if c["second"] == arm), None)
            rows.append(
                (
                    f"{point['sims']:,}" if arm == arms[0] else "",
                    spoken(arm),
                    percent(cell["selected"]["accuracy"]),
                    _bounds(cell["selected"]),
                    percent(cell["oracle"]["accuracy"]),
                    f"{cell['tokens']:,.0f}",
                    f"{100 * paired['difference']:+.1f}" if paired else "",
                    f"{100 * paired['ci95'][0]:+.1f} to {100 * paired['ci95'][1]:+.1f}" if paired else "",
                )
            )
    head = ("simulations", "arm", "solved", "95% Wilson", "any text", "tokens", "search less it", "95% bootstrap")
    text = (
        f"{one['n']} problems of the benchmark {one['benchmark']}. Majority vote and best-of-N had, problem by "
        "problem, the tokens that the search generated; greedy is one text. Differences are in points, paired. "
        + one["verdict"]
    )
    return Section(title, text, (Table(head, tuple(rows), (1,)),), tuple(search_charts(key, folder)))


def _rl_search(summary: Mapping[str, Any]) -> Section:
    sims = summary["recipe"]["aim_sims"]
    rows = []
    for key, words in (("rl", "RL policy, value head"), ("final", "final model")):
        pair = summary["search_against_greedy"][key]
        rows.append(
            (
                words,
                interval(pair["second"]),
                interval(pair["first"]),
                "" if pair["ratio"] is None else f"{pair['ratio']:.2f}",
                f"{100 * pair['difference']:+.1f}",
                f"{100 * pair['ci95'][0]:+.1f} to {100 * pair['ci95'][1]:+.1f}",
            )
        )
    head = ("model", "greedy", f"search, {sims} simulations", "ratio", "points", "95% bootstrap")
    return Section("Search against greedy decoding", "The same model and problems.", (Table(head, tuple(rows)),))


def _training(training: Mapping[str, Mapping[str, float]]) -> Section:
    rows = [
        (name, measure, _number(value, 4)) for name, measures in training.items() for measure, value in measures.items()
    ]
    text = "What each training stage measured on rows or problems that it held out (cross-entropies in nats a token)."
    return Section("Training", text, (Table(("stage", "measure", "value"), tuple(rows), (1,)),))


def _times(times: Mapping[str, Any]) -> Section:
    rows = [
        (stage["name"], f"{stage['seconds']:,.0f}", "resumed: the last part only" if stage["resumed"] else "")
        for stage in times["stages"]
    ]
    rows.append(("any", f"{times['total_seconds']:,.0f}", "stages side by side count once"))
    return Section("Time", "Wall-clock seconds of each stage.", (Table(("stage", "seconds", ""), tuple(rows), (2,)),))


def _bounds(proportion: Mapping[str, Any]) -> str:
    return f"{100 * proportion['ci95'][0]:.1f} to {100 * proportion['ci95'][1]:.1f}"


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "not logged"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.{digits}f}"
