"""``colasearch view``: the report of a run, or the tree of one search, as a page in a browser."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from colasearch.errors import InputError, PrerequisiteError

if TYPE_CHECKING:
    from colasearch.report import Report

EPILOG = """\b
Examples:
  colasearch view runs/gsm8k
  colasearch view runs/gsm8k --all-traces --output report.html
  colasearch view runs/gsm8k/traces/gumbel-64/17.json.gz
"""


@click.command(name="view", epilog=EPILOG)
@click.argument("source", metavar="RUN|TRACE", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the page to this file, and open nothing unless told."
)
@click.option("--open/--no-open", "do_open", default=None, help="Open a browser [default: unless --output is given].")
@click.option("--all-traces", is_flag=True, help="Put in every trace, however large the page becomes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(source: Path, output: Path | None, do_open: bool | None, all_traces: bool, as_json: bool) -> int:
    """Show RUN, a folder of `colasearch bench`, `solve --output`, `iterate` or `experiment`, or one search's TRACE.

    A TRACE is a `*.json.gz` file in a folder's `traces`.

    One HTML file with tables, charts, all problems and their search trees; it loads nothing from anywhere. A run's page
    is RUN/report.html; it is made anew when the run has changed. Prints where the page is.
    """
    if source.is_dir() or not source.exists():
        path, report = _run_page(source, output, all_traces)
    else:
        path, report = _trace_page(source, output)
    if report is not None and report.left_out:
        click.echo(
            f"{report.left_out} of {report.traces + report.left_out} traces are left out to keep the page small; "
            "--all-traces puts in all",
            err=True,
        )
    if do_open if do_open is not None else output is None:
        _open(path)
    if as_json:
        counts = None if report is None else {"traces": report.traces, "left_out": report.left_out}
        click.echo(json.dumps({"schema": 1, "page": str(path), "written": counts}))
    else:
        click.echo(str(path))
    return 0


def _run_page(folder: Path, output: Path | None, all_traces: bool) -> tuple[Path, Report | None]:
    """The page of a run, and what was written; None when the page at hand is current."""
    from colasearch.report import is_current, view_solved, write_html
    from colasearch.report.run_data import load_run
    from colasearch.report.write import HTML_NAME
    from colasearch.storage.files import write_atomic
    from colasearch.storage.runs import MANIFEST_NAME, read_manifest

    if (made := _staged_page(folder)) is not None:
        if output is None:
            return made, None
        _check_place(output)
        write_atomic(output, made.read_text(encoding="utf-8"))
        return output, None
    path = output or folder / HTML_NAME
    if (folder / MANIFEST_NAME).is_file() and read_manifest(folder).get("kind") == "solve":
        if output is not None:
            _check_place(output)
        return path, view_solved(folder, path)
    if folder.is_dir() and is_current(folder, path, all_traces=all_traces):
        return path, None
    load_run(folder)  # a folder that is no run says so, before anything is said about the place to write to
    if output is not None:
        _check_place(output)
        return path, write_html(folder, path, all_traces=all_traces)
    try:
        return path, write_html(folder, path, all_traces=all_traces)
    except PermissionError:
        path = _cached(folder)
        click.echo(f"{folder} cannot be written to; the page goes to {path}", err=True)
        return path, write_html(folder, path, all_traces=all_traces)


def _staged_page(folder: Path) -> Path | None:
    """The page of a run made of stages, which its own command writes; None for a bench, or what is no run.

    Raises:
        InputError: It is not written yet.
    """
    from colasearch.report.write import HTML_NAME
    from colasearch.storage.runs import MANIFEST_NAME, read_manifest

    if not (folder / MANIFEST_NAME).is_file():
        return None
    kind = read_manifest(folder).get("kind")
    if kind not in ("experiment", "iterate"):
        return None
    page = folder / HTML_NAME
    if not page.is_file():
        raise InputError(
            f"{folder} has no {HTML_NAME} yet: it is written when all stages are done; go on with --resume. The "
            f"benches among its stages have pages of their own: colasearch view {folder}/stages/NAME"
        )
    return page


def _trace_page(trace: Path, output: Path | None) -> tuple[Path, Report]:
    from colasearch.report import view_trace

    if output is not None:
        _check_place(output)
    return (path := output or _cached(trace)), view_trace(trace, path)


def _check_place(output: Path) -> None:
    """Refuse a place that cannot be written to.

    Raises:
        InputError: A folder, or in no folder.
    """
    if output.is_dir():
        raise InputError(f"--output {output} is a folder; give a file name, such as {output / 'report.html'}")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: the folder {output.parent} does not exist; make it first")


def _cached(source: Path) -> Path:
    """A file in the cache for the page of ``source``: beside a trace it would lie among the run's data.

    Raises:
        PrerequisiteError: The cache cannot be written to.
    """
    from colasearch.storage.files import cache_dir

    name = hashlib.sha256(str(source.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = cache_dir() / "pages"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrerequisiteError(
            f"{folder} cannot be made ({error.strerror}); give --output FILE, or set COLASEARCH_CACHE to another folder"
        ) from None
    return folder / f"{name}.html"


def _open(path: Path) -> None:
    import webbrowser

    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        click.echo("no browser could be opened here; open this file in one:", err=True)
