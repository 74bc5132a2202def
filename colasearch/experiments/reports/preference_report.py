"""The report of the preference experiment: proxy and gold score against the divergence from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.document import Document, Section, Table, begun, run_facts, write_document
from colasearch.experiments.running.stages import Stage
from colasearch.report.charts import Chart, Series

TITLE = "Preference: are codes gamed less than tokens?"
COLORS = {"codes": 0, "tokens": 1}
OTHERS = (
    ("length", "Length of texts", "tokens a text"),
    ("variety", "Different pairs of neighbouring words within a text", "share"),
    ("difference", "Difference of the texts of one prompt", "1 less mean Jaccard similarity"),
)


def write_report(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Write ``report.md``, ``plots/`` and ``report.html`` into run folder ``root``."""
    parts = [_answer(summary), _proxies(summary), *(_kind(summary, gold) for gold in summary["proxies"])]
    document = Document(
        title=TITLE,
        lead=lead(summary),
        command="colasearch experiment preference",
        facts=(
            f"model {summary['model']}",
            f"preferences {', '.join(summary['proxies'])}",
            f"{summary['arms'][0]['seeds']} seeds",
            begun(manifest),
        ),
        parts=tuple(parts),
        stages=stages,
        run=run_facts(manifest, manifest.get("settings", {})),
    )
    write_document(root, document)


def lead(summary: Mapping[str, Any]) -> str:
    """The first sentence: in how many comparisons something is shown, whichever way."""
    less = sum(row["shown"] and row["tokens_less_codes"] > 0 for row in summary["contrasts"])
    more = sum(row["shown"] and row["tokens_less_codes"] < 0 for row in summary["contrasts"])
    return (
        f"Of {len(summary['contrasts'])} comparisons of RL on codes with RL on tokens, codes gamed the proxy less in "
        f"{less} and more in {more}; in the others no difference is shown."
    )


def _interval(ci95: Sequence[float] | None, digits: int = 2) -> str:
    return "one seed" if ci95 is None else f"{ci95[0]:+.{digits}f} to {ci95[1]:+.{digits}f}"


def _answer(summary: Mapping[str, Any]) -> Section:
    rows = tuple(
        (
            row["gold"],
            f"{row['beta']:g}",
            f"{row['tokens_less_codes']:+.2f}",
            _interval(row["ci95"]),
            "shown" if row["shown"] else "not shown",
        )
        for row in summary["contrasts"]
    )
    text = (
        "Gaming is the rise of the proxy less the rise of the gold score, each in units of its spread from round to "
        "round at the start. The table has gaming on tokens less gaming on codes, over seeds: above 0 codes are gamed "
        "less. KL over codes and over tokens are different divergences: different codes may write the same token, so "
        "that over codes is the larger one for the same change of text."
    )
    head = ("preference", "beta", "tokens less codes", "95% Student", "")
    return Section("Are codes gamed less?", text, (Table(head, rows, (4,)),))


def _proxies(summary: Mapping[str, Any]) -> Section:
    rows = []
    for gold, proxy in summary["proxies"].items():
        known = proxy["accuracy"] is not None
        low, high = proxy["ci95"] if known else (0, 0)
        rows.append(
            (
                gold,
                f"{proxy['pairs']:.0f}" if known else "0",
                f"{100 * proxy['accuracy']:.0f}" if known else "",
                f"{100 * low:.0f} to {100 * high:.0f}" if known else "",
                f"{proxy['ece']:.2f}" if known else "",
            )
        )
    head = ("preference", "held-out pairs", "accuracy %", "95% Wilson", "calibration error")
    text = "How often the proxy ranks a held-out pair as the gold scorer does."
    return Section("The proxies", text, (Table(head, tuple(rows)),))


def _kind(summary: Mapping[str, Any], gold: str) -> Section:
    arms = [one for one in summary["arms"] if one["gold"] == gold]
    rows = tuple(
        (
            one["on"],
            f"{one['beta']:g}",
            f"{one['end']['kl']:.2f}",
            f"{one['start']['proxy']:.3f} to {one['end']['proxy']:.3f}",
            f"{one['start']['gold']:.3f} to {one['end']['gold']:.3f}",
            f"{one['fallen']:.3f}",
            f"{one['end']['length']:.1f}",
            f"{one['end']['variety']:.2f}",
            f"{one['end']['difference']:.2f}",
        )
        for one in arms
    )
    head = ("RL on", "beta", "KL", "proxy", "gold", "gold below its best", "length", "variety", "difference")
    equal = tuple(
        (
            f"{row['beta']:g}",
            f"{row['kl']:.2f}",
            *(f"{row[level][key]:.3f}" for key in ("proxy", "gold") for level in ("codes", "tokens")),
        )
        for row in summary["at_equal_kl"]
        if row["gold"] == gold
    )
    tables = [Table(head, rows)]
    if equal:
        columns = ("beta", "KL", "proxy, codes", "proxy, tokens", "gold, codes", "gold, tokens")
        tables.append(Table(columns, equal))
    text = "Means over seeds, from the first rounds to the last ones; then both at equal KL, nats a text."
    return Section(f"Preference: {gold}", text, tuple(tables), tuple(_charts(gold, arms)))


def _charts(gold: str, arms: Sequence[Mapping[str, Any]]) -> list[Chart]:
    note = "Bands are Student's 95% intervals over seeds." if arms[0]["seeds"] > 1 else ""
    charts = [
        Chart(
            name=f"{gold}-beta-{beta:g}".replace(".", "-"),
            title=f"{gold}, beta {beta:g}: proxy and gold score",
            x_label="KL from the start, nats a text",
            y_label="score",
            series=tuple(
                _line(one, key, dashed=key == "gold")
                for one in arms
                if one["beta"] == beta
                for key in ("proxy", "gold")
            ),
            note=note,
        )
        for beta in dict.fromkeys(one["beta"] for one in arms)
    ]
    for key, title, label in OTHERS:
        series = tuple(
            Series(
                f"{one['on']}, beta {one['beta']:g}", one["curve"]["kl"], one["curve"][key], color=COLORS[one["on"]],
                dashed=one["beta"] > 0,
            )
            for one in arms
        )  # fmt: skip
        charts.append(Chart(f"{gold}-{key}", f"{gold}: {title}", "KL from the start, nats a text", label, series))
    return charts


def _line(one: Mapping[str, Any], key: str, dashed: bool) -> Series:
    ends = one["curve"].get(f"{key}_ci95")
    low, high = ([end[i] for end in ends] for i in (0, 1)) if ends else (None, None)
    return Series(f"{key}, {one['on']}", one["curve"]["kl"], one["curve"][key], low, high, COLORS[one["on"]], dashed)
