"""A few points of the campaign of file faults; the whole of it is run by hand (docs/cluster.md)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the library that counts")


@pytest.mark.parametrize("what", ["bench:full", pytest.param("actions:kill", marks=pytest.mark.slow)])
def test_a_run_disturbed_at_a_drawn_operation_ends_as_an_undisturbed_one(what):
    """The disk fills under one kind of run, another is killed."""
    script = Path(__file__).parent.parent.parent / "scripts" / "file_faults.py"
    command = [sys.executable, str(script), what, "--points", "1", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    (told,) = map(json.loads, done.stdout.splitlines())
    assert told["command"] == what.partition(":")[0]
    assert told["wrong"] == []
    assert told["tried"] == 1
    assert told["operations"] > 50, "operations are not counted"
