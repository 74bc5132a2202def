"""The real ScienceWorld, where it is installed: server and Java are lost in mid-episode, and the episodes go on."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from colasearch.benchmarks.measurements import kill_servers

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scienceworld") is None or shutil.which("java") is None,
    reason="scienceworld or Java is not installed",
)


def test_a_lost_server_and_a_lost_java_cost_one_replay_each():
    found = kill_servers.main(
        ["--environment", "scienceworld:lifespan-longest-lived", "--episodes", "2", "--kills", "2"]
    )
    assert {name: found[name] for name in ("episodes", "kills", "replays", "lost", "different", "solved")} == {
        "episodes": 2, "kills": 2, "replays": 2, "lost": 0, "different": 0, "solved": 2,
    }  # fmt: skip
