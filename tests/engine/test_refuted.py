"""Texts that state something false: given up in a tree, worth nothing in a vote, told in the trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from colasearch.benchmarks.harness.arms import ArmSettings
from colasearch.benchmarks.harness.drawing import Job, sample
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import Choosing, SearchSettings, WorldConfig
from colasearch.engine.texts.choosing import states_false
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.trees.world import LatentWorld
from colasearch.problem import Problem
from colasearch.tasks import get_task

PROBLEMS = [Problem.from_text(f"{i}+1?") for i in range(6)]
WORLD = WorldConfig(max_tokens=24, max_step_tokens=4, references=2)


def false_at(text: str) -> bool:
    """A rule that a random model's texts break now and then, and that later text cannot make good."""
    return any(ord(c) % 5 == 3 for c in text)


@pytest.fixture
def refuting(monkeypatch):
    """Texts with some characters state something false; some tokens end a text, whose answer is 7."""
    asked: list[bool] = []

    def rule(text: str, *, complete: bool, start: int = 0) -> str | None:
        asked.append(complete)
        return text if false_at(text) else None

    monkeypatch.setattr("colasearch.engine.texts.choosing.false_equation", rule)
    monkeypatch.setattr(TextEnds, "is_finished", lambda self, tokens: bool(tokens) and tokens[-1] % 7 == 0)
    for module in ("colasearch.engine.trees.forest", "colasearch.benchmarks.harness.samples"):
        monkeypatch.setattr(f"{module}.answer_of", lambda text, task: "7")
    return asked


@pytest.mark.parametrize("rollouts", [False, True])
def test_nothing_follows_a_refuted_step(wide_lm, refuting, rollouts):
    config = replace(WORLD, rollouts=rollouts, branch_below=0.5)
    world = LatentWorld(wide_lm, config, seed=0)
    states, _, _ = world.root(PROBLEMS)
    steps = np.repeat(states, 8), np.tile(np.arange(8), len(states))
    states, reward, terminal, _, value = world.expand(*steps)
    nodes = [world.nodes[s] for s in states.tolist()]
    refuted = [false_at(world.ends.decode(node.written)) for node in nodes]
    assert any(refuted)
    assert not all(refuted)
    for node, wrong, end, earned, worth in zip(nodes, refuted, terminal, reward, value, strict=True):
        assert node.refuted == wrong
        if wrong:
            assert end
            assert earned == worth == 0
            assert node.next_token_A is None
            # The step ends with the first token that makes the text false.
            before = len(node.written) - len(node.tokens)
            shorter = [world.ends.decode(node.written[:end]) for end in range(before + 1, len(node.written))]
            assert not any(map(false_at, shorter))
    unchecked = LatentWorld(wide_lm, replace(config, choosing=Choosing.checking(False)), seed=0)
    roots, _, _ = unchecked.root(PROBLEMS)
    _, _, ends, _, _ = unchecked.expand(np.repeat(roots, 8), steps[1])
    assert ends.sum() < terminal.sum()
    assert not any(node.refuted for node in unchecked.nodes.values())


@pytest.mark.parametrize("rollouts", [False, True])
def test_refuted_texts_are_worth_nothing_and_the_trace_says_so(wide_lm, refuting, rollouts):
    settings = SearchSettings(sims=24, world=replace(WORLD, rollouts=rollouts, branch_below=0.5), searcher="puct")
    traces = [done.trace for done in search_problems(wide_lm, PROBLEMS, settings)]
    texts = [text for trace in traces for text in trace.texts]
    assert any(text.value > 0 for text in texts)
    assert any(false_at(text.text) for text in texts)
    assert all(text.value == 0 for text in texts if false_at(text.text))
    ends = [node.end for trace in traces for node in trace.nodes]
    assert "refuted" in ends
    for trace in traces:
        for node in trace.nodes:
            assert node.parent < 0 or not trace.nodes[node.parent].end  # nothing stands below an end
            assert (node.end == "refuted") <= (not node.priors)
    assert True in refuting  # whole texts are asked about as such,
    assert False in refuting  # and beginnings as beginnings


@pytest.mark.parametrize("check", [False, True])
def test_what_a_check_will_settle_is_an_open_choice_even_where_the_model_is_sure(wide_lm, monkeypatch, check):
    monkeypatch.setattr("colasearch.engine.texts.choosing.in_result", lambda text: True)
    config = replace(WORLD, rollouts=False, branch_below=0.01, choosing=Choosing.checking(check))
    world = LatentWorld(wide_lm, config, seed=0)
    states, _, _ = world.root(PROBLEMS)
    states = world.expand(np.repeat(states, 4), np.tile(np.arange(4), len(states)))[0]
    lengths = {len(world.nodes[s].tokens) for s in states.tolist()}
    assert (lengths == {1}) == check  # a random model is nowhere sure of a token to 0.999


