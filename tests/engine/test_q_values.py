"""The Q head in a search: as what MCTS-Q asks, and as what leaves are worth."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from colasearch.engine.settings import Choosing, SearchSettings, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.finished import Finished
from colasearch.engine.texts.judged import values_of
from colasearch.engine.texts.vote import vote
from colasearch.engine.trees.world import LatentWorld
from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.latent_lm import LatentLM, load_latents, new_latents
from colasearch.problem import Problem
from colasearch.solving import search_one
from colasearch.storage.files import write_sums
from colasearch.tasks import prompt_tokens

PROBLEM = Problem.from_text("What is 2+3?")
WORLD = WorldConfig(max_tokens=14, max_step_tokens=4, branch_below=0.0, references=2)


@pytest.fixture
def q_lm(base):
    """The tiny model with a Q head and a value head whose numbers differ from state to state."""
    from tiny import speaking

    modules = speaking(new_latents(base, seed=1, num_codes=8, value_hidden=4, q_head=True))
    with torch.no_grad():
        modules.q.out.weight.mul_(20)
    return LatentLM("tiny", base, modules.requires_grad_(False).eval())


def states_by_hand(lm, world, numbers):
    """What the model says after the texts of nodes, each encoded alone: hidden states and policy scores."""
    prompt = prompt_tokens(lm.base.tokenizer, PROBLEM)
    hidden = [lm.base.hidden(torch.tensor([[*prompt, *world.nodes[n].written]])) for n in numbers]
    scores = [lm.latents.policy(h)[0, -1] for h in hidden]
    return torch.stack([h[0, -1] for h in hidden]), torch.stack(scores)


def test_q_is_the_head_applied_to_the_state(q_lm):
    world = LatentWorld(q_lm, WORLD, 0)
    root, _, _ = world.root([PROBLEM])
    states, _, terminal, _, _ = world.expand(np.repeat(root, 8), np.arange(8))
    everything = np.concatenate([root, states])
    q_BA = world.q_BA(everything)
    assert q_BA.shape == (9, 8)
    with torch.inference_mode():
        hidden, _ = states_by_hand(q_lm, world, everything.tolist())
        expected = q_lm.latents.q(hidden).numpy()
    expected[np.concatenate([[False], terminal])] = 0
    np.testing.assert_allclose(q_BA, expected, atol=1e-5)
    assert np.ptp(expected[0]) > 0.01


def test_leaves_are_worth_the_policy_s_expectation_of_q(q_lm):
    config = replace(WORLD, q_values=True, sampling=replace(WORLD.sampling, temperature=0.7))
    world = LatentWorld(q_lm, config, 0)
    root, _, root_value = world.root([PROBLEM])
    states, _, terminal, _, values = world.expand(np.repeat(root, 8), np.arange(8))
    with torch.inference_mode():
        hidden, scores = states_by_hand(q_lm, world, [*root.tolist(), *states.tolist()])
        expected = (torch.softmax(scores / 0.7, -1) * q_lm.latents.q(hidden)).sum(-1).numpy()
    np.testing.assert_allclose(root_value, expected[:1], atol=1e-5)
    np.testing.assert_allclose(values[~terminal], expected[1:][~terminal], atol=1e-5)
    assert not terminal.all()


@pytest.mark.parametrize("searcher", ["puct", "gumbel"])
def test_searches_go_by_q(q_lm, searcher):
    by_q, by_head = (
        search_one(q_lm, PROBLEM, SearchSettings(searcher=searcher, sims=8, world=replace(WORLD, q_values=on))).trace
        for on in (True, False)
    )
    assert by_q.nodes[0].raw_value != by_head.nodes[0].raw_value


def test_texts_that_are_drawn_are_scored_by_q_too(q_lm):
    from colasearch.benchmarks.harness.samples import Sampler

    found = []
    for config in (replace(WORLD, q_values=True), WORLD):
        sampler = Sampler(q_lm, [PROBLEM], config, 0, "latent")
        found.append(sampler.values(0, sampler.draw([(0, 0), (0, 1)])))
    assert found[0] != found[1]
    assert all(0 < value < 1 for value in found[0])


def test_without_a_q_head_that_is_said(lm):
    assert LatentWorld(lm, WORLD, 0).q_BA(np.zeros(0, np.int64)) is None
    with pytest.raises(PrerequisiteError, match=r"has no Q head.*train value --head q"):
        search_one(lm, PROBLEM, SearchSettings(sims=2, world=replace(WORLD, q_values=True)))
    with pytest.warns(UserWarning, match="cola_reference has no Q-values"):
        search_one(lm, PROBLEM, SearchSettings(searcher="cola_reference", sims=2, world=WORLD))


def test_q_values_are_of_codes(q_lm):
    with pytest.raises(InputError, match="--actions is sampled"):
        search_one(q_lm, PROBLEM, SearchSettings(sims=2, actions="sampled", world=replace(WORLD, q_values=True)))
    assert LatentWorld(q_lm, WORLD, 0, "sampled").q_BA(np.zeros(0, np.int64)) is None


@pytest.mark.parametrize("command", [("solve", "-"), ("bench", "countdown", "--limit", "1")])
def test_the_command_line_says_what_is_missing(colasearch, model_folder, tmp_path, command):
    more = ("--output", tmp_path / "run") if command[0] == "bench" else ()
    done = colasearch(
        *command, *more, "--model", model_folder, "--sims", "2", "--max-tokens", "8", "--values", "q", "--json",
        stdin=b"Make 52 from 4, 7, 8.",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "has no Q head" in done.stderr
    assert "train value --head q" in done.stderr


@pytest.mark.parametrize("searcher", ["cola_reference", "cola_mended"])
def test_mcts_q_is_paid_by_the_reward_and_answers_with_the_best_paid_text(q_lm, monkeypatch, tmp_path, searcher):
    path = tmp_path / "values.py"
    path.write_text(
        "def spread(problems, texts):\n    return [len(set(text)) / (1 + len(text)) for text in texts]\n",
    )
    # The random model hardly ever ends a text or writes an answer: here many tokens do, and each text is its own.
    monkeypatch.setattr(TextEnds, "is_finished", lambda self, tokens: len(tokens) > 3 and tokens[-1] % 4 == 0)
    for module in ("colasearch.engine.trees.forest", "colasearch.engine.trees.world"):
        monkeypatch.setattr(f"{module}.answer_of", lambda text, task: str(len(text)))
    world = WorldConfig(
        max_tokens=40,
        max_step_tokens=4,
        branch_below=0.0,
        values=(f"{path}:spread",),
        choosing=Choosing.checking(False),
    )
    done = search_one(q_lm, PROBLEM, SearchSettings(searcher=searcher, sims=150, world=world))
    values_of.cache_clear()
    paid = [len(set(t.text)) / (1 + len(t.text)) for t in done.trace.texts]
    assert len(set(paid)) > 1
    assert len(set(done.result.text)) / (1 + len(done.result.text)) == max(paid)
    assert done.result.text == done.trace.texts[paid.index(max(paid))].text


def test_a_chosen_text_wins_over_every_rule():
    found = [
        Finished(0, "a", "3", 0.9),
        Finished(1, "b", "4", 0.2),
        Finished(2, "c", "4", 0.3),
        Finished(3, "d", None, 1.0),
    ]
    for rule in ("weighted", "equal", "best"):
        candidates, text = vote(found, "math", rule, "b")
        assert (candidates[0].answer, text) == ("4", "b")
    assert vote(found, "math", "best", "d")[1] == "a"  # it has no answer


def test_a_config_from_before_the_q_head_still_loads(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    del config["q_head"]
    (folder / "config.json").write_text(json.dumps(config))
    write_sums(folder)
    assert load_latents(folder).q is None
