"""``colasearch view --terminal``: a tree as text; several traces as one page."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from runs_made import made_run, made_trace

from colasearch.cli.view import command
from colasearch.errors import CorruptFileError, InputError
from colasearch.report.terminal import tree_text
from colasearch.storage.runs import RunFolder, manifest_of


def view(*args: object) -> str:
    done = CliRunner().invoke(command, [str(a) for a in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def drawn(trace, most: int = 40) -> str:
    shown = io.StringIO()
    Console(width=200, file=shown).print(tree_text(trace, most))
    return shown.getvalue()


def test_it_shows_the_selected_path_and_the_most_visited_nodes() -> None:
    trace = made_trace("shown", 60)
    text = drawn(trace, 12)
    lines = [line for line in text.splitlines() if "Q " in line or "worth " in line]
    assert len(lines) == 12
    best = trace.nodes[trace.best_node]
    assert f"worth {best.reward:.2f}" in text
    assert f"answer {best.answer}" in text
    assert "more" in text
    everything = drawn(trace, 60)
    assert sum("Q " in line or "worth " in line for line in everything.splitlines()) == 60
    assert "more" not in everything


def test_text_of_a_model_is_shown_literally() -> None:
    trace = made_trace("nasty", 5)
    nodes = [dataclasses.replace(n, text="[red]x[/red] \x1b[31mred\x07") for n in trace.nodes]
    text = drawn(dataclasses.replace(trace, nodes=tuple(nodes), text="\x1b[2J[bold]?"))
    assert "[red]x[/red]" in text
    assert "[bold]?" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_of_a_run_it_takes_the_searcher_at_its_most_simulations(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", problems=3, sims=(4, 9), nodes=10)
    assert "chal-1: " in (shown := view(run, "--terminal", "--problem", "chal-1"))
    assert "gumbel, 9 simulations" in shown
    assert view(run, "--terminal") == view(run, "--terminal", "--problem", "chal-0")
    assert not (run / "report.html").exists()
    with pytest.raises(InputError, match=r"no search tree of problem 'other'; it has those of chal-0"):
        view(run, "--terminal", "--problem", "other")
    with pytest.raises(InputError, match="no search trees"):
        view(made_run(tmp_path / "bare", problems=2, sims=(4,), traces=False), "--terminal")


def test_a_trace_outside_the_run_is_refused(tmp_path: Path) -> None:
    made_trace("p-1", 4).write(tmp_path / "other.json.gz")
    with RunFolder(tmp_path / "run", manifest_of("bench", {"searcher": "gumbel"}, {}, {})) as run:
        run.append({"problem_id": "p-1", "arm": "gumbel", "sims": 4, "status": "ok", "trace": "../other.json.gz"})
    with pytest.raises(CorruptFileError, match="names a trace outside itself"):
        view(tmp_path / "run", "--terminal")


def test_several_traces_of_one_problem_are_one_page(tmp_path: Path) -> None:
    files = []
    for searcher in ("gumbel", "puct"):
        files.append(tmp_path / searcher / "1.json.gz")
        files[-1].parent.mkdir()
        made_trace("p-1", 8, searcher=searcher).write(files[-1])
    page = tmp_path / "page.html"
    assert view(*files, "--output", page).strip() == str(page)
    assert "gumbel (gumbel/1)" in page.read_text()
    assert "puct (puct/1)" in page.read_text()
    made_trace("p-2", 8, text="Another one?").write(files[1])
    with pytest.raises(InputError, match="searches of the same problem"):
        view(*files, "--output", page)
    with pytest.raises(InputError, match="is no trace file"):
        view(files[0], tmp_path, "--output", page)
