"""A benchmark that is ended in its middle by a signal goes on with ``--resume`` as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from summaries import summary_of

from colasearch.storage.records import read_records


def start(talker_folder: Path, sums: Path, output: Path, *more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "colasearch.cli.main", "bench", "svamp", "--data", str(sums), "--model",
         str(talker_folder), "--actions", "sampled", "--max-tokens", "12", "--threads", "1", "--sims", "60",
         "--batch-size", "1", "--output", str(output), *map(str, more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def wait_for_records(path: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"the run did not get to {count} records: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def whole(talker_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Problems, and the folder of a run of them that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    rows = [{"id": f"sum/{i}", "problem": f"What is {i}+2?", "answer": str(i + 2)} for i in range(5)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    process = start(talker_folder, folder / "sums.jsonl", folder / "run")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return folder / "sums.jsonl", folder / "run"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_killed_run_keeps_what_is_finished_and_resumes_to_the_same(talker_folder, whole, tmp_path, number, code):
    sums, undisturbed = whole
    process = start(talker_folder, sums, tmp_path / "cut")
    wait_for_records(tmp_path / "cut" / "problems.jsonl", process, 6)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    kept = read_records(tmp_path / "cut")
    assert 6 <= len(kept) < 20
    lines = (tmp_path / "cut" / "problems.jsonl").read_bytes().splitlines()[: len(kept)]
    if number != signal.SIGKILL:
        partial = json.loads((tmp_path / "cut" / "summary.json").read_text())
        assert partial["complete"] is False
        assert f"What is finished is in {tmp_path / 'cut'}; go on with:" in err
        assert "--resume\n" in err
        assert sum(arm["n"] for arm in partial["arms"].values()) == len(kept)
    again = start(talker_folder, sums, tmp_path / "cut", "--resume")
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert f"{len(kept)} records are there" in err
    ended = (tmp_path / "cut" / "problems.jsonl").read_bytes().splitlines()
    assert ended[: len(kept)] == lines, "what was finished is as it was, its seconds too: nothing was done again"
    assert len(ended) == len({(r["problem_id"], r["arm"]) for r in read_records(tmp_path / "cut")}) == 20
    assert summary_of(tmp_path / "cut") == summary_of(undisturbed)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_the_same(talker_folder, whole, tmp_path):
    """SIGKILL at seeded random moments until the run gets through; nothing that was finished is done again."""
    sums, undisturbed = whole
    rng = random.Random(7)
    output, kept, kills = tmp_path / "cut", b"", 0
    while True:
        process = start(talker_folder, sums, output, "--resume")
        try:
            process.wait(timeout=rng.uniform(2, 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        records = output / "problems.jsonl"
        now = records.read_bytes() if records.exists() else b""
        assert now.startswith(kept)
        kept = now[: now.rfind(b"\n") + 1]
        if process.returncode == 0:
            break
        assert kills < 40
    assert kills >= 1
    assert len(read_records(output)) == 20
    assert summary_of(output) == summary_of(undisturbed)
