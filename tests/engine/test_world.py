"""The language-model world as searchers see it."""

from __future__ import annotations

import numpy as np
import pytest

from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.trees.world import LatentWorld
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM, new_latents
from colasearch.problem import Problem, StopReason
from colasearch.searchers import run

SMALL = WorldConfig(max_tokens=12, max_step_tokens=4, branch_below=0.0, references=3)
PROBLEMS = [Problem.from_text(t) for t in ("1+1?", "What is six times seven?", "Add 2 and 3.")]


def search(lm, problems, actions="latent", seed=0, searcher="gumbel", sims=12, leaves=4):
    world = LatentWorld(lm, SMALL, seed, actions)
    options = {"max_num_considered_actions": 4} if searcher == "gumbel" else {}
    return world, run(searcher, world, problems, sims=sims, seed=seed, leaves_in_flight=leaves, **options)


def tree_texts(world: LatentWorld, tree: int) -> list[tuple[object, ...]]:
    """All that was decoded in a tree, in order."""
    finished = [(f.text, round(f.value, 6)) for f in world.trees[tree].finished]
    return [*finished, *((n.written, n.cost) for n in world.nodes.values() if n.tree == tree)]


@pytest.mark.parametrize("searcher", ["gumbel", "puct"])
@pytest.mark.parametrize("actions", ["latent", "sampled"])
def test_a_search_spends_its_budget_and_stays_in_bounds(lm, searcher, actions):
    world, out = search(lm, PROBLEMS, actions, searcher=searcher)
    assert out.visits_BA.sum(1).tolist() == [12, 12, 12]
    assert ((out.value_B >= 0) & (out.value_B <= 1)).all()
    assert set(out.stop_B) == {StopReason.BUDGET}
    assert all(len(n.written) <= SMALL.max_tokens for n in world.nodes.values())
    assert all(0 < share <= 1 for tree in world.trees.values() for share in tree.branching)


def test_equal_first_tokens_are_one_child_with_summed_prior(lm):
    world = LatentWorld(lm, SMALL, seed=0)
    states, logits, _ = world.root(PROBLEMS)
    out = run("puct", LatentWorld(lm, SMALL, seed=0), PROBLEMS, sims=1, seed=0)
    for row, state in enumerate(states):
        tokens = world.nodes[int(state)].next_token_A
        prior = np.exp(logits[row]) / np.exp(logits[row]).sum()
        merged = out.tree.prior[row, 0]
        for token in set(tokens.tolist()):
            group = np.flatnonzero(tokens == token)
            assert merged[group[0]] == pytest.approx(prior[group].sum(), abs=1e-5)
            assert (merged[group[1:]] == 0).all()


def test_expanding_twice_gives_the_same_child(lm):
    world = LatentWorld(lm, SMALL, seed=0)
    states, _, _ = world.root(PROBLEMS[:1])
    first = world.expand(np.repeat(states, 2), np.array([3, 3]))
    nodes = [world.nodes[int(s)] for s in first[0]]
    assert nodes[0].tokens == nodes[1].tokens
    np.testing.assert_allclose(first[3][0], first[3][1], atol=1e-4)  # rounding differs between rows of a batch
    assert first[4][0] == first[4][1]


def test_a_tree_depends_on_seed_and_problem_alone(lm):
    world, out = search(lm, PROBLEMS)
    for i, problem in enumerate(PROBLEMS):
        alone_world, alone = search(lm, [problem])
        assert alone.visits_BA[0].tolist() == out.visits_BA[i].tolist()
        assert tree_texts(alone_world, 0) == tree_texts(world, i)
    other_world, _ = search(lm, PROBLEMS[:1], seed=1)
    assert tree_texts(other_world, 0) != tree_texts(world, 0)  # the check above can fail


def test_a_finished_state_is_terminal_and_refuses_to_go_on(lm):
    world = LatentWorld(lm, WorldConfig(max_tokens=3, max_step_tokens=8, branch_below=0.0, references=0), seed=0)
    states, _, _ = world.root(PROBLEMS[:1])
    states, _, terminal, _, value = world.expand(states, np.array([0]))
    assert terminal.tolist() == [True]
    assert value.tolist() == [0.0]
    with pytest.raises(InputError, match="must not be continued"):
        world.expand(states, np.array([0]))


