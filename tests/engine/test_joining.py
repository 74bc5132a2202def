"""Problems that join a batch while others are in it, each with a plan of its own, come out as if they were alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colasearch.engine.plan import Plan
from colasearch.engine.scheduler import Scheduler, Searched
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import InputError
from colasearch.problem import Problem, StopReason
from colasearch.solving import search_one
from colasearch.text_scheduler import TextScheduler

WORLD = WorldConfig(max_tokens=14, max_step_tokens=4, branch_below=0.0, references=3)
SETTINGS = SearchSettings(sims=8, leaves_in_flight=4, world=WORLD)
TREES = [
    SETTINGS,
    replace(SETTINGS, seed=3),
    replace(SETTINGS, searcher="puct", sims=5),
    replace(SETTINGS, world=replace(WORLD, max_tokens=9)),
    replace(SETTINGS, searcher="beam", leaves_in_flight=2),
]
TEXTS = [
    replace(SETTINGS, searcher="majority"),
    replace(SETTINGS, searcher="best_of_n", sims=3, seed=3),
    replace(SETTINGS, searcher="weighted_vote", world=replace(WORLD, max_tokens=6)),
]
PROBLEMS = [Problem.from_text(f"What is {i} + {i * i}?" + " Think!" * (i % 3)) for i in range(5)]


def comparable(done: Searched) -> tuple[object, ...]:
    """Everything but the time."""
    assert done.result is not None
    texts = [candidate.text for candidate in done.result.candidates]
    return replace(done.result, seconds=0.0), texts, done.trace


def add(scheduler: Scheduler | TextScheduler, problem: Problem, settings: SearchSettings) -> list[Searched]:
    if isinstance(scheduler, TextScheduler):
        return list(scheduler.add(problem, settings))
    return list(scheduler.add([problem], Plan.of(settings)))


@pytest.mark.parametrize(("kind", "plans"), [(Scheduler, TREES), (TextScheduler, TEXTS)], ids=["trees", "texts"])
def test_those_that_join_are_as_those_that_are_alone(wide_lm, kind, plans):
    pairs = [(replace(PROBLEMS[i % 2]), plan) for i, plan in enumerate(plans)]  # the same problem, in different plans
    alone = [comparable(search_one(wide_lm, *pair)) for pair in pairs]
    scheduler, waiting, found, steps = kind(wide_lm, plans[0], slots=8), list(pairs), {}, 0
    while len(found) < len(pairs):
        if waiting and steps % 3 == 0:
            assert add(scheduler, *waiting.pop(0)) == []
        found |= {id(done.problem): comparable(done) for done in scheduler.step()}
        steps += 1
    assert [found[id(problem)] for problem, _ in pairs] == alone
    assert scheduler.free == 8


@pytest.mark.parametrize(("kind", "plan"), [(Scheduler, TREES[0]), (TextScheduler, TEXTS[0])], ids=["trees", "texts"])
def test_one_is_dropped_another_ends_early_and_the_third_never_knows(wide_lm, kind, plan):
    plan = replace(plan, sims=24, world=replace(WORLD, max_tokens=24))
    dropped, ended, third = PROBLEMS[:3]
    alone = comparable(search_one(wide_lm, third, plan))
    scheduler = kind(wide_lm, plan, slots=3)
    for problem in (dropped, ended, third):
        assert add(scheduler, problem, plan) == []
    while not scheduler.status_of(dropped).generated_tokens:
        assert list(scheduler.step()) == []
    scheduler.cancel(dropped)
    scheduler.interrupt(ended)
    assert scheduler.free == 1
    assert scheduler.status_of(dropped).sims_total == 0
    found = {}
    while scheduler.free < 3:
        found |= {done.problem.id: done for done in scheduler.step()}
    assert found.keys() == {ended.id, third.id}
    assert found[ended.id].result.stop == StopReason.INTERRUPTED
    assert comparable(found[third.id]) == alone
    if isinstance(scheduler, Scheduler):
        world = scheduler.world
        assert (world.nodes, world.trees, world._jobs, world.store.used, len(world.decoder)) == ({}, {}, {}, 0, 0)
    else:
        assert len(scheduler._decoder) == 0


def test_what_draws_otherwise_cannot_join(wide_lm):
    hot = replace(WORLD, sampling=replace(WORLD.sampling, temperature=1.5))
    scheduler, texts = Scheduler(wide_lm, SETTINGS), TextScheduler(wide_lm, TEXTS[0])
    with pytest.raises(InputError, match="same sampling"):
        add(scheduler, PROBLEMS[0], replace(SETTINGS, world=hot))
    with pytest.raises(InputError, match="same sampling"):
        add(texts, PROBLEMS[0], replace(TEXTS[0], world=hot))


def test_a_problem_that_is_too_long_is_told_and_takes_no_slot(wide_lm):
    long = Problem.from_text("x" * 600)
    for scheduler, plan in ((Scheduler(wide_lm, SETTINGS), SETTINGS), (TextScheduler(wide_lm, TEXTS[0]), TEXTS[0])):
        (done,) = add(scheduler, long, plan)
        assert isinstance(done.error, InputError)
        assert scheduler.free == scheduler.slots
