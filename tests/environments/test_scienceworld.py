"""The real ScienceWorld, where it is installed: its Java is lost in mid-episode, and the episode goes on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest

from colasearch.benchmarks.measurements.kill_servers import targets
from colasearch.environments import Start, catalogue_of, find

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scienceworld") is None or shutil.which("java") is None,
    reason="scienceworld or Java is not installed",
)


def test_java_killed_in_mid_episode_costs_one_replay():
    kind, _ = find("scienceworld", timeout=60.0)
    with closing(kind):
        catalogue = catalogue_of(kind)
        assert len(catalogue.tasks) == 30
        assert len(catalogue.starts("lifespan-longest-lived", "dev")) == 31
        environment = catalogue.make()
        environment.reset(Start("lifespan-longest-lived", 62))
        gold = environment.gold()
        assert gold
        outcome = None
        for number, action in enumerate(gold):
            if number == 1:
                pids = targets(environment.inner.pool.servers[0])
                assert len(pids) == 2
                os.kill(pids[1], signal.SIGKILL)
            outcome = environment.step(action)
        assert outcome is not None
        assert (outcome.done, outcome.success) == (True, True)
        assert environment.inner.replays == 1
        last = targets(environment.inner.pool.servers[0])
    assert not any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in last)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
