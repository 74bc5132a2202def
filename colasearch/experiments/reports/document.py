"""Reports of runs made of stages: ``report.md``, ``plots/``, ``report.html`` from sections of words, tables, charts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colasearch.experiments.running.stages import Stage
from colasearch.report.charts import Chart, can_draw, draw
from colasearch.report.embed import page
from colasearch.report.markdown import literal, table
from colasearch.report.write import HTML_NAME, MARKDOWN_NAME, PLOTS_NAME
from colasearch.storage.files import write_atomic

_MARKUP = re.compile(r"[^\w .,:;%+→∞()=/@'-]|_|://")


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        head: Names of the columns.
        rows: Cells, as text.
        words: Columns, beside the first, that hold words: set to the left.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes:
        title: Its heading.
        text: A paragraph before the table.
        tables: Tables.
        charts: Charts after them.
    """

    title: str
    text: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        title, lead: Its heading and first sentence.
        command: Name of the command that made the run.
        facts: Short facts below the heading.
        parts: Its sections.
        stages: What was run, in order.
        run: What was run, as pairs of a name and a value.
        aims: Aims beside what was measured (``aim, met, verdict, measured, detail``); none for a plain run.
    """

    title: str
    lead: str
    command: str
    facts: tuple[str, ...]
    parts: tuple[Section, ...]
    stages: Sequence[Stage]
    run: tuple[tuple[str, str], ...]
    aims: Sequence[Mapping[str, Any]] = field(default=())


def write_document(root: Path, document: Document) -> None:
    """Write the report into run folder ``root``; each file is replaced as a whole."""
    plots = {}
    if can_draw():
        for chart in (chart for part in document.parts for chart in part.charts):
            plots[chart.name] = next(p for p in draw(chart, root / PLOTS_NAME) if p.suffix == ".png")
    write_atomic(root / MARKDOWN_NAME, markdown(document, plots, root))
    write_atomic(root / HTML_NAME, page(document.title, page_data(document), []))


def markdown(document: Document, plots: Mapping[str, Path], root: Path) -> str:
    """The text of ``report.md``."""
    lines = [f"# {document.title}", literal("; ".join(document.facts), 4000) + ".", document.lead]
    if document.aims:
        rows = tuple((a["aim"], a["verdict"], a["measured"], a["detail"]) for a in document.aims)
        lines += ["## Aims", _table(Table(("aim", "", "measured", "numbers"), rows, (1, 2, 3)))]
    for part in document.parts:
        lines += [f"## {literal(part.title)}", literal(part.text, 4000)]
        lines += [_table(one) for one in part.tables]
        lines += [
            f"![{literal(chart.title)}]({plots[chart.name].relative_to(root).as_posix()})"
            for chart in part.charts
            if chart.name in plots
        ]
    if not plots:
        lines.append("No plots were drawn, because matplotlib is not installed; pip install '.[viz]'.")
    commands = tuple((stage.label, stage.about, stage.command) for stage in document.stages)
    lines += [
        "## Commands",
        "Run in this folder, in this order.",
        _table(Table(("stage", "purpose", "command"), commands, (1, 2))),
    ]
    lines += ["## What was run", _table(Table(("what", "value"), document.run, (1,)))]
    return "\n\n".join(lines) + "\n"


def _table(one: Table) -> str:
    rows = [[_cell(cell) for cell in row] for row in one.rows]
    return table([_cell(name) for name in one.head], rows, numbers=not one.words)


def _cell(text: str) -> str:
    """``text`` for a cell of a table, where a line's start means nothing: most numbers and words stand as they are."""
    return literal(text, 2000) if _MARKUP.search(text) else text


def page_data(document: Document) -> dict[str, Any]:
    """What the page's script (``page/experiment.js``) is given."""
    return {
        "kind": "experiment",
        "title": document.title,
        "command": document.command,
        "facts": list(document.facts),
        "lead": document.lead,
        "aims": [{key: a[key] for key in ("aim", "met", "verdict", "measured", "detail")} for a in document.aims],
        "sections": [
            {
                "title": part.title,
                "text": part.text,
                "tables": [_table_data(one) for one in part.tables],
                "charts": [chart.to_json() for chart in part.charts],
            }
            for part in document.parts
        ],
        "commands": [[stage.label, stage.about, stage.command] for stage in document.stages],
        "run": [list(pair) for pair in document.run],
        "problems": [],
        "units": [],
    }


def _table_data(one: Table) -> dict[str, Any]:
    return {"head": list(one.head), "rows": [list(row) for row in one.rows], "words": list(one.words)}


def run_facts(manifest: Mapping[str, Any], numbers: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What was run: the manifest's facts, and the run's ``numbers``."""
    pairs = [
        ("begun", manifest.get("created")),
        ("command", " ".join(str(part) for part in manifest.get("argv") or [])),
        ("numbers", ", ".join(f"{key} {_plain(value)}" for key, value in numbers.items())),
        ("commit", manifest.get("git")),
        ("versions", _pairs(manifest.get("versions"))),
        ("machine", _pairs(manifest.get("machine"))),
    ]
    return tuple((name, str(value)) for name, value in pairs if value)


def begun(manifest: Mapping[str, Any]) -> str:
    """When the run was begun, to the minute."""
    return str(manifest.get("created") or "")[:16].replace("T", " ") + " UTC"


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (values or {}).items())


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
