"""The Countdown experiment's report, made of its summary and its benches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.countdown_aims import verdict
from colasearch.experiments.reports.countdown_tables import lead, sections
from colasearch.experiments.reports.document import Document, begun, run_facts, write_document
from colasearch.experiments.running.stages import Stage

TITLE = "Countdown from nothing"


def write_report(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Write the report into run folder ``root``; each file is replaced as a whole.

    Raises:
        CorruptFileError: A bench's summary is damaged.
    """
    write_document(root, document(root, summary, manifest, stages))


def document(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> Document:
    """The report."""
    parts = sections(summary, {stage.name: root / stage.folder for stage in stages})
    return Document(
        title=TITLE,
        lead=lead(summary),
        command="colasearch experiment",
        facts=(
            f"size {summary['size']}",
            f"seed {summary['recipe']['seed']}",
            f"{summary['times']['total_seconds'] / 60:,.0f} minutes",
            begun(manifest),
        ),
        parts=tuple(parts),
        stages=stages,
        run=run_facts(manifest, summary["recipe"]),
        aims=[{**aim, "verdict": verdict(aim["met"])} for aim in summary["aims"]],
    )
