"""``report.md``, ``plots/`` and ``report.html`` of the Countdown experiment, made of its summary and its benches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.countdown_aims import verdict
from colasearch.experiments.countdown_tables import Section, Table, aims_table, lead, sections
from colasearch.experiments.stages import Stage
from colasearch.files import write_atomic
from colasearch.report.charts import can_draw, draw
from colasearch.report.embed import page
from colasearch.report.markdown import literal, table
from colasearch.report.write import HTML_NAME, MARKDOWN_NAME, PLOTS_NAME

TITLE = "Countdown from nothing"
_MARKUP = re.compile(r"[^\w .,:;%+→∞()=/@'-]|_|://")


def write_report(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Write the report into run folder ``root``; each file is replaced as a whole.

    Raises:
        CorruptFileError: A bench's summary is damaged.
    """
    parts = sections(summary, {stage.name: root / stage.folder for stage in stages})
    plots = {}
    if can_draw():
        for chart in (chart for part in parts for chart in part.charts):
            plots[chart.name] = next(p for p in draw(chart, root / PLOTS_NAME) if p.suffix == ".png")
    write_atomic(root / MARKDOWN_NAME, markdown(summary, manifest, stages, parts, plots, root))
    write_atomic(root / HTML_NAME, page(TITLE, page_data(summary, manifest, stages, parts), []))


def markdown(
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    stages: Sequence[Stage],
    parts: Sequence[Section],
    plots: Mapping[str, Path],
    root: Path,
) -> str:
    """The text of ``report.md``."""
    lines = [f"# {TITLE}", f"Size {literal(summary['size'])}, seed {summary['recipe']['seed']}.", lead(summary)]
    lines += ["## Aims", _table(aims_table(summary))]
    for part in parts:
        lines += [f"## {literal(part.title)}", literal(part.text, 4000)]
        lines += [_table(one) for one in part.tables]
        lines += [
            f"![{literal(chart.title)}]({plots[chart.name].relative_to(root).as_posix()})"
            for chart in part.charts
            if chart.name in plots
        ]
    if not plots:
        lines.append("No plots were drawn, because matplotlib is not installed; pip install 'colasearch[viz]'.")
    rows = [(stage.label, stage.about, stage.command) for stage in stages]
    lines += [
        "## Commands",
        "Run in this folder, in this order.",
        _table(Table(("stage", "purpose", "command"), tuple(rows), (1, 2))),
    ]
    facts = [(name, value) for name, value in _facts(summary, manifest)]
    lines += ["## What was run", _table(Table(("what", "value"), tuple(facts), (1,)))]
    return "\n\n".join(lines) + "\n"


def _table(one: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in one.rows]
    return table([_cell(name) for name in one.head], rows, numbers=not one.words)


def _cell(text: str) -> str:
    """``text`` for a cell of a table, where a line's start means nothing: most numbers and words stand as they are."""
    return literal(text, 2000) if _MARKUP.search(text) else text


def page_data(
    summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage], parts: Sequence[Section]
) -> dict[str, Any]:
    """What the page's script (``page/experiment.js``) is given."""
    return {
        "kind": "experiment",
        "title": TITLE,
        "facts": [
            f"size {summary['size']}",
            f"seed {summary['recipe']['seed']}",
            f"{summary['times']['total_seconds'] / 60:,.0f} minutes",
            str(manifest.get("created") or "")[:16].replace("T", " ") + " UTC",
        ],
        "lead": lead(summary),
        "aims": [
            {"aim": a["aim"], "met": a["met"], "verdict": verdict(a["met"]), **_texts(a)} for a in summary["aims"]
        ],
        "sections": [
            {
                "title": part.title,
                "text": part.text,
                "tables": [_table_data(one) for one in part.tables],
                "charts": [chart.to_json() for chart in part.charts],
            }
            for part in parts
        ],
        "commands": [[stage.label, stage.about, stage.command] for stage in stages],
        "run": _facts(summary, manifest),
        "problems": [],
        "units": [],
    }


def _texts(aim: Mapping[str, Any]) -> dict[str, str]:
    return {"measured": aim["measured"], "detail": aim["detail"]}


def _table_data(one: Table) -> dict[str, Any]:
    return {"head": list(one.head), "rows": [list(row) for row in one.rows], "words": list(one.words)}


def _facts(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run, as pairs of a name and a value."""
    recipe = ", ".join(f"{key} {_plain(value)}" for key, value in summary["recipe"].items())
    pairs = [
        ("begun", manifest.get("created")),
        ("command", " ".join(str(part) for part in manifest.get("argv") or [])),
        ("recipe", recipe),
        ("commit", manifest.get("git")),
        ("versions", _pairs(manifest.get("versions"))),
        ("machine", _pairs(manifest.get("machine"))),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (values or {}).items())


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
