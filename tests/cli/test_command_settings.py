"""Flags, YAML files and Python make the same typed settings of a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from colasearch.cli import bench_run, solve
from colasearch.cli.main import main
from colasearch.cli.settings import BenchSettings, SolveSettings


@pytest.fixture
def made(monkeypatch):
    """Settings that commands have made; nothing is run."""
    found = []

    def note(settings, context):
        found.append(settings)
        return 0

    for module in (solve, bench_run):
        monkeypatch.setattr(module, "run", note)
    return found


def test_flags_left_out_are_the_defaults_that_python_has(made):
    assert main(["solve", "p.txt"]) == 0
    assert main(["bench", "countdown"]) == 0
    assert made == [SolveSettings(file="p.txt"), BenchSettings(name="countdown")]


def test_flags_yaml_and_python_say_the_same(made, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("sims: 5\nsearcher: puct\nmax-seconds: 2.5\ncheck-steps: false\noutput: runs/x\n")
    flags = ["--sims", "5", "--searcher", "puct", "--max-seconds", "2.5", "--no-check-steps", "--output", "runs/x"]
    for command in (["solve", "p.txt"], ["bench", "svamp"]):
        assert main([*command, *flags, "--option", "pb_c_init=2"]) == 0
        assert main([*command, "--config", str(config), "--option", "pb_c_init=2"]) == 0
    same = {"max_seconds": 2.5, "check_steps": False, "output": Path("runs/x"), "options": {"pb_c_init": 2}}
    one = SolveSettings(file="p.txt", sims=5, searcher="puct", **same)
    other = BenchSettings(name="svamp", sims=(5,), searcher=("puct",), **same)
    assert made == [one, one, other, other]


def test_a_bench_compares_its_searcher_once(made):
    assert main(["bench", "svamp", "--searcher", "majority"]) == 0
    assert made[0].all_arms == ("majority", "greedy", "best_of_n")
