"""How stage 1 starts: every base's codes count from the first step, also on texts that the base itself wrote."""

from __future__ import annotations

import copy

import pytest
import torch

from colasearch.model.latent_lm import new_latents
from colasearch.training.actions import ActionLearner, ActionsConfig
from colasearch.training.documents import Document
from colasearch.training.evaluate import evaluate
from colasearch.training.hidden_cache import FreshStates
from colasearch.training.start import size_codes, state_size
from colasearch.training.uncertain import weights_of

LARGE = 8.0


@pytest.fixture(scope="module")
def large(base):
    """The same function as ``base``: states eight times as large, and an output head that makes up for it."""
    result = copy.copy(base)
    result.model = copy.deepcopy(base.model)
    result.model.config.tie_word_embeddings = False
    result.model.lm_head.weight = torch.nn.Parameter(base.head.weight / LARGE, requires_grad=False)
    with torch.no_grad():
        result.final_norm.weight *= LARGE
    return result


def test_the_size_of_states_is_the_base_s_own(base, large):
    size = state_size(base, base.vocab_size)
    assert size == pytest.approx(float(base.final_norm.weight.square().mean().sqrt()), rel=0.1)
    assert state_size(large, large.vocab_size) == pytest.approx(LARGE * size, rel=1e-4)


def test_sized_codes_keep_their_directions(base):
    modules = new_latents(base, seed=2, num_codes=8)
    before = modules.codebook.weight.detach().clone()
    size_codes(modules, 3.0)
    after = modules.codebook.weight.detach()
    assert float(after.square().mean().sqrt()) == pytest.approx(3.0)
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(after, before), torch.ones(8))


def own_texts(base, count: int, length: int) -> list[Document]:
    """What the base writes at temperature 1 after one token."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 250, (count, 1), generator=generator)
    for _ in range(length):
        chances = torch.softmax(base.logits(base.hidden(tokens)[:, -1]), -1)
        tokens = torch.cat([tokens, torch.multinomial(chances, 1, generator=generator)], 1)
    return [Document(tuple(row.tolist()), 1, 1) for row in tokens]


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_codes_learn_on_the_base_s_own_texts_where_states_are_large(large, size):
    """Codes of the published size stay without effect there; sized codes tell of the next token."""
    documents = own_texts(large, 64, 12)
    states = FreshStates(documents, large)
    modules = new_latents(large, seed=2, num_codes=16)
    if size:
        size_codes(modules, size * state_size(large, large.vocab_size))
    learner = ActionLearner(modules, large, states, ActionsConfig(revive_every=0), seed=0)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for step in range(60):
        optimizer.zero_grad()
        learner.accumulate(range(64), step, 60)
        optimizer.step()
    found = evaluate(modules, large, states, range(64), mixture_positions=0)
    assert (found["wm_ce"] < 0.9 * found["base_ce"]) == bool(size)


@pytest.fixture(scope="module")
def written(base):
    return FreshStates([Document(d.tokens, 4, 4) for d in own_texts(base, 16, 12)], base)


def test_transitions_count_where_the_base_is_open(base, written):
    below, share = 0.8, 0.5
    weights = weights_of(base, written, below, share, weight=3.0, batch_tokens=40)
    kinds = {"open": 0, "drawn": 0, "left": 0}
    for document, weight in zip(written.documents, weights, strict=True):
        hidden = base.hidden(torch.tensor([document.tokens]))[0, :-1]
        known = torch.softmax(base.logits(hidden.half().float()), -1).amax(-1)
        assert bool((weight[: document.start - 1] == 0).all())  # the prompt never counts
        for chance, found in zip(
            known[document.start - 1 :].tolist(), weight[document.start - 1 :].tolist(), strict=True
        ):
            if chance < below:
                assert found == 1
                kinds["open"] += 1
            else:
                kinds[{3.0: "drawn", 0.0: "left"}[found]] += 1
    assert min(kinds.values()) > 5
    again = weights_of(base, written, below, share, weight=3.0)  # in other passes
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))


def gradients(base, states, weights, indices=range(16)):
    modules = new_latents(base, seed=2, num_codes=8)
    learner = ActionLearner(modules, base, states, ActionsConfig(micro_tokens=64), 0, weights=weights)
    parameters = learner.parameters()
    metrics = learner.accumulate(indices, 0, 1)
    return metrics, [p.grad for p in parameters], learner


def test_equal_weights_are_no_weights(base, written):
    metrics, wanted, _ = gradients(base, written, None)
    weighted, found, _ = gradients(base, written, [torch.full((len(d.tokens) - 1,), 2.0) for d in written.documents])
    assert weighted == pytest.approx(metrics)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_only_transitions_with_weight_teach(base, written):
    none = [torch.zeros(len(d.tokens) - 1) for d in written.documents]
    metrics, found, learner = gradients(base, written, none)
    assert metrics["ce"] == 0
    assert all(gradient is None for gradient in found)
    assert bool(torch.isfinite(learner.usage_K).all())
    one = [w.clone() for w in none]
    one[3][5] = 1.0
    metrics, found, _ = gradients(base, written, one)
    assert metrics["ce"] > 0
    assert metrics["alive"] == 1
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in found)
