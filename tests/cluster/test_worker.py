"""A worker as a plain object: what it does with its units, and what it says when something is wrong."""

from __future__ import annotations

import copy
import os
import time
from collections import Counter

import pytest
import torch
from toys import Squares, SquaresInBatches

from colasearch.benchmarks.harness.arms import ArmSettings
from colasearch.benchmarks.harness.drawing import Job, sample
from colasearch.cluster import worker as module
from colasearch.cluster.recipes import SampleRecipe, SearchRecipe
from colasearch.cluster.weights import freeze
from colasearch.cluster.worker import Assignment, Worker
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem

WORLD = WorldConfig(max_tokens=8, branch_below=0.0)
SETTINGS = SearchSettings(sims=4, world=WORLD)
PROBLEMS = [Problem.from_text(f"What is {i} plus 9?") for i in range(5)]


def make(lm: LatentLM | None = None, slots: int = 3, latents=None) -> Worker:
    model = None if lm is None else freeze(lm)
    return Worker(model, latents, slots=slots, threads=1, device="cpu")


def give(recipe, items, first: int = 0) -> Assignment:
    return Assignment(recipe, recipe, tuple(enumerate(items, first)))


def work(worker: Worker, given: Assignment):
    """All reports until the worker has nothing left."""
    reports = [worker.exchange(given)]
    while worker.busy or worker.queue:
        reports.append(worker.exchange(None))
        assert len(reports) < 1000
    return reports


def values(reports) -> dict[int, object]:
    counted = Counter(number for report in reports for number, _, _ in report.results)
    assert set(counted.values()) <= {1}, "a unit came out twice"
    return {number: value for report in reports for number, value, _ in report.results}


@pytest.fixture
def exits(monkeypatch):
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(module, "EXIT_S", 0.05)
    return codes


@pytest.mark.parametrize("recipe", [Squares(), SquaresInBatches()])
def test_units_come_out_once_and_the_worker_reports_as_soon_as_something_is_done(recipe):
    worker = make(slots=3)
    reports = work(worker, give(recipe, [5, 0, 6]))
    assert values(reports) == {0: 25, 1: 0, 2: 36}
    assert reports[0].results
    assert worker.exchange(None) == module.Report(), "an idle worker answers at once with nothing"


def test_more_units_than_slots_wait_in_the_worker():
    worker = make(slots=2)
    reports = [worker.exchange(give(Squares(), range(1, 4)))]
    reports += work(worker, give(Squares(), range(4, 9), first=3))
    assert values(reports) == {n: (n + 1) ** 2 for n in range(8)}  # the engine itself refuses more than two at a time


def test_a_worker_with_nothing_to_show_reports_in_time(monkeypatch):
    worker = make(slots=4)
    recipe = Squares(delay=6)
    monkeypatch.setattr(module, "REPORT_S", 0.0)  # so there is one step a report
    reports = work(worker, give(recipe, [3]))
    assert [len(report.results) for report in reports] == [0] * 6 + [1]


def test_reported_work_adds_up():
    worker = make(slots=2)
    for count in (3, 4):  # the second recipe's engine begins from zero again
        reports = work(worker, give(Squares(pause=count / 1e6), range(1, count + 1)))
        assert (sum(r.sims for r in reports), sum(r.tokens for r in reports)) == (count, 10 * count)
        assert all(report.sims > 0 for report in reports)


def test_searches_are_those_of_a_single_process(pooled_lm):
    expected = {one.problem.id: one for one in search_problems(pooled_lm, PROBLEMS, SETTINGS, slots=2)}
    reports = work(make(pooled_lm, slots=3), give(SearchRecipe(SETTINGS), PROBLEMS))
    got = values(reports)
    assert sorted(got) == list(range(5))
    for number, problem in enumerate(PROBLEMS):
        assert got[number].problem == problem
        assert got[number].trace == expected[problem.id].trace
    assert not any(suspicious for report in reports for _, _, suspicious in report.results)
    assert sum(r.sims for r in reports) == sum(one.result.sims for one in expected.values())
    assert sum(r.tokens for r in reports) == sum(one.result.generated_tokens for one in expected.values())


def test_one_problem_given_twice_comes_out_under_both_numbers(pooled_lm):
    items = [PROBLEMS[0], PROBLEMS[1], PROBLEMS[0], copy.copy(PROBLEMS[0])]
    got = values(work(make(pooled_lm, slots=4), give(SearchRecipe(SETTINGS), items, first=7)))
    assert {number: one.problem.id for number, one in got.items()} == {
        number: problem.id for number, problem in enumerate(items, 7)
    }
    assert got[7].trace == got[9].trace == got[10].trace


