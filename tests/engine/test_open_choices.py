"""Steps that end at open choices, finished texts judged by a value head, searches that stop when solved."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from colasearch.engine.forward.actor import Actor
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import Choosing, Sampling, SearchSettings, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.trees.world import LatentWorld
from colasearch.model.latent_lm import LatentLM, new_latents
from colasearch.problem import Problem, StopReason
from colasearch.tasks import prompt_tokens

PROBLEMS = [Problem.from_text(t) for t in ("1+1?", "What is six times seven?", "Add 2 and 3.")]
WORLD = WorldConfig(max_tokens=24, max_step_tokens=10, references=0, rollouts=False)


def most_probable_of(lm: LatentLM, tokens: list[int]) -> tuple[float, int]:
    """Greatest probability of a next token, summed over codes one by one, and that token."""
    actor = Actor(lm, Sampling())
    features, _ = actor.prefill([tokens])
    policy = torch.softmax(features.scores_BA[0], -1)
    by_token: dict[int, float] = {}
    for code, token in enumerate(actor.fan_out(features, np.empty(0))[0].tolist()):
        by_token[token] = by_token.get(token, 0.0) + float(policy[code])
    return max((probability, token) for token, probability in by_token.items())


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("below", [0.5, 0.8])
def test_a_step_ends_at_the_first_open_choice_or_at_its_longest(wide_lm, below, check):
    world = LatentWorld(wide_lm, replace(WORLD, branch_below=below, choosing=Choosing.checking(check)), seed=0)
    states, _, _ = world.root(PROBLEMS)
    drawn = False
    lengths = set()
    for _ in range(3):
        states, _, terminal, _, _ = world.expand(states, np.arange(len(states)))
        states = states[~terminal]
        for state in states.tolist():
            node = world.nodes[state]
            prompt = prompt_tokens(wide_lm.base.tokenizer, world.trees[node.tree].problem)
            before = len(node.written) - len(node.tokens)
            greedy = [
                most_probable_of(wide_lm, [*prompt, *node.written[:end]])
                for end in range(before + 1, len(node.written) + 1)
            ]
            assert all(certainty >= below for certainty, _ in greedy[:-1])
            assert greedy[-1][0] < below or len(node.tokens) == WORLD.max_step_tokens
            # Where texts are checked nothing is drawn within a step: what a draw took could never be chosen otherwise.
            taken = node.tokens[1:] == tuple(token for _, token in greedy[:-1])
            assert taken or not check
            drawn = drawn or not taken
            lengths.add(len(node.tokens))
    assert len(lengths) > 1  # or the test would show little
    assert not (drawn and check)
    assert drawn or check or below > 0.5  # or the test would show nothing


def test_zero_means_sentences_and_lines_and_none_means_the_tasks_own(wide_lm):
    def steps(below: float | None, task: str) -> list[tuple[int, ...]]:
        data = {"numbers": [2, 3], "target": 5} if task == "countdown" else {}
        problems = [Problem.from_text(p.text, task, data) for p in PROBLEMS]
        world = LatentWorld(wide_lm, replace(WORLD, branch_below=below), seed=0)
        states, _, _ = world.root(problems)
        new = world.expand(np.repeat(states, 4), np.tile(np.arange(4), 3))[0]
        return [world.nodes[s].tokens for s in new.tolist()]

    assert steps(None, "procedural") == steps(0.0, "procedural")
    for task in ("math", "countdown"):
        assert steps(None, task) == steps(0.9, task)
        assert steps(0.9, task) != steps(0.0, task)


def test_open_choice_steps_do_not_depend_on_batch_mates(wide_lm):
    settings = SearchSettings(sims=10, leaves_in_flight=4, world=replace(WORLD, branch_below=0.6))

    def by_id(problems, slots):
        done = search_problems(wide_lm, problems, settings, slots=slots)
        return {d.problem.id: (replace(d.result, seconds=0.0), d.trace) for d in done}

    together = by_id(PROBLEMS, 3)
    assert by_id(PROBLEMS[::-1], 1) == together


@pytest.fixture
def judging(wide_base):
    """A model with a value head that says different things of different states."""
    modules = new_latents(wide_base, seed=1, num_codes=8, value_hidden=8)
    with torch.no_grad():
        modules.codebook.weight.mul_(8)
        for layer in modules.merge.layers:
            layer.down.weight.mul_(8)
        modules.value.up.weight.mul_(6)
        modules.value.out.weight.mul_(6)
    return LatentLM("judging", wide_base, modules.requires_grad_(False).eval())


def answer_with(monkeypatch, answer: str | None) -> None:
    """Texts end at some of the tokens, and this is their answer: a random model ends none and answers nothing."""
    monkeypatch.setattr(TextEnds, "is_finished", lambda self, tokens: bool(tokens) and tokens[-1] % 4 == 0)
    monkeypatch.setattr("colasearch.engine.trees.forest.answer_of", lambda text, task: answer)


def test_a_value_head_judges_finished_texts_by_the_state_before_their_last_token(judging, monkeypatch):
    answer_with(monkeypatch, "7")
    world = LatentWorld(judging, replace(WORLD, max_tokens=40, max_step_tokens=40), seed=0)
    ended: list[tuple[float, list[int]]] = []
    problems = [Problem.from_text(f"{i}?") for i in range(40)]
    states, _, _ = world.root(problems)
    states, value, terminal, _, _ = world.expand(np.repeat(states, 4), np.tile(np.arange(4), 40))
    for state, is_terminal, given in zip(states.tolist(), terminal, value, strict=True):
        node = world.nodes[state]
        if is_terminal and world.is_finished(node) and len(node.written) > 1:
            prompt = prompt_tokens(judging.base.tokenizer, world.trees[node.tree].problem)
            ended.append((float(given), [*prompt, *node.written]))
    assert len(ended) >= 5
    rewards = []
    for _, tokens in ended:
        state = judging.base.hidden(torch.tensor([tokens[:-1]]))[0, -1]
        rewards.append(float(judging.latents.value(state)))
    assert [value for value, _ in ended] == pytest.approx(rewards, abs=1e-4)
    assert max(rewards) - min(rewards) > 0.05  # not a constant
    recorded = {round(f.value, 5) for tree in world.trees.values() for f in tree.finished}
    assert {round(value, 5) for value, _ in ended} <= recorded


def test_without_an_answer_a_finished_text_is_worth_nothing(judging, monkeypatch):
    answer_with(monkeypatch, None)
    settings = SearchSettings(sims=12, world=replace(WORLD, max_tokens=40, max_step_tokens=40))
    traces = [d.trace for d in search_problems(judging, [Problem.from_text(f"{i}?") for i in range(8)], settings)]
    values = [text.value for trace in traces for text in trace.texts]
    assert values
    assert set(values) == {0.0}


@pytest.mark.parametrize("stop", [True, False])
def test_a_search_stops_at_an_accepted_answer_only_if_it_is_told_to(judging, monkeypatch, stop):
    answer_with(monkeypatch, "2+3")
    problems = [Problem.from_text(f"{i}?", "countdown", {"numbers": [2, 3], "target": 5}) for i in range(6)]
    world = replace(WORLD, max_tokens=40, max_step_tokens=40, branch_below=0.0)
    settings = SearchSettings(sims=48, leaves_in_flight=2, stop_when_solved=stop, world=world)
    results = [d.result for d in search_problems(judging, problems, settings)]
    solved = [r for r in results if r.answer is not None]
    assert solved
    for result in solved:
        ended = StopReason.BUDGET if result.sims == 48 else StopReason.EXHAUSTED
        assert result.stop == (StopReason.SOLVED if stop else ended)
        assert result.verdict is True
    if stop:
        assert any(r.sims < 48 for r in solved)


def test_a_value_head_can_be_left_aside(judging, monkeypatch):
    """Then search and baselines give what the same model gives without one."""
    from colasearch.benchmarks.harness.arms import ArmSettings
    from colasearch.benchmarks.harness.drawing import Job, sample

    answer_with(monkeypatch, "7")
    plain = LatentLM("plain", judging.base, copy.deepcopy(judging.latents))
    plain.latents.value = None
    problems = PROBLEMS[:4]

    def outcome(lm: LatentLM, head: bool) -> list[object]:
        world = replace(WORLD, references=2, rollouts=True, value_head=head)
        settings = SearchSettings(sims=6, world=world)
        found = [replace(one.trace, model="") for one in search_problems(lm, problems, settings)]
        jobs = [Job(problem, texts=3) for problem in problems]
        texts = sample(lm, jobs, ("best_of_n",), ArmSettings(world=world))
        return [*found, *[one["best_of_n"].candidates for one in texts]]

    assert outcome(judging, head=False) == outcome(plain, head=True)
    assert outcome(judging, head=True) != outcome(plain, head=True)


def test_a_step_whose_sure_token_is_unusable_is_nan(wide_lm, monkeypatch):
    """The world model gives NaN under the codes that the policy is sure of."""

    def unusable(self: Actor, features):
        rows = len(features.hidden_BD)
        return torch.ones(rows), torch.full((rows,), -1), torch.zeros(rows, dtype=torch.long)

    monkeypatch.setattr(Actor, "most_probable", unusable)
    world = LatentWorld(wide_lm, replace(WORLD, branch_below=0.5), seed=0)
    states, _, _ = world.root(PROBLEMS)
    _, reward, terminal, _, value = world.expand(states, np.zeros(len(states), np.int64))
    assert np.isnan(value).all()
    assert terminal.all()
    assert (reward == 0).all()