@pytest.mark.parametrize("which", ["some", "all", "none"])
def test_actions_that_cannot_be_right_are_not_tried(wide_lm, monkeypatch, which):
    """Of the tokens after a state; where none is left, nothing follows."""
    wrong = {"some": false_at, "all": lambda text: True, "none": lambda text: False}[which]
    monkeypatch.setattr("colasearch.engine.texts.choosing.in_result", lambda text: bool(text))
    monkeypatch.setattr("colasearch.engine.texts.choosing.infeasible_result", lambda text, start: wrong(text[-1:]))
    monkeypatch.setattr("colasearch.engine.texts.choosing.false_equation", lambda text, complete, start=0: None)
    world = LatentWorld(wide_lm, replace(WORLD, rollouts=False, branch_below=0.5), seed=0)
    states, logits, _ = world.root(PROBLEMS)
    assert np.isfinite(logits).all()  # nothing is written yet
    states, reward, terminal, logits, _ = world.expand(np.repeat(states, 4), np.tile(np.arange(4), len(states)))
    masked = 0
    for state, end, earned, row in zip(states.tolist(), terminal, reward, logits, strict=True):
        node = world.nodes[state]
        if which == "all":
            assert end
            assert node.refuted
            assert earned == 0
            continue
        assert not node.refuted
        tokens = node.next_token_A.tolist()
        infeasible = [wrong(world.ends.decode((*node.written, token))[-1:]) for token in tokens]
        assert np.isneginf(row).tolist() == infeasible
        assert node.prior_A.sum() == pytest.approx(1)
        assert (node.prior_A > 0).all()  # how probable a text is does not depend on what is tried
        masked += sum(infeasible)
    assert (masked > 0) == (which == "some")


def test_best_of_n_has_no_use_for_refuted_texts_and_majority_is_as_it_was(wide_lm, refuting):
    jobs = [Job(problem, texts=6) for problem in PROBLEMS]

    def traces(check: bool, arm: str):
        settings = ArmSettings(world=replace(WORLD, choosing=Choosing.checking(check)))
        return [one[arm].trace for one in sample(wide_lm, jobs, (arm,), settings)]

    scored = [text for trace in traces(True, "best_of_n") for text in trace.texts]
    assert any(false_at(text.text) for text in scored)
    assert all((text.value == 0) == false_at(text.text) for text in scored)
    assert all(text.value > 0 for trace in traces(False, "best_of_n") for text in trace.texts)
    assert traces(True, "majority") == traces(False, "majority")


def test_tasks_whose_equations_are_no_claims_are_left_alone():
    assert states_false(get_task("math"), "so 3 + 4 = 8")
    assert not states_false(get_task("procedural"), "so 3 + 4 = 8")


def test_shares_are_products_of_the_priors_on_the_way(wide_lm, refuting):
    world = replace(WORLD, rollouts=False, references=0, branch_below=0.5)
    settings = SearchSettings(sims=16, world=world, searcher="puct")
    found = 0
    for done in search_problems(wide_lm, PROBLEMS, settings):
        nodes = done.trace.nodes
        shares = [1.0]
        for node in nodes[1:]:
            shares.append(shares[node.parent] * node.prior)
        ended = [share for node, share in zip(nodes, shares, strict=True) if node.end == "answer"]
        found += len(ended)
        assert sorted(text.share for text in done.trace.texts) == pytest.approx(sorted(ended), rel=1e-3, abs=1e-5)
    assert found > 3


def test_best_of_n_thinks_less_of_texts_that_leave_numbers_out_as_searches_do(wide_lm, refuting, monkeypatch):
    def scores(left: list[str], check: bool = True) -> list[float]:
        monkeypatch.setattr("colasearch.engine.texts.choosing.unused_numbers", lambda problem, text: left)
        settings = ArmSettings(world=replace(WORLD, choosing=Choosing.checking(check)))
        done = sample(wide_lm, [Job(problem, texts=4) for problem in PROBLEMS], ("best_of_n",), settings)
        return [text.value for one in done for text in one["best_of_n"].trace.texts]

    full = scores([])
    assert sum(full) > 0
    assert scores(["1", "2"]) == pytest.approx([value * np.exp(-2) for value in full], abs=1e-5)
    assert scores(["1", "2"], check=False) == scores([], check=False)


@pytest.mark.parametrize(("searcher", "sims"), [("weighted_vote", 24), ("rebase", 12), ("puct", 12)])
def test_votes_of_all_kinds_of_searches_think_less_of_texts_that_leave_numbers_out(
    wide_lm, refuting, monkeypatch, searcher, sims
):
    monkeypatch.setattr("colasearch.engine.texts.choosing.false_equation", lambda text, complete, start=0: None)
    for module in ("trees.forest", "trees.nodes", "trees.world"):
        monkeypatch.setattr(f"colasearch.engine.{module}.answer_of", lambda text, task: str(len(text) % 3))
    settings = SearchSettings(sims=sims, world=replace(WORLD, rollouts=True), searcher=searcher)

    def weights(left: list[str], answer: str) -> list[dict[str, float]]:
        """Each problem's answers with their shares of the vote; texts with ``answer`` leave ``left`` out."""
        monkeypatch.setattr(
            "colasearch.engine.texts.choosing.unused_numbers",
            lambda problem, text: left if str(len(text) % 3) == answer else [],
        )
        done = sorted(search_problems(wide_lm, PROBLEMS, settings), key=lambda one: one.problem.id)
        return [{c.answer: c.weight for c in one.result.candidates} for one in done]

    compared = 0
    for before, after in zip(weights([], "0"), weights(["1", "2"], "0"), strict=True):
        assert before.keys() == after.keys()
        if "0" in before and len(before) > 1:
            odds = [share["0"] / (1 - share["0"]) for share in (before, after)]
            assert odds[1] == pytest.approx(odds[0] * np.exp(-2))
            compared += 1
    assert compared > 1