def test_a_value_head_replaces_rollouts(base):
    lm = LatentLM("tiny", base, new_latents(base, seed=1, num_codes=8, value_hidden=4).requires_grad_(False))
    world = LatentWorld(lm, SMALL, seed=0)
    states, _, root_value = world.root(PROBLEMS)
    assert world.generated_tokens == 0
    expected = lm.latents.value(base.hidden(_prompt(lm, PROBLEMS[0]))[0, -1])
    assert root_value[0] == pytest.approx(float(expected), abs=1e-5)
    after = world.expand(states, np.zeros(3, dtype=int))
    assert world.generated_tokens <= 3 * SMALL.max_step_tokens
    node = world.nodes[int(after[0][0])]
    hidden = base.hidden(_prompt(lm, PROBLEMS[0], node.written))[0, -1]
    assert after[4][0] == pytest.approx(float(lm.latents.value(hidden)), abs=1e-5)


def _prompt(lm, problem, written=()):
    import torch

    from colasearch.tasks import prompt_tokens

    return torch.tensor([prompt_tokens(lm.base.tokenizer, problem) + list(written)])


def test_leaf_values_are_agreement_with_the_reference_answers(lm):
    world = LatentWorld(lm, SMALL, seed=0)
    world.root(PROBLEMS[:1])
    tree = world.trees[0]
    from colasearch.verifiers import canonical_key

    tree.references.answers.clear()
    tree.references.answers[canonical_key("8")] = 2
    tree.references.count = 3
    assert tree.value_of("8.0") == pytest.approx(3 / 5)
    assert tree.value_of("9") == pytest.approx(1 / 5)
    assert tree.value_of(None) == 0.0


def test_a_checkable_verifier_gives_the_value(lm):
    problem = Problem.from_text("24", "countdown", {"numbers": [4, 6], "target": 24})
    world = LatentWorld(lm, SMALL, seed=0)
    world.root([problem])
    assert world.trees[0].value_of("4*6") == 1.0
    assert world.trees[0].value_of("4+6") < 1.0


def test_a_prompt_that_leaves_no_room_is_refused_with_the_numbers(lm):
    world = LatentWorld(lm, SMALL, seed=0)
    with pytest.raises(InputError, match=r"6\d\d tokens .* holds 512"):
        world.root([Problem.from_text("x" * 600)])


def test_what_was_finished_before_an_interruption_is_kept(lm, monkeypatch):
    calls = 0

    def poll() -> None:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(TextEnds, "is_finished", lambda self, tokens: len(tokens) > 2 and tokens[-1] % 3 == 0)
    world = LatentWorld(lm, WorldConfig(max_tokens=30, max_step_tokens=3, references=16), seed=0, poll=poll)
    with pytest.raises(KeyboardInterrupt):
        world.root(PROBLEMS)
    world.collect()
    assert any(world.close(tree).finished for tree in list(world.trees))


def test_temperature_reaches_the_prior(lm):
    logits = {}
    for heat in (1.0, 0.5):
        world = LatentWorld(lm, WorldConfig(references=0, sampling=Sampling(temperature=heat)), seed=0)
        logits[heat] = world.root(PROBLEMS[:1])[1]
    np.testing.assert_allclose(logits[0.5], 2 * logits[1.0], rtol=1e-5)


def test_text_ends(base):
    ends = TextEnds(base.tokenizer, base.end_ids)

    def ids(text: str) -> list[int]:
        return base.tokenizer(text, add_special_tokens=False)["input_ids"]

    assert ends.is_finished([*ids("so 5"), 0])
    assert ends.is_finished(ids(r"it is \boxed{\frac{1}{2}}"))
    assert not ends.is_finished(ids(r"it is \boxed{\frac{1}{2}"))
    assert not ends.is_finished(ids("a } b"))
    assert not ends.is_finished(ids(r"put it in a \boxed{}")), "a box that was asked for, not filled"
    assert not ends.is_finished([])
    assert ends.is_boundary(ids(".")[0])
    assert ends.is_boundary(ids("\n")[0])
    assert not ends.is_boundary(ids("a")[0])
