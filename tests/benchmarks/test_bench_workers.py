"""``colasearch bench --workers``: the run of one process, made by several that may die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from colasearch.report.run_data import load_run
from colasearch.storage.records import read_records
from colasearch.storage.runs import read_manifest

ray = pytest.importorskip("ray", reason="workers are Ray actors, and the package ray is not installed")


def test_a_cluster_that_is_not_there_is_exit_3(bench, tmp_path):
    # Before any test that starts Ray in this process, where no other cluster would be looked for.
    assert not ray.is_initialized()
    code, _, err = bench("--ray-address", "127.0.0.1:1")
    assert code == 3
    assert "127.0.0.1:1" in err
    assert "ray start --head" in err
    assert not (tmp_path / "run").exists()


def results(folder: Path) -> tuple[Any, dict[tuple[Any, ...], Any]]:
    """Summary and records without times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "seconds" not in k and k != "sum"}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    records = read_records(folder)
    by_key = {(r["problem_id"], r["arm"], r["sims"]): timeless(r) for r in records}
    assert len(by_key) == len(records), "something was done twice"
    summary = timeless(json.loads((folder / "summary.json").read_text()))
    del summary["data"]["source"]  # each test has a folder of its own
    return summary, by_key


ALL_KINDS = ("--sims", "2,6", "--arms", "greedy,majority,best_of_n,puct", "--batch-size", 2)


