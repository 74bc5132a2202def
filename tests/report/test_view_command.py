"""``colasearch view``: where pages go, when they are made anew, exit codes and messages."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs_made import made_run, made_trace

from colasearch.report import is_current, write_report


def view(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "colasearch.cli.main", "view", *map(str, args)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **env}, check=False,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made_run(tmp_path / "run", problems=3, sims=(4,), nodes=8)


def test_makes_the_report_and_prints_where_it_is(run: Path) -> None:
    done = view(run, "--no-open")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{run / 'report.html'}\n", "")
    assert (run / "report.html").stat().st_size > 20_000


def test_opens_the_browser_that_the_user_has(run: Path, tmp_path: Path) -> None:
    note = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {note}\n')
    browser.chmod(0o755)
    assert view(run, BROWSER=f"{browser} %s").returncode == 0
    assert note.read_text().strip() == (run / "report.html").resolve().as_uri()
    note.unlink()
    assert view(run, "--output", tmp_path / "a.html", BROWSER=f"{browser} %s").returncode == 0
    assert not note.exists()


def test_says_so_when_no_browser_opens(run: Path) -> None:
    done = view(run, BROWSER="/bin/false %s", DISPLAY="", PATH="/nonexistent")
    assert done.returncode == 0
    assert "no browser could be opened" in done.stderr
    assert str(run / "report.html") in done.stdout


def test_is_made_anew_only_when_the_run_or_the_wish_has_changed(run: Path) -> None:
    first = json.loads(view(run, "--no-open", "--json").stdout)
    assert first["written"] == {"traces": 12, "left_out": 0}
    assert json.loads(view(run, "--no-open", "--json").stdout)["written"] is None
    assert json.loads(view(run, "--no-open", "--json", "--all-traces").stdout)["written"]["traces"] == 12
    assert is_current(run, run / "report.html", all_traces=True)
    assert not is_current(run, run / "report.html")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "verdict": "another one"}))
    assert json.loads(view(run, "--no-open", "--json", "--all-traces").stdout)["written"] is not None
    assert "another one" in (run / "report.html").read_text()


def test_a_run_that_goes_on_or_was_killed_can_be_looked_at(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", problems=3, sims=(4,), nodes=8, finish=False)
    assert view(folder, "--no-open").returncode == 0
    page = (folder / "report.html").read_text()
    assert '"running":true' in page
    whole = made_run(tmp_path / "whole", problems=3, sims=(4,), nodes=8)
    assert view(whole, "--no-open").returncode == 0
    assert '"running":false' in (whole / "report.html").read_text()
    # Resumed and killed: more records than the summary counts.
    summary = json.loads((whole / "summary.json").read_text())
    for point in summary["curve"]:
        point["arms"]["gumbel"]["n"] -= 1
    (whole / "summary.json").write_text(json.dumps(summary))
    assert view(whole, "--no-open").returncode == 0
    assert '"running":true' in (whole / "report.html").read_text()


@pytest.mark.parametrize("kind", ["iterate", "experiment"])
def test_a_run_of_stages_shows_the_page_that_it_wrote(tmp_path: Path, kind: str) -> None:
    from colasearch.storage.runs import manifest_of

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest_of(kind, {}, {}, {})))
    done = view(folder, "--no-open")
    assert done.returncode == 2
    assert "it is written when all stages are done" in done.stderr
    (folder / "report.html").write_text("the page")
    assert view(folder, "--no-open").stdout == f"{folder / 'report.html'}\n"
    copy = tmp_path / "copy.html"
    assert view(folder, "--output", copy).stdout == f"{copy}\n"
    assert copy.read_text() == "the page"


def test_one_trace(run: Path, tmp_path: Path) -> None:
    trace = next((run / "traces").rglob("*.json.gz"))
    done = view(trace, "--output", tmp_path / "t.html")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 't.html'}\n")
    before = sorted(p for p in run.rglob("*"))
    cached = view(trace, "--no-open")
    assert cached.returncode == 0
    assert Path(cached.stdout.strip()).is_relative_to(os.environ["COLASEARCH_CACHE"])
    assert sorted(p for p in run.rglob("*")) == before, "a trace's page does not go among the run's data"


@pytest.mark.parametrize("kind", ["missing", "empty", "train", "nothing done"])
def test_a_folder_that_is_no_bench_run_is_refused(run: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "other"
    if kind != "missing":
        folder.mkdir()
    if kind in ("train", "nothing done"):
        manifest = json.loads((run / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "kind": "train" if kind == "train" else "bench"}))
    done = view(folder, "--no-open")
    assert done.returncode == 2, done.stderr
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "report.html").exists()


def bent(**changes: object) -> bytes:
    data = made_trace("bent", 6).to_json()
    for name, value in changes.items():
        if name.startswith("node_"):
            data["nodes"][3][name.removeprefix("node_")] = value
        else:
            data[name] = value
    return gzip.compress(json.dumps(data).encode())


WHOLE = bent()
DAMAGED = {
    "empty": b"",
    "no gzip": b"{}",
    "cut": WHOLE[: len(WHOLE) // 2],
    "flipped": WHOLE[:40] + bytes([WHOLE[40] ^ 0xFF]) + WHOLE[41:],
    "no json": gzip.compress(b"nonsense"),
    "a list": gzip.compress(b"[]"),
    "another schema": bent(schema=2),
    "no nodes": bent(nodes=[]),
    "nodes of numbers": bent(nodes=[1, 2]),
    "later parent": bent(node_parent=5),
    "own parent": bent(node_parent=3),
    "second root": bent(node_parent=-1),
    "best node beyond": bent(best_node=6),
    "visits in words": bent(node_visits="many"),
    "text of no kind": bent(node_text=None),
    "value of no kind": bent(node_value=[1]),
    "texts of no kind": bent(texts=[{"text": 1, "answer": None, "value": 1}]),
    "tokens of no kind": bent(node_tokens=7),
    "deep": gzip.compress(b"[" * 100_000),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_trace_is_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from colasearch.cli.main import main

    path = tmp_path / "t.json.gz"
    path.write_bytes(DAMAGED[kind])
    assert main(["view", str(path), "--output", str(tmp_path / "t.html")]) == 4
    error = capsys.readouterr().err
    assert str(path) in error
    assert "run the search again" in error or "reads schema 1" in error
    assert not (tmp_path / "t.html").exists()


def test_a_damaged_run_names_the_file(run: Path, tmp_path: Path) -> None:
    def broken(name: str, change) -> str:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        path = next(copy.rglob(name))
        path.write_bytes(change(path.read_bytes()))
        done = view(copy, "--no-open")
        assert done.returncode == 4, (name, done.stderr)
        assert path.name in done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    broken("summary.json", lambda data: data[:100])
    broken("summary.json", lambda data: data.replace(b'"ci95"', b'"ci"'))
    broken("summary.json", lambda data: b'{"schema": 1}')
    broken("manifest.json", lambda data: data.replace(b'"schema": 1', b'"schema": 9'))
    broken("problems.jsonl", lambda data: data.replace(b'"arm": "gumbel"', b'"arm": "gumbal"', 1))
    broken("chal-1.json.gz", lambda data: data[:50])

    def outside(data: bytes) -> bytes:
        from colasearch.storage.records import record_sum

        record = json.loads(data.splitlines()[0])
        record["trace"] = "../../secret.json.gz"
        record["sum"] = record_sum(record)
        return json.dumps(record).encode() + b"\n" + b"\n".join(data.splitlines()[1:]) + b"\n"

    assert "outside the run folder" in broken("problems.jsonl", outside)


def test_trace_files_that_are_gone_are_no_damage(run: Path) -> None:
    shutil.rmtree(run / "traces")
    assert view(run, "--no-open").returncode == 0
    assert "12 trace files" in (run / "report.html").read_text()


def test_an_output_that_cannot_be_is_refused_before_the_work(run: Path, tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "nowhere" / "r.html"):
        done = view(run, "--output", output)
        assert done.returncode == 2
        assert str(output) in done.stderr


def test_numbers_that_are_none_are_shown(tmp_path: Path) -> None:
    trace = made_trace("nan", 6)
    nodes = (trace.nodes[0], dataclasses.replace(trace.nodes[1], value=float("nan")), *trace.nodes[2:])
    dataclasses.replace(trace, nodes=nodes).write(tmp_path / "t.json.gz")
    assert view(tmp_path / "t.json.gz", "--output", tmp_path / "t.html").returncode == 0


def test_write_report_is_the_same_for_the_same_run(run: Path) -> None:
    write_report(run)
    first = {name: (run / name).read_bytes() for name in ("report.html", "report.md", "plots/accuracy-tokens.svg")}
    write_report(run)
    assert first == {name: (run / name).read_bytes() for name in first}
