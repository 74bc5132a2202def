"""A search that ends before any text does writes its most promising one to its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colasearch.engine.scheduler import Searched, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem

PROBLEMS = [Problem.from_text(f"What is {i} plus {i + 1}?") for i in range(5)]
LENGTH = 14
WORLD = WorldConfig(max_tokens=20, max_step_tokens=3, rollouts=False, references=0)
SETTINGS = SearchSettings("puct", sims=3, world=WORLD)


@pytest.fixture
def ending(monkeypatch):
    """Texts end after so many tokens, and all have the same answer."""
    monkeypatch.setattr(TextEnds, "is_finished", lambda self, tokens: len(tokens) >= LENGTH)
    monkeypatch.setattr("colasearch.engine.trees.forest.answer_of", lambda text, task: "7")


def searched(lm: LatentLM, settings: SearchSettings, slots: int = 5) -> dict[str, Searched]:
    return {done.problem.id: done for done in search_problems(lm, PROBLEMS, settings, slots=slots)}


def with_world(**changes) -> SearchSettings:
    return replace(SETTINGS, world=replace(SETTINGS.world, **changes))


@pytest.mark.parametrize("searcher", ["puct", "gumbel"])
def test_an_answer_is_given_and_its_tokens_are_counted(wide_lm, ending, searcher):
    without = searched(wide_lm, replace(with_world(complete=False), searcher=searcher))
    completed = searched(wide_lm, replace(SETTINGS, searcher=searcher))
    for key, done in completed.items():
        before = without[key]
        assert before.result.answer is None
        assert before.trace.texts == ()
        assert done.result.answer == "7"
        assert len(done.trace.texts) == 1
        assert done.trace.nodes == before.trace.nodes
        assert done.result.stop == before.result.stop
        assert done.result.sims == before.result.sims
        # It goes on from a node of the tree, the one at the end of the most visited path.
        written = done.result.generated_tokens - before.result.generated_tokens
        assert 1 <= LENGTH - written <= 3 * 3
        slot = 0
        while kids := [i for i, n in enumerate(done.trace.nodes) if n.parent == slot and not n.end]:
            slot = max(kids, key=lambda i: (done.trace.nodes[i].visits, -i))
        path = []
        while slot > 0:
            path[:0] = done.trace.nodes[slot].tokens
            slot = done.trace.nodes[slot].parent
        assert len(path) + written == LENGTH
        begun = TextEnds(wide_lm.base.tokenizer, set()).decode(path).rstrip("\N{REPLACEMENT CHARACTER}")
        assert done.trace.texts[0].text.startswith(begun)


def test_it_depends_on_no_batch_mates(wide_lm, ending):
    alone, together = searched(wide_lm, SETTINGS, 1), searched(wide_lm, SETTINGS, 5)
    for key, done in alone.items():
        assert done.trace == together[key].trace


def test_a_search_with_a_finished_text_or_without_tokens_left_goes_no_further(wide_lm, ending):
    enough = replace(SETTINGS, sims=100)
    without = searched(wide_lm, replace(enough, world=replace(WORLD, complete=False)))
    found = {key for key, done in without.items() if done.trace.texts}
    assert found
    completed = searched(wide_lm, enough)
    assert {key: completed[key].trace for key in found} == {key: without[key].trace for key in found}
    spent = searched(wide_lm, replace(SETTINGS, max_tree_tokens=3))
    assert all(done.result.answer is None for done in spent.values())


def test_what_cannot_end_has_no_answer(wide_lm):
    """The text is cut off at its longest; the search ends all the same."""
    settings = with_world(max_tokens=9)
    for done in searched(wide_lm, settings).values():
        assert done.result.answer is None
        assert done.trace.texts == ()
