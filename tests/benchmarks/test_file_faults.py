"""A few points of the campaign of file faults; the whole of it is run by hand (docs/cluster.md)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the library that counts")


@pytest.mark.parametrize(("name", "kinds", "seed"), [("bench", "full", 1), ("actions", "kill", 2)])
def test_a_run_disturbed_at_drawn_operations_ends_as_an_undisturbed_one(name, kinds, seed):
    script = Path(__file__).parent.parent.parent / "scripts" / "file_faults.py"
    command = [sys.executable, str(script), name, "--kinds", kinds, "--points", "1", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert told["tried"] == 1
    assert told["operations"] > 50, "operations are not counted"
