"""``colasearch view``: the report of a run, or the tree of one search, as a page in a browser."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from colasearch.errors import CorruptFileError, InputError, PrerequisiteError

if TYPE_CHECKING:
    from colasearch.report import Report

EPILOG = """\b
Examples:
  colasearch view runs/gsm8k
  colasearch view runs/gsm8k --all-traces --output report.html
  colasearch view runs/gsm8k/traces/gumbel-64/17.json.gz
  colasearch view runs/gsm8k --terminal --problem 17
  colasearch view runs/gsm8k/traces/gumbel-64/17.json.gz runs/other/traces/puct-64/17.json.gz     # side by side
"""


@click.command(name="view", epilog=EPILOG)
@click.argument("sources", metavar="RUN|TRACE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the page to this file, and open nothing unless told."
)
@click.option("--open/--no-open", "do_open", default=None, help="Open a browser [default: unless --output is given].")
@click.option("--all-traces", is_flag=True, help="Put in every trace, however large the page becomes.")
@click.option("--terminal", is_flag=True, help="Print a search tree as text; open and write nothing.")
@click.option("--problem", metavar="ID", help="With --terminal, whose tree of a run [default: the first problem's].")
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="With --terminal, most nodes: the selected path and the most visited ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    sources: tuple[Path, ...],
    output: Path | None,
    do_open: bool | None,
    all_traces: bool,
    terminal: bool,
    problem: str | None,
    nodes: int,
    as_json: bool,
) -> int:
    """Show RUN, a folder of `colasearch bench`, `solve --output`, `iterate` or `experiment`, or one search's TRACE.

    A TRACE is a `*.json.gz` file in a folder's `traces`. Several TRACEs of one problem can be seen side by side.

    One HTML file with tables, charts, all problems and their search trees; it loads nothing from anywhere. A run's page
    is RUN/report.html; it is made anew when the run has changed. Prints where the page is.
    """
    if terminal:
        return _print_trees(sources, problem, nodes)
    if problem is not None:
        raise InputError("--problem chooses a tree for --terminal; the page has all problems")
    report: Report | None
    if len(sources) > 1:
        path, report = _searches_page(sources, output)
    elif sources[0].is_dir() or not sources[0].exists():
        path, report = _run_page(sources[0], output, all_traces)
    else:
        path, report = _trace_page(sources[0], output)
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


def _searches_page(traces: tuple[Path, ...], output: Path | None) -> tuple[Path, Report]:
    from colasearch.report import view_searches

    for trace in traces:
        if not trace.is_file():
            raise InputError(
                f"{trace} is no trace file; of several arguments each must be a `*.json.gz` of a run's traces"
            )
    if output is not None:
        _check_place(output)
    return (path := output or _cached(*traces)), view_searches(traces, path)


def _print_trees(sources: tuple[Path, ...], problem: str | None, nodes: int) -> int:
    """Print each source's tree, with a line on what came out."""
    from rich.console import Console

    from colasearch.report.terminal import summary_line, tree_text
    from colasearch.report.tree_data import read_trace

    console = Console(highlight=False)
    for source in sources:
        trace = read_trace(_trace_of_run(source, problem) if source.is_dir() or not source.exists() else source)
        console.print(tree_text(trace, nodes), soft_wrap=True)
        console.print(summary_line(trace), markup=False, soft_wrap=True)
    return 0


def _trace_of_run(folder: Path, problem: str | None) -> Path:
    """The trace of a problem (the first one's where None) by the run's searcher at its most simulations.

    Raises:
        InputError: There is no such run, problem or trace.
        CorruptFileError: A record names a file outside the run.
    """
    from colasearch.storage.records import read_records
    from colasearch.storage.runs import read_manifest

    if not folder.exists():
        raise InputError(f"{folder} does not exist; give a run folder, or a trace file of one")
    settings = read_manifest(folder).get("settings") or {}
    records = [record for record in read_records(folder) if record.get("trace")]
    if not records:
        raise InputError(f"{folder} has no search trees; it was run with --no-traces, or nothing is finished yet")
    wanted = str(records[0]["problem_id"]) if problem is None else problem
    found = [record for record in records if str(record["problem_id"]) == wanted]
    if not found:
        known = ", ".join(dict.fromkeys(str(record["problem_id"]) for record in records[:200]))
        raise InputError(f"{folder} has no search tree of problem {wanted!r}; it has those of {known[:300]}")
    best = max(found, key=lambda record: (record.get("arm") == settings.get("searcher"), record.get("sims") or 0))
    path = folder / str(best["trace"])
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CorruptFileError(
            f"{folder} names a trace outside itself: {str(best['trace'])[:200]!r}; restore its records"
        )
    if not path.is_file():
        raise InputError(f"{path} is no longer there; the search has to be run again for its tree")
    return path


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


def _cached(*sources: Path) -> Path:
    """A file in the cache for the page of ``sources``: beside a trace it would lie among the run's data.

    Raises:
        PrerequisiteError: The cache cannot be written to.
    """
    from colasearch.storage.files import cache_dir

    places = "\0".join(str(source.resolve()) for source in sources)
    name = hashlib.sha256(places.encode("utf-8", "surrogateescape")).hexdigest()[:16]
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