@pytest.fixture
def sums(sums):
    """With a problem that cannot be searched, so each run ends with 1."""
    rows = sums.read_text().splitlines()
    rows[3] = json.dumps({"id": "long", "problem": "word " * 400, "answer": "1"})
    sums.write_text("\n".join(rows) + "\n")
    return sums


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of runs without workers, which several tests compare with."""
    return tmp_path_factory.mktemp("kept")


def made_once(bench, tmp_path: Path, kept: Path, name: str, *given: object) -> Path:
    """A run without workers in a process, made by the first test that asks for it, and copied for each."""
    if not (kept / name).exists():
        bench(*given, output=name)
        shutil.copytree(tmp_path / name, kept / name)
    elif not (tmp_path / name).exists():
        shutil.copytree(kept / name, tmp_path / name)
    return tmp_path / name


@pytest.fixture
def alone(bench, tmp_path, kept):
    """A run without workers."""
    return results(made_once(bench, tmp_path, kept, "alone", *ALL_KINDS))


def test_workers_give_what_one_process_gives_and_end_what_it_began(bench, tmp_path, local_ray, alone):
    """Also of a problem that cannot be searched; begun in the middle, between a search and its baselines."""
    begun = Path(shutil.copytree(tmp_path / "alone", tmp_path / "begun"))
    records = (begun / "problems.jsonl").read_text().splitlines(keepends=True)
    left = "".join(records[: len(records) // 4])
    (begun / "problems.jsonl").write_text(left)
    for path in (begun / "traces", begun / "summary.json", begun / "report.md", begun / "report.html"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, _, err = bench(*ALL_KINDS, "--workers", 2, "--resume", output="begun")
    assert code == 1, err
    assert results(begun) == alone
    assert (begun / "problems.jsonl").read_text().startswith(left)
    assert {key[:2] for key, record in alone[1].items() if record["status"] != "ok"} == {
        ("long", arm) for arm in ("greedy", "majority", "best_of_n", "puct", "gumbel")
    }
    assert "long" in err
    assert (begun / "report.md").exists()
    traces = {p.relative_to(begun): p for p in begun.rglob("traces/**/*") if p.is_file()}
    assert traces
    for name, path in traces.items():
        assert path.read_bytes() == (tmp_path / "alone" / name).read_bytes(), name


@pytest.fixture
def fragile(monkeypatch):
    """Within, the first worker that is to search is killed, and what it had is given up at once."""
    from colasearch.cluster import crew, ledger, pool
    from colasearch.cluster.recipes import SearchRecipe

    @contextmanager
    def use() -> Iterator[list[int]]:
        killed: list[int] = []
        call = crew.Crew.call

        def call_and_kill(self: Any, member: Any, given: Any) -> None:
            call(self, member, given)
            if not killed and given is not None and isinstance(given.recipe, SearchRecipe):
                killed.append(member.pid)
                os.kill(member.pid, signal.SIGKILL)

        with monkeypatch.context() as patch:
            patch.setattr(crew.Crew, "call", call_and_kill)
            patch.setattr(pool, "Ledger", lambda retries: ledger.Ledger(0))
            yield killed

    return use


def test_problems_lost_with_their_workers_are_tried_again_by_a_resumed_run(bench, tmp_path, local_ray, fragile, alone):
    run = tmp_path / "run"
    with fragile() as killed:
        code, _, _ = bench(*ALL_KINDS, "--workers", 1)
    assert code == 1
    assert killed
    assert read_manifest(run)["runtime"]["workers"] == 1
    before, stale = (run / "problems.jsonl").read_text(), (run / "summary.json").read_text()
    lost = [r for r in read_records(run) if r["status"] != "ok" and r["problem_id"] != "long"]
    assert {r["error"]["kind"] for r in lost} == {"LostError"}
    assert {r["arm"] for r in lost} >= {"gumbel", "majority", "best_of_n"}, (
        "with a search its baselines' budget is lost"
    )
    assert len(lost) < len(read_records(run))

    code, _, err = bench(*ALL_KINDS, "--resume")
    assert code == 1, err
    assert f"{len(lost)} records of work that was lost" in err
    after = (run / "problems.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + len(lost), "what was not lost was done again"
    assert results(run) == alone
    # A run that is killed after its last record has the summary from before.
    (run / "summary.json").write_text(stale)
    assert {arm["errors"] for point in load_run(run).summary["curve"] for arm in point["arms"].values()} == {1}


def start(talker_folder: Path, sums: Path, output: Path, *more: object) -> subprocess.Popen[str]:
    """The command on a worker, in a process of its own."""
    given = ["bench", "svamp", "--model", talker_folder, "--actions", "sampled", "--max-tokens", 12, "--sims", 24]
    given += ["--data", sums, "--output", output, "--workers", 1, "--batch-size", 1, "--threads", 1, *more]
    command = [sys.executable, "-m", "colasearch", *map(str, given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def children(session: int) -> dict[int, str]:
    """Living processes of a session, where all stay that Ray starts."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                name = (entry / "cmdline").read_text().replace("\0", " ").strip()
                if int(sid) == session and state != "Z":
                    found[int(entry.name)] = name[:80]
            except OSError:
                continue
    return found


def more_problems(sums: Path) -> None:
    """Enough for a run to be disturbed in its middle."""
    rows = ({"id": f"s{i}", "problem": f"What is {i}+2?", "answer": str(i + 2)} for i in range(14))
    sums.write_text("".join(json.dumps(row) + "\n" for row in rows))


def wait_for_records(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    records = folder / "problems.jsonl"
    deadline = time.monotonic() + 120
    while not (records.exists() and records.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGKILL, -9)]
)
def test_after_a_killed_driver_no_process_is_left_and_the_run_resumes_to_the_same(
    bench, talker_folder, sums, tmp_path, number, code
):
    more_problems(sums)
    process = start(talker_folder, sums, tmp_path / "cut", "--json")
    wait_for_records(process, tmp_path / "cut", 10)
    assert any(name.startswith("ray::Worker") for name in children(process.pid).values())
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == "", "what workers and Ray say is no part of the summary"
    assert "Traceback" not in err
    assert "PC: @" not in err
    deadline = time.monotonic() + 30
    while (left := children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    assert 10 <= len(read_records(tmp_path / "cut")) < 56
    assert bench("--sims", 24, "--batch-size", 1, "--resume", output="cut")[0] == 0
    assert bench("--sims", 24, "--batch-size", 1, output="whole")[0] == 0
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
