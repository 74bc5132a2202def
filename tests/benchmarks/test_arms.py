"""Arms on a tiny real model: matched tokens, independence of the batch, choices, and no sight of gold answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from colasearch.benchmarks.harness import arms, choosing, drawing
from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings, search
from colasearch.benchmarks.harness.drawing import Job, sample
from colasearch.benchmarks.harness.samples import Sampler
from colasearch.engine.settings import Choosing, WorldConfig
from colasearch.problem import Problem
from colasearch.storage.traces import Trace
from colasearch.tasks import prompt_tokens

SETTINGS = ArmSettings(actions="sampled", world=WorldConfig(max_tokens=12))
PROBLEMS = [Problem(f"sum/{i}", f"What is {i}+2?") for i in range(5)]
BOTH = ("majority", "best_of_n")
ALL = (*BOTH, "weighted_vote")


def content(result: ArmResult) -> tuple[Any, ...]:
    """What must not depend on batch or time."""
    return (result.answer, result.text, result.texts, result.generated_tokens, result.model_calls, result.candidates)


def test_baselines_reach_the_search_s_tokens_and_pass_them_by_less_than_a_text(talker):
    searched = list(search(talker, PROBLEMS, "gumbel", 8, SETTINGS, slots=2))
    assert {r.problem.id for r in searched} == {p.id for p in PROBLEMS}
    jobs = [Job(r.problem, tokens=r.generated_tokens) for r in searched]
    for job, results in zip(jobs, sample(talker, jobs, BOTH, SETTINGS), strict=True):
        for result in results.values():
            assert job.tokens <= result.generated_tokens < job.tokens + SETTINGS.world.max_tokens
            assert result.token_budget == job.tokens
            assert result.stop == "budget"
            lengths = [len(node.tokens) for node in result.trace.nodes[1:]]
            assert sum(lengths) == result.generated_tokens
            assert sum(lengths[:-1]) < job.tokens
            assert result.sims == len(lengths)


@pytest.mark.parametrize("tokens", [1, 3, 20, 100, 301])
def test_the_last_text_is_the_one_that_reaches_the_budget(talker, tokens):
    (results,) = sample(talker, [Job(PROBLEMS[0], tokens=tokens)], BOTH, SETTINGS)
    lengths = [len(node.tokens) for node in results["majority"].trace.nodes[1:]]
    assert sum(lengths) >= tokens
    assert sum(lengths[:-1]) < tokens


@pytest.mark.parametrize("eager", [0.0, 5.0])
def test_how_many_are_drawn_together_changes_nothing(talker, monkeypatch, eager):
    jobs = [Job(p, tokens=40) for p in PROBLEMS]
    expected = sample(talker, jobs, BOTH, SETTINGS)
    monkeypatch.setattr(drawing, "EAGER", eager)  # 5: far too many, which must be left out again
    monkeypatch.setattr(drawing, "AT_ONCE", 7)
    for before, after in zip(expected, sample(talker, jobs, BOTH, SETTINGS), strict=True):
        for arm in BOTH:
            assert after[arm].texts == before[arm].texts
            assert after[arm].generated_tokens == before[arm].generated_tokens
            assert after[arm].answer == before[arm].answer


def test_samples_do_not_depend_on_batch_mates_or_how_many_follow(talker):
    jobs = [Job(p, tokens=40) for p in PROBLEMS]
    together = sample(talker, jobs, BOTH, SETTINGS)
    for job, results in zip(jobs, together, strict=True):
        (alone,) = sample(talker, [job], BOTH, SETTINGS)
        narrow = replace(SETTINGS, world=replace(SETTINGS.world, rows=2))
        (by_twos,) = sample(talker, [job], BOTH, narrow)
        for arm in BOTH:
            assert content(alone[arm]) == content(results[arm])
            assert content(by_twos[arm]) == content(results[arm])
        (more,) = sample(talker, [replace(job, tokens=90)], BOTH, SETTINGS)
        shared = len(results["majority"].texts)
        assert more["majority"].texts[:shared] == results["majority"].texts


def test_seeds_and_problems_give_other_texts(talker):
    (one,) = sample(talker, [Job(PROBLEMS[0], texts=12)], ("majority",), SETTINGS)
    (other,) = sample(talker, [Job(PROBLEMS[0], texts=12)], ("majority",), replace(SETTINGS, seed=1))
    assert one["majority"].texts != other["majority"].texts
    assert len(set(one["majority"].texts)) > 1
    assert one["majority"].sims == 12


def test_greedy_is_one_text_the_most_probable(talker):
    results = sample(talker, [Job(p, texts=1) for p in PROBLEMS], ("greedy",), SETTINGS)
    for problem, result in zip(PROBLEMS, results, strict=True):
        assert result["greedy"].sims == 1
        (again,) = sample(talker, [Job(problem, texts=1)], ("greedy",), replace(SETTINGS, seed=9))
        assert content(again["greedy"]) == content(result["greedy"])
    tokens = prompt_tokens(talker.base.tokenizer, PROBLEMS[0])
    expected: list[int] = []
    for _ in range(12):
        logits = talker.base.model(torch.tensor([[*tokens, *expected]])).logits[0, -1]
        expected.append(int(logits.argmax()))
        if expected[-1] in talker.base.end_ids:
            break
    assert list(results[0]["greedy"].trace.nodes[1].tokens) == expected


def test_greedy_takes_the_most_probable_code(lm):
    settings = ArmSettings(world=WorldConfig(max_tokens=10))
    (result,) = sample(lm, [Job(PROBLEMS[0], texts=1)], ("greedy",), settings)
    (again,) = sample(lm, [Job(PROBLEMS[0], texts=1)], ("greedy",), replace(settings, seed=3))
    assert content(result["greedy"]) == content(again["greedy"])
    (drawn,) = sample(lm, [Job(PROBLEMS[0], texts=6)], ("majority",), settings)
    assert len({node.tokens for node in drawn["majority"].trace.nodes[1:]}) > 1


def test_majority_counts_answers_and_ties_go_to_the_first(talker):
    for results in sample(talker, [Job(p, tokens=60) for p in PROBLEMS], BOTH, SETTINGS):
        result = results["majority"]
        answers = [answer for _, answer in result.texts if answer is not None]
        counts = Counter(answers)
        assert result.answer == max(counts, key=lambda a: (counts[a], -answers.index(a)))
        assert {c.answer: c.count for c in result.candidates} == dict(counts)
        assert sum(c.weight for c in result.candidates) == pytest.approx(1)
        assert (result.text, result.answer) in result.texts


def test_best_of_n_scores_by_agreement_with_the_first_texts(talker):
    settings = replace(SETTINGS, world=replace(SETTINGS.world, references=3, choosing=Choosing.checking(False)))
    for results in sample(talker, [Job(p, tokens=60) for p in PROBLEMS], BOTH, settings):
        result = results["best_of_n"]
        answers = [answer for _, answer in result.texts]
        first = Counter(a for a in answers[:3] if a is not None)
        best = max((a for a in answers if a is not None), key=lambda a: first[a])  # max keeps the first of equals
        assert result.answer == best
        assert results["majority"].texts == result.texts


def test_best_of_n_uses_the_verifier_of_a_checkable_task(talker):
    problem = Problem("c", "", "countdown", {"numbers": [4, 6], "target": 24})
    (results,) = sample(talker, [Job(problem, texts=4)], BOTH, SETTINGS)
    assert results["best_of_n"].sims == 4
    texts = ["4+6", "4*6", "6-4"]
    drawn = choosing.Drawn(samples=[choosing.Sample((1,), rf"\boxed{{{t}}}", t, True) for t in texts], tokens=3)
    sampler = Sampler(talker, [problem], SETTINGS.world, 0, "sampled")
    drawn.scores = choosing.scores_of(drawn, sampler, 0, 8)
    assert drawn.scores[1] == 1 > max(drawn.scores[0], drawn.scores[2])
    chosen = choosing.choose("best_of_n", problem, None, drawn, talker, SETTINGS, (), 0.0, 0.0)
    assert chosen.answer == "4*6"
    assert chosen.candidates[0].answer == "4*6"


def test_a_weighted_vote_sums_the_scores_of_equal_answers_over_the_same_texts(talker):
    for results in sample(talker, [Job(p, tokens=60) for p in PROBLEMS], ALL, SETTINGS):
        result = results["weighted_vote"]
        assert result.texts == results["majority"].texts
        sums: Counter[str] = Counter()
        for text in results["best_of_n"].trace.texts:
            if text.answer is not None:
                sums[text.answer] += text.value
        assert result.answer == max(sums, key=lambda answer: sums[answer])
        shares = {c.answer: c.weight for c in result.candidates}
        assert shares == pytest.approx({answer: one / sums.total() for answer, one in sums.items()})


def test_a_weighted_vote_of_texts_without_scores_counts_them(talker):
    texts = [choosing.Sample((1,), "", answer, True) for answer in ("1", "2", "2")]
    drawn = choosing.Drawn(samples=texts, tokens=3, scores=[0.0] * 3)
    chosen = choosing.choose("weighted_vote", PROBLEMS[0], None, drawn, talker, SETTINGS, (), 0.0, 0.0)
    assert [(c.answer, c.weight) for c in chosen.candidates] == [("2", 0.0), ("1", 0.0)]


def test_a_prompt_that_is_too_long_is_an_error_of_its_problem_alone(talker):
    long = Problem("long", "word " * 300)
    results = sample(talker, [Job(PROBLEMS[0], tokens=20), Job(long, tokens=20)], BOTH, SETTINGS)
    assert results[0]["majority"].error is None
    for arm in BOTH:
        assert "holds 512" in str(results[1][arm].error)
    (only,) = sample(talker, [Job(long, texts=1)], ("greedy",), SETTINGS)
    assert only["greedy"].error is not None


def test_the_time_limit_ends_drawing_with_what_there_is(talker):
    settings = replace(SETTINGS, max_seconds=0.3, world=WorldConfig(max_tokens=60))
    (results,) = sample(talker, [Job(PROBLEMS[0], tokens=10**7)], BOTH, settings)
    result = results["majority"]
    assert result.stop == "max_seconds"
    assert 0 < result.generated_tokens < 10**7
    assert result.seconds < 60


def test_traces_of_baselines_are_traces(talker, tmp_path):
    (results,) = sample(talker, [Job(PROBLEMS[0], tokens=20)], BOTH, SETTINGS)
    for result in results.values():
        result.trace.write(tmp_path / "t.json.gz")
        read = Trace.read(tmp_path / "t.json.gz")
        assert read.texts == result.trace.texts
        assert read.nodes[read.best_node].answer == result.answer


def test_wall_time_of_a_batch_is_shared_out(talker):
    results = [r["majority"] for r in sample(talker, [Job(p, tokens=30) for p in PROBLEMS], ("majority",), SETTINGS)]
    assert sum(r.wall_seconds for r in results) == pytest.approx(results[0].seconds, rel=1e-6)


def test_a_model_that_gives_nan_ends_drawing(lm):
    with torch.no_grad():
        lm.latents.policy.head.weight.fill_(float("nan"))
    settings = ArmSettings(world=WorldConfig(max_tokens=10))
    (results,) = sample(lm, [Job(PROBLEMS[0], tokens=10**6)], BOTH, settings)
    assert results["majority"].stop == "nan"
    assert results["majority"].answer is None
    assert results["majority"].generated_tokens < 10**6


def test_an_interrupt_between_two_problems_is_not_taken_for_the_end(talker, monkeypatch):
    """The engine ends quietly then: it has no problem in progress that it could hand back as interrupted."""

    def cut_short(lm: Any, problems: Any, settings: Any, **more: Any) -> Any:
        yield from list(search_problems(lm, problems[:2], settings, **more))

    search_problems = arms.search_problems
    monkeypatch.setattr(arms, "search_problems", cut_short)
    results = search(talker, PROBLEMS, "gumbel", 2, SETTINGS, slots=1)
    assert [next(results).problem.id, next(results).problem.id] == ["sum/0", "sum/1"]
    with pytest.raises(KeyboardInterrupt):
        next(results)
