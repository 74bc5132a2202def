"""Python functions that mirror the commands."""

from __future__ import annotations

import json

import click
import pytest

import colasearch
from colasearch.cli.python import _words_of
from colasearch.cli.solve import command as solve_command
from colasearch.errors import InputError, PrerequisiteError
from colasearch.storage.traces import Trace

TEXTS = ["Make 24 from 3, 5, 9.", "Make 30 from 2, 6, 9."]


@pytest.fixture(scope="module")
def lm():
    return colasearch.load("countdown-tiny", device="cpu")


def test_solve_search_and_solve_all_find_the_same(lm, tmp_path):
    config = colasearch.WorldConfig(max_tokens=40)
    one = colasearch.solve(TEXTS[0], lm, sims=3, config=config)
    searched = colasearch.search(TEXTS[0], lm, sims=3, config=config)
    found = {result.problem_id: result for result in colasearch.solve_all(TEXTS, lm, sims=3, config=config)}
    assert searched.result.to_json() | {"seconds": 0} == one.to_json() | {"seconds": 0}
    assert found[one.problem_id].to_json() | {"seconds": 0} == one.to_json() | {"seconds": 0}
    assert len(found) == 2
    searched.trace.write(tmp_path / "trace.json")
    assert Trace.read(tmp_path / "trace.json") == searched.trace
    assert list(colasearch.solve_all([], lm)) == []
    with pytest.raises(InputError, match="context"):
        list(colasearch.solve_all(["x" * 100_000], lm))


def test_bench_runs_the_command(tmp_path, capsys):
    how = {"model": "countdown-tiny", "limit": 1, "sims": [1, 2], "arms": "greedy", "max_tokens": 24, "traces": False}
    folder = colasearch.bench("countdown", output=tmp_path / "run", **how)
    assert folder == tmp_path / "run"
    assert json.loads((folder / "manifest.json").read_text())
    with pytest.raises((InputError, PrerequisiteError), match="resume"):
        colasearch.bench("countdown", output=folder, **how)
    assert colasearch.bench("countdown", output=folder, resume=True, **how) == folder


def test_train_runs_the_command(tmp_path, capsys):
    path = colasearch.train("problems", output=tmp_path / "p.jsonl", kind="countdown", count=3, seed=0)
    assert len(path.read_text().splitlines()) == 3
    with pytest.raises(InputError, match="Did you mean policy"):
        colasearch.train("polcy", output=tmp_path)
    with pytest.raises(InputError, match=r"no option 'modle'.*model"):
        colasearch.train("policy", output=tmp_path, modle="x")
    with pytest.raises(InputError, match="model"):
        colasearch.train("policy", output=tmp_path)


def test_options_become_what_is_typed():
    given = {
        **{"sims": 4, "check_steps": False, "complete": True, "resume": False, "values": ["a.py", "b.py*2"]},
        **{"option": {"gumbel_scale": 0}, "columns": {"problem": "Q", "answer": "A"}, "seed": None, "as_json": True},
    }
    assert list(_words_of(solve_command, given)) == [
        *("--sims", "4", "--no-check-steps", "--complete", "--values", "a.py", "--values", "b.py*2"),
        *("--option", "gumbel_scale=0", "--columns", "problem=Q,answer=A", "--json"),
    ]
    assert isinstance(solve_command, click.Command)
