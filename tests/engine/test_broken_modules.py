"""NaN in any one of a model's modules ends the search as ``nan``: no answer comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from colasearch.engine.forward.actor import Actor
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.problem import Problem, StopReason
from colasearch.training.values.heads import add_head

PROBLEMS = [Problem.from_text(f"What is {i} + {i}?") for i in range(2)]
WORLD = WorldConfig(max_tokens=14, max_step_tokens=4, references=0)
SETTINGS = SearchSettings(sims=8, world=WORLD)
PARTS = {
    "codebook": lambda m: m.codebook.weight[3:4],
    "merge": lambda m: m.merge.layers[0].down.weight,
    "policy": lambda m: m.policy.head.weight,
    "value": lambda m: m.value.out.weight,
}


@pytest.mark.parametrize("shortlist", [0, 20])
@pytest.mark.parametrize("part", PARTS)
def test_nan_anywhere_is_noticed_at_the_root(wide_lm, part, shortlist):
    add_head(wide_lm.latents, "value", seed=0)
    sampling = replace(WORLD.sampling, shortlist=shortlist)
    settings = replace(SETTINGS, world=replace(WORLD, sampling=sampling))
    clean = list(search_problems(wide_lm, PROBLEMS, settings))
    assert {one.result.stop for one in clean} == {StopReason.BUDGET}
    with torch.no_grad():
        PARTS[part](wide_lm.latents).fill_(torch.nan)
    broken = list(search_problems(wide_lm, PROBLEMS, settings))
    assert {one.result.stop for one in broken} == {StopReason.NAN}
    assert all(one.result.answer is None for one in broken)


def test_nan_that_comes_later_ends_the_search_there(wide_lm, monkeypatch):
    """The world model breaks at the third node, where the base and the policy are sound."""
    from colasearch.engine.forward import actor

    whole, calls = actor.fan_out_states, 0

    def breaks_later(*args):
        nonlocal calls
        calls += 1
        states = whole(*args)
        return states if calls < 3 else torch.full_like(states, torch.nan)

    monkeypatch.setattr(actor, "fan_out_states", breaks_later)
    (one,) = search_problems(wide_lm, PROBLEMS[:1], SETTINGS)
    assert calls >= 3
    assert one.result.stop == StopReason.NAN


def test_nan_at_the_end_of_a_step_is_noticed_there_though_the_value_is_sound(wide_lm, monkeypatch):
    add_head(wide_lm.latents, "value", seed=0)
    whole, calls = Actor.attended, 0

    def breaks_once(self, tokens, positions, batch):
        nonlocal calls
        calls += 1
        features = whole(self, tokens, positions, batch)
        scores = features.scores_BA
        return replace(features, scores_BA=torch.full_like(scores, torch.nan)) if calls == 3 else features

    monkeypatch.setattr(Actor, "attended", breaks_once)
    settings = replace(SETTINGS, searcher="uct", world=replace(WORLD, max_step_tokens=1))
    (one,) = search_problems(wide_lm, PROBLEMS[:1], settings)
    assert calls >= 3
    assert one.result.stop == StopReason.NAN
