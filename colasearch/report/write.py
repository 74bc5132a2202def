"""Writing reports: into a run folder after a run, or a page alone for ``colasearch view``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colasearch import __version__
from colasearch.errors import InputError
from colasearch.report.charts import can_draw, draw
from colasearch.report.curves import charts_of
from colasearch.report.embed import assets, page
from colasearch.report.markdown import report_md
from colasearch.report.page_data import MAX_TRACE_BYTES, run_page, searches_page, trace_page, traces_page
from colasearch.report.run_data import fingerprint, load_run
from colasearch.report.tree_data import read_trace
from colasearch.storage.files import write_atomic
from colasearch.storage.records import read_records

HTML_NAME = "report.html"
MARKDOWN_NAME = "report.md"
PLOTS_NAME = "plots"
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written.

    Attributes:
        path: The HTML file.
        traces: Traces in it.
        left_out: Traces that did not fit.
    """

    path: Path
    traces: int
    left_out: int


def write_report(folder: Path) -> Report:
    """Write ``report.md``, ``plots/`` and ``report.html`` into a run folder; each is replaced as a whole.

    Without matplotlib (extra ``viz``) there are no plot files, and ``report.md`` says so; the page draws its own.

    Raises:
        InputError: No run folder of ``colasearch bench``, or nothing finished in it.
        CorruptFileError: A damaged file.
    """
    run = load_run(folder)
    notes = []
    plots = []
    if can_draw():
        for chart in charts_of(run.summary):
            plots += [path for path in draw(chart, folder / PLOTS_NAME) if path.suffix == ".png"]
    else:
        notes.append("No plots were drawn, because matplotlib is not installed; pip install '.[viz]'.")
    write_atomic(folder / MARKDOWN_NAME, report_md(run, plots, notes))
    return write_html(folder, folder / HTML_NAME)


def _stamp(folder: Path, *, all_traces: bool) -> str:
    return fingerprint(folder, __version__.encode(), "".join(assets()).encode(), b"all" if all_traces else b"some")


def is_current(folder: Path, path: Path, *, all_traces: bool = False) -> bool:
    """Whether ``path`` is the report of ``folder`` as it is now, made by this version."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return f'content="{_stamp(folder, all_traces=all_traces)}"'.encode() in head


def write_html(folder: Path, path: Path, *, all_traces: bool = False, max_bytes: int = MAX_TRACE_BYTES) -> Report:
    """Write the page of a run to ``path``.

    Args:
        folder: Run folder.
        path: HTML file; replaced as a whole.
        all_traces: Put in every trace, however large the file becomes.
        max_bytes: Limit on the traces otherwise.

    Raises:
        InputError: No run folder of ``colasearch bench``, or nothing finished in it.
        CorruptFileError: A damaged file.
    """
    stamp = _stamp(folder, all_traces=all_traces)
    content = run_page(load_run(folder), max_bytes=None if all_traces else max_bytes)
    write_atomic(path, page(content.title, content.data, content.payloads, stamp))
    return Report(path, content.traces, content.left_out)


def view_solved(folder: Path, path: Path) -> Report:
    """Write the page of a run folder of ``colasearch solve`` to ``path``: its searches, one problem after the other.

    Raises:
        InputError: No problem has been solved there yet.
        CorruptFileError: A damaged file.
    """
    files = [folder / record["trace"] for record in read_records(folder) if record.get("trace")]
    if not files:
        raise InputError(f"{folder} has no finished search yet; look again later, or go on with --resume")
    content = traces_page([read_trace(file) for file in files], folder.name)
    write_atomic(path, page(content.title, content.data, content.payloads))
    return Report(path, content.traces, content.left_out)


def view_searches(trace_files: Sequence[Path], path: Path) -> Report:
    """Write the page of several searches of one problem to ``path``, to be looked at side by side.

    Raises:
        InputError: They are of different problems.
        CorruptFileError: A trace is damaged or of another schema.
    """
    traces = [read_trace(file) for file in trace_files]
    for file, trace in zip(trace_files, traces, strict=True):
        if trace.text != traces[0].text:
            raise InputError(
                f"{file} is a search of problem {trace.problem_id!r}, {trace_files[0]} one of "
                f"{traces[0].problem_id!r}; give searches of the same problem"
            )
    content = searches_page(
        traces, [f"{file.parent.name}/{file.name.removesuffix('.json.gz')}" for file in trace_files]
    )
    write_atomic(path, page(content.title, content.data, content.payloads))
    return Report(path, content.traces, content.left_out)


def view_trace(trace_file: Path, path: Path) -> Report:
    """Write the page of one trace to ``path``.

    Raises:
        CorruptFileError: The trace is damaged or of another schema.
    """
    content = trace_page(read_trace(trace_file), trace_file.name)
    write_atomic(path, page(content.title, content.data, content.payloads))
    return Report(path, content.traces, content.left_out)
