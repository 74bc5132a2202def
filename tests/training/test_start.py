"""How stage 1 starts: every base's codes count from the first step, also on texts that the base itself wrote."""

from __future__ import annotations

import copy

import pytest
import torch

from colasearch.benchmarks.measurements import own_codes
from colasearch.model.latent_lm import new_latents
from colasearch.training.data.documents import Document
from colasearch.training.data.hidden_cache import FreshStates
from colasearch.training.latent_actions.actions import ActionLearner, ActionsConfig
from colasearch.training.latent_actions.start import size_codes, state_size
from colasearch.training.latent_actions.uncertain import weights_of

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


@torch.no_grad()
def own_texts(base, count: int, length: int) -> list[Document]:
    """What the base writes at temperature 1 after one token."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 250, (count, 1), generator=generator)
    for _ in range(length):
        chances = torch.softmax(base.logits(base.hidden(tokens)[:, -1]), -1)
        tokens = torch.cat([tokens, torch.multinomial(chances, 1, generator=generator)], 1)
    return [Document(tuple(row.tolist()), 1, 1) for row in tokens]


@pytest.mark.parametrize("size", [0.0, 0.5])
def test_codes_learn_on_the_base_s_own_texts_where_states_are_large(large, size):
    """Codes of the published size stay without effect there; sized codes tell of the next token."""
    hidden = torch.cat([large.hidden(torch.tensor([d.tokens]))[0] for d in own_texts(large, 40, 11)])
    narrow, scale = own_codes.Narrow(large, torch.arange(10, 34)), state_size(large, large.vocab_size)
    taught, held = own_codes.Pairs(narrow, hidden[:400], scale, 0), own_codes.Pairs(narrow, hidden[400:], scale, 1)
    modules = new_latents(large, seed=2, num_codes=16)
    if size:
        size_codes(modules, size * scale)
    learner = ActionLearner(modules, narrow, taught, ActionsConfig(revive_every=0), seed=0)
    own_codes.train(learner, taught, steps=60, rows=128, lr=3e-3, seed=0)
    found = own_codes.measured(modules, narrow, held, most=80, mixture=0)
    if size:
        assert found["wm_ce"] < 0.93 * found["base_ce"]
    else:
        assert found["wm_ce"] > 0.98 * found["base_ce"]


@pytest.fixture(scope="module")
def written(base):
    return FreshStates([Document(d.tokens, 4, 4) for d in own_texts(base, 16, 12)], base)


def test_transitions_count_where_the_base_is_open(base, written):
    texts = [slice(d.start - 1, None) for d in written.documents]
    likeliest = [base.logits(written.of(i)[:-1]).softmax(-1).amax(-1) for i in range(len(texts))]
    below = float(torch.cat([values[text] for values, text in zip(likeliest, texts, strict=True)]).median())
    weights = weights_of(base, written, below, share=0.5, weight=3.0, batch_tokens=40)
    kinds = {"open": 0, 3.0: 0, 0.0: 0}
    for values, text, weight in zip(likeliest, texts, weights, strict=True):
        assert bool((weight[: text.start] == 0).all())  # the prompt never counts
        for chance, found in zip(values[text].tolist(), weight[text].tolist(), strict=True):
            if chance < below - 1e-6:
                assert found == 1
            kinds["open" if found == 1 else found] += 1
    assert min(kinds.values()) > 10
    again = weights_of(base, written, below, share=0.5, weight=3.0, batch_tokens=40)
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
