"""Games of TextWorld, where it is installed: made once, solved by their own solutions, copied."""

from __future__ import annotations

import importlib.util

import pytest

from colasearch.environments import Start, catalogue_of, find
from colasearch.errors import PrerequisiteError

installed = pytest.mark.skipif(
    importlib.util.find_spec("textworld") is None or importlib.util.find_spec("jericho") is None,
    reason="textworld is not installed",
)


@installed
def test_a_game_is_made_once_solved_by_its_solution_and_copied(tmp_path, monkeypatch):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path))
    catalogue = catalogue_of(find("textworld")[0])
    assert catalogue.has == {"valid_actions", "copy", "gold"}
    environment = catalogue.make()
    start = Start("coin_collector_5", 1000)
    first = environment.reset(start)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("game.*")}
    gold = environment.gold()
    assert gold
    other = environment.copy()
    assert other.step("undo").observation == "That is no command in this world."
    seen = []
    for action in gold:
        assert action in environment.valid_actions()
        seen.append(environment.step(action))
    assert sum(outcome.reward for outcome in seen) == pytest.approx(1)
    assert (seen[-1].done, seen[-1].success) == (True, True)
    assert not any(">" in outcome.observation for outcome in seen)
    assert [other.step(action) for action in gold] == seen
    other.close()
    assert environment.reset(start) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("game.*")} == made
    environment.close()


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match=r"pip install '\.\[textworld\]'"):
        find("textworld")