def test_a_problem_that_cannot_be_searched_comes_out_with_its_error(pooled_lm):
    long = Problem.from_text("x" * 5000)
    got = values(work(make(pooled_lm, slots=2), give(SearchRecipe(SETTINGS), [PROBLEMS[0], long, PROBLEMS[1]])))
    assert isinstance(got[1].error, InputError)
    assert (got[0].error, got[2].error) == (None, None)


def test_samples_are_those_of_a_single_process(pooled_lm):
    settings = ArmSettings(world=WORLD)
    jobs = [Job(problem, texts=2) for problem in PROBLEMS[:3]]
    arms = ("majority",)
    expected = sample(pooled_lm, jobs, arms, settings)
    reports = work(make(pooled_lm, slots=3), give(SampleRecipe(arms, settings), jobs))
    got = values(reports)
    assert [got[n]["majority"].texts for n in range(3)] == [one["majority"].texts for one in expected]
    assert sum(r.tokens for r in reports) == sum(one["majority"].generated_tokens for one in expected)


def test_nan_is_suspicious(pooled_lm, new_modules):
    modules = new_modules(1)
    with torch.no_grad():
        modules.policy.head.weight.fill_(float("nan"))
    broken = LatentLM("broken", pooled_lm.base, modules)
    reports = work(make(broken, slots=2), give(SearchRecipe(SETTINGS), PROBLEMS[:2]))
    assert [suspicious for report in reports for _, _, suspicious in report.results] == [True, True]
    assert all(report.broken is None for report in reports), "whether to believe it is for the driver to say"


def test_an_engine_that_raises_breaks_the_worker_which_says_why_and_ends_itself(exits):
    worker = make(slots=3)
    report = worker.exchange(give(Squares(breaks=(7,)), [5, 7, 6]))
    assert report.results == [], "what a broken engine gave in the same call is not believed"
    assert "ValueError: bad item 7" in report.broken
    assert report.fatal is None
    # The call in reserve follows at once; an exit here could overtake the report that says why.
    again = worker.exchange(None)
    assert exits == []
    assert (again.results, again.broken) == ([], report.broken)
    deadline = time.monotonic() + 10
    while not exits and time.monotonic() < deadline:
        time.sleep(0.01)
    assert exits == [1]


def test_zeros_of_a_call_that_breaks_do_not_come_out(exits):
    """Zeros are done at once, before the step that raises."""
    worker = make(slots=3)
    report = worker.exchange(give(Squares(breaks=(6,)), [0, 6]))
    assert (report.results, "bad item 6" in report.broken) == ([], True)


def test_a_recipe_that_no_worker_can_follow_is_the_drivers_to_hear(pooled_lm, exits):
    worker = make(LatentLM("plain", pooled_lm.base, None), slots=2)
    report = worker.exchange(give(SearchRecipe(SETTINGS), PROBLEMS))
    assert isinstance(report.fatal, PrerequisiteError)
    assert "no latent modules" in str(report.fatal)
    assert (report.broken, report.results) == (None, [])
    assert worker.exchange(None) == module.Report()
    # The worker is sound, and goes on with what it can do.
    assert values(work(worker, give(Squares(), [3]))) == {0: 9}
    again = worker.exchange(give(SearchRecipe(SETTINGS), PROBLEMS))
    assert isinstance(again.fatal, PrerequisiteError)
    assert exits == []


def test_our_own_errors_out_of_a_running_engine_break_the_worker_not_the_job(exits):
    worker = make(slots=2)

    class Late(Squares):
        def suspicious(self, value):
            raise InputError("not the recipe's fault")

    report = worker.exchange(give(Late(), [2]))
    assert report.fatal is None
    assert "not the recipe's fault" in report.broken


def test_other_latent_modules_from_the_start_and_later(pooled_lm, new_modules):
    for_seed = {
        seed: {
            one.problem.id: one.trace
            for one in search_problems(LatentLM("wide", pooled_lm.base, new_modules(seed)), PROBLEMS, SETTINGS)
        }
        for seed in (1, 2, 3)
    }
    assert for_seed[1] != for_seed[2] != for_seed[3]
    worker = make(pooled_lm, slots=5, latents=freeze(new_modules(2)))
    for seed in (2, 3, 1):
        if seed != 2:
            worker.swap(freeze(new_modules(seed)))
        got = values(work(worker, give(SearchRecipe(SETTINGS), PROBLEMS)))
        assert {one.problem.id: one.trace for one in got.values()} == for_seed[seed]
