"""The script that measures the engine on a GPU, end to end on a CPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).resolve().parent.parent.parent / "jobs"


@pytest.fixture
def check(monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_check", JOBS / "gpu_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", module)
    spec.loader.exec_module(module)
    return module


def test_every_part_runs_and_is_written(check, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--tiny", "--output", str(tmp_path)])
    assert check.main() == 0
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert (found["errors"], found["left_out"]) == ({}, [])
    parts = found["parts"]
    assert parts["kernel over block tables"] == {"served": False}
    for engine in ("tree", "paged"):
        assert parts[f"random-5m, 3 rows: plain, {engine}"]["tokens_per_s"] > 0
        assert parts[f"random-5m: search, {engine}"]["tokens"] > 0
        kernels = parts[f"random-5m: kernels of a step, {engine}"]
        assert kernels["operations_per_step"] > 50
        assert kernels["kernels_per_step"] == 0  # none on a CPU
        assert "aten::" in (tmp_path / f"profile-random-5m-{engine}.txt").read_text()
    assert parts["random-5m, 3 rows: generate, static cache"]["tokens_per_s"] > 0
    assert parts["random-5m, 3 rows: roofline"]["tokens_per_s_by_bytes"] > 0


def test_a_part_that_fails_says_why_and_time_that_is_up_leaves_parts_out(check, tmp_path):
    report = check.Report(tmp_path / "gpu_check.json", until=1e9)
    assert report.part("bad", lambda: 1 // 0) is None
    assert report.part("good", lambda: 3) == 3
    report.until = -1.0
    report.part("late", lambda: 5)
    found = json.loads(report.path.read_text())
    assert found["errors"] == {"bad": "ZeroDivisionError: integer division or modulo by zero"}
    assert (found["parts"], found["left_out"]) == ({"good": 3}, ["late"])


def test_the_shell_script_asks_for_a_folder():
    done = subprocess.run(["bash", str(JOBS / "gpu_check.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    subprocess.run(["bash", "-n", str(JOBS / "gpu_check.sh")], check=True)
