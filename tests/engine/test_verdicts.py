"""What a result says of itself: solved or exhausted, accepted or rejected, cut, and why there is no answer."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch

from colasearch.benchmarks.harness.arms import ArmSettings
from colasearch.benchmarks.harness.drawing import Job, sample
from colasearch.engine.prompt import prompt_of
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.texts.finished import Finished
from colasearch.engine.texts.vote import vote
from colasearch.engine.verdict import verdict_of, why_no_answer
from colasearch.model.known import DEFAULT_MODEL, KNOWN, model_for
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, StopReason
from colasearch.solving import search_one, solve

HARD = Problem.from_text("Make 31 from 5, 6, 1.", "countdown", {"numbers": [5, 6, 1], "target": 31})


@pytest.fixture(scope="module")
def tiny() -> LatentLM:
    torch.set_num_threads(1)
    return LatentLM.from_pretrained("countdown-tiny", "cpu")


def test_a_rejected_text_is_not_searched_again(tiny):
    how = SearchSettings(sims=16, stop_when_solved=False, world=WorldConfig(max_tokens=128))
    done = {
        revisit: search_one(tiny, HARD, replace(how, options=options))
        for revisit, options in ((False, {}), (True, {"revisit": True}))
    }
    for one in done.values():
        assert one.result is not None
        assert one.trace is not None
        assert one.result.stop in (StopReason.BUDGET, StopReason.EXHAUSTED)
    new, old = done[False], done[True]
    assert new.result.generated_tokens > 3 * old.result.generated_tokens
    assert all(node.visits <= 1 for node in new.trace.nodes if node.end)
    assert any(node.visits > 1 for node in old.trace.nodes if node.end)
    assert len({text.text for text in new.trace.texts}) == len(new.trace.texts) > len(old.trace.texts)


def test_an_accepted_answer_ends_the_search_as_solved(tiny):
    result = solve(HARD, tiny, searcher="puct", sims=64)
    assert (result.stop, result.verdict, result.why) == (StopReason.SOLVED, True, None)
    assert verdict_of(HARD, result.answer) is True


def test_a_search_of_which_nothing_is_left_is_exhausted_and_says_what_to_raise(tiny):
    result = solve(HARD, tiny, sims=4000, config=WorldConfig(max_tokens=3, complete=False))
    assert (result.stop, result.answer, result.verdict) == (StopReason.EXHAUSTED, None, None)
    assert result.sims < 4000
    assert result.cut > 0
    assert result.why == f"{result.cut} texts were cut at the limit of 3 tokens: raise --max-tokens"
    assert {"stop": "exhausted", "cut": result.cut, "why": result.why}.items() <= result.to_json().items()


def test_a_shipped_model_is_asked_in_words_that_it_knows_and_held_to_the_rule(tiny):
    """It was never trained on "exactly once"."""
    both = [replace(HARD, data={**HARD.data, **more}) for more in ({}, {"use": "all"})]
    assert prompt_of(tiny, both[0], 8) == prompt_of(tiny, both[1], 8)
    other = LatentLM("a model of one's own", tiny.base, tiny.latents)
    assert prompt_of(other, both[0], 8) != prompt_of(other, both[1], 8)
    loose = replace(HARD, data={"numbers": [5, 6, 1, 9], "target": 31})
    strict = replace(loose, data={**loose.data, "use": "all"})
    assert [verdict_of(one, "5*6+1") for one in (loose, strict)] == [True, False]
    result = solve(both[1], tiny, searcher="puct", sims=64)
    assert (result.stop, result.verdict) == (StopReason.SOLVED, True)


@pytest.mark.parametrize("searcher", ["greedy", "majority", "best_of_n", "weighted_vote"])
def test_a_simulation_of_a_sampling_searcher_is_one_whole_text_as_in_bench(tiny, searcher):
    world = WorldConfig(max_tokens=64)
    done = search_one(tiny, HARD, SearchSettings(searcher=searcher, sims=5, world=world))
    texts = 1 if searcher == "greedy" else 5
    (drawn,) = sample(tiny, [Job(HARD, texts=texts)], (searcher,), ArmSettings(world=world))
    assert done.result is not None
    assert (done.result.sims, done.result.effective_branching) == (texts, None)
    assert (done.result.answer, done.result.text) == (drawn[searcher].answer, drawn[searcher].text)
    assert replace(done.trace, stop="") == replace(drawn[searcher].trace, stop="")
    assert sum(c.weight for c in done.result.candidates) == pytest.approx(1)
    assert done.result.verdict is False
    assert done.result.stop is StopReason.BUDGET


def test_ctrl_c_keeps_the_texts_drawn(tiny, handlers):
    def press(status: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    result = solve(HARD, tiny, searcher="majority", sims=5, on_status=press)
    assert result.stop is StopReason.INTERRUPTED
    assert (result.answer, result.why) == (None, "the search was interrupted")


def test_one_accepted_text_outweighs_any_number_of_rejected_ones():
    rejected = [Finished(i, f"no {i}", "5*6", 0.1, weight=0.1) for i in range(20)]
    accepted = Finished(20, "yes", "5*6+1", 1.0)
    candidates, text = vote([*rejected, accepted], "countdown")
    assert [(c.answer, c.weight, c.count) for c in candidates] == [("5*6+1", 1.0, 1), ("5*6", 0.0, 20)]
    assert text == "yes"
    assert vote([*rejected, accepted], "countdown", "equal")[0][0].answer == "5*6"
    assert vote([*rejected, accepted], "math")[0][0].answer == "5*6"


@pytest.mark.parametrize(
    ("stop", "counts", "says"),
    [
        (StopReason.BUDGET, (0, 0, 0), "the simulations were spent: raise --sims"),
        (StopReason.BUDGET, (2, 0, 0), "no answer found in 2 finished texts: none has a \\boxed{...}; more texts ("),
        (StopReason.MAX_SECONDS, (0, 1, 0), "1 text was cut at the limit of 9 tokens: raise --max-tokens; the time"),
        (StopReason.EXHAUSTED, (0, 0, 3), "3 texts were given up for stating something false"),
        (StopReason.EXHAUSTED, (0, 0, 0), "no text came to its end: raise --sims or --max-tokens"),
    ],
)
def test_why_there_is_no_answer(stop, counts, says):
    finished, cut, refuted = counts
    assert says in why_no_answer(stop, finished=finished, cut=cut, refuted=refuted, max_tokens=9)


def test_a_task_with_an_answer_of_its_own_misses_no_box():
    counts = {"finished": 1, "cut": 0, "refuted": 0, "max_tokens": 9}
    said = why_no_answer(StopReason.BUDGET, **counts, boxed=False)
    assert "in 1 finished text: the task's answer finds nothing in them" in said
    assert "box" not in said


def test_problems_go_to_the_model_made_for_their_task(monkeypatch):
    assert (model_for("countdown"), model_for("math")) == ("countdown-tiny", DEFAULT_MODEL)
    made = replace(KNOWN["countdown-tiny"], name="other", tasks=("procedural",))
    monkeypatch.setitem(KNOWN, "other", made)
    assert model_for("procedural") == "other"
    assert solve("Make 52 from 4, 7, 8.", searcher="greedy").model == "countdown-tiny"
