"""The latent modules against their definitions in cola-spec section 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colasearch.model.codebook import straight_through_gumbel
from colasearch.model.latent_lm import fan_out_states, new_latents, trainable, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs
from colasearch.model.world_model import mixture_log_probs


@pytest.fixture
def hidden(base) -> torch.Tensor:
    tokens = torch.tensor([[5, 9, 40, 3, 77, 21]])
    return base.hidden(tokens)


def test_idm_sees_exactly_one_token_of_the_future(lm, hidden):
    before = lm.latents.idm.transition_scores(hidden)
    assert before.shape == (1, 5, 8)
    changed = hidden.clone()
    changed[:, 3] += 1.0
    after = lm.latents.idm.transition_scores(changed)
    moved = (before - after).abs().amax(-1)[0] > 1e-6
    # Transition 2 -> 3 is the first that may see position 3; earlier ones may not.
    assert moved.tolist() == [False, False, True, True, True]


def test_policy_does_not_see_the_future(lm, hidden):
    before = lm.latents.policy(hidden)
    changed = hidden.clone()
    changed[:, 3] += 1.0
    after = lm.latents.policy(changed)
    moved = (before - after).abs().amax(-1)[0] > 1e-6
    assert moved.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("form", ["residual", "subtractive"])
def test_fan_out_is_every_code_one_by_one(base, hidden, form):
    modules = new_latents(base, seed=3, num_codes=8, output_form=form)
    states = hidden[0, :3]
    together = fan_out_states(modules, base, states)
    for code in range(8):
        alone = world_model_states(modules, base, states, torch.full((3,), code))
        torch.testing.assert_close(together[:, code], alone)
    codes = torch.tensor([[7, 0], [3, 3], [0, 5]])
    some = modules.merge.merge_some(states, modules.codebook.weight, codes, base.apply_final_norm)
    torch.testing.assert_close(some, together.gather(1, codes[..., None].expand(-1, -1, together.shape[-1])))


def test_output_forms_follow_the_published_formula(base, hidden):
    state = hidden[0, :2]
    for form in ("residual", "subtractive"):
        modules = new_latents(base, seed=3, num_codes=8, output_form=form)
        vector = modules.codebook.weight[5]
        s = state
        for layer in modules.merge.layers:
            joined_gate = layer.gate_state(s) + layer.gate_code(vector)
            joined_up = layer.up_state(s) + layer.up_code(vector)
            s = s + layer.down(torch.nn.functional.silu(joined_gate) * joined_up)
        expected = s if form == "residual" else base.model.model.norm(s) - state
        torch.testing.assert_close(world_model_states(modules, base, state, torch.tensor([5, 5])), expected)


def test_straight_through_gumbel_is_one_hot_with_the_soft_gradient():
    scores = torch.randn(64, 8, requires_grad=True)
    action, soft = straight_through_gumbel(scores, 2.0, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(action.detach().sum(-1), 1, atol=1e-6)
    assert set(action.detach().round(decimals=5).flatten().tolist()) <= {0.0, 1.0}
    weights = torch.randn(8)
    (expected,) = torch.autograd.grad((soft * weights).sum(), scores, retain_graph=True)
    (found,) = torch.autograd.grad((action * weights).sum(), scores)
    torch.testing.assert_close(found, expected)
    assert found.abs().sum() > 0


def test_gumbel_samples_follow_the_softmax():
    scores = torch.tensor([0.0, 1.0, 2.0]).expand(20000, 3)
    action, _ = straight_through_gumbel(scores, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(action.mean(0), torch.softmax(scores[0], -1), atol=0.015, rtol=0)


def test_mixture_is_a_distribution_and_the_weighted_sum():
    torch.manual_seed(0)
    codes, tokens = torch.randn(3, 8).log_softmax(-1), torch.randn(3, 8, 11).log_softmax(-1)
    mixed = mixture_log_probs(codes, tokens).exp()
    torch.testing.assert_close(mixed, (codes.exp()[..., None] * tokens.exp()).sum(1))
    torch.testing.assert_close(mixed.sum(-1), torch.ones(3))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=20),
    st.floats(0.2, 3),
    st.integers(0, 6),
)
def test_draws_follow_exactly_the_reported_log_probs(scores, temperature, top_k):
    log_probs = sampling_log_probs(torch.tensor([scores]), temperature, top_k)
    probabilities = log_probs.exp()[0].double()
    assert abs(float(probabilities.sum()) - 1) < 1e-5
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    drawn = sample_codes(log_probs.expand(4000, -1), grid)
    share = torch.bincount(drawn, minlength=len(scores)) / 4000
    np.testing.assert_allclose(share.numpy(), probabilities.numpy(), atol=1.5e-3)
    assert (share[probabilities == 0] == 0).all()


def test_only_the_named_parts_become_trainable(lm):
    chosen = list(trainable(lm.latents, "policy"))
    assert {id(p) for p in chosen} == {id(p) for p in lm.latents.policy.parameters()}
    assert {name.split(".")[0] for name, p in lm.latents.named_parameters() if p.requires_grad} == {"policy"}
