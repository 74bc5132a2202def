"""Cached decoding against recomputation from scratch, and independence of batch-mates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.settings import Sampling
from colasearch.errors import PrerequisiteError
from colasearch.model.latent_lm import LatentLM, fan_out_states, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs

PROMPTS = [[5, 9, 40, 3, 77, 21], [8, 8, 100], [250, 1, 2, 3, 4, 5, 6, 7, 90, 13, 60]]
NEVER = Rules(lambda token: False, lambda tokens: False, max_step_tokens=4, rollout=True)


def recompute(lm: LatentLM, tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden state and policy scores after ``tokens``, with no cache and no batch."""
    hidden = lm.base.hidden(torch.tensor([tokens]))
    return hidden[0, -1], lm.latents.policy(hidden)[0, -1]


def test_prefill_of_ragged_prompts_equals_each_alone(lm):
    features, segments = Actor(lm, Sampling()).prefill(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        hidden, scores = recompute(lm, prompt)
        torch.testing.assert_close(features.hidden_BD[row], hidden, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features.scores_BA[row], scores, atol=1e-4, rtol=1e-4)
        assert segments[row].shape[3] == len(prompt)


def test_fan_out_gives_the_most_probable_token_under_each_code(lm):
    actor = Actor(lm, Sampling())
    features, _ = actor.prefill(PROMPTS)
    tokens = actor.fan_out(features, np.zeros((3, 8)))
    states = fan_out_states(lm.latents, lm.base, features.hidden_BD)
    assert tokens.tolist() == lm.base.logits(states).argmax(-1).tolist()
    assert len(set(tokens[0].tolist())) > 1  # else the codes say nothing and these tests little


def naive_text(lm: LatentLM, prompt: list[int], first: int, uniforms: np.ndarray) -> list[int]:
    """The same decoding, one token at a time from scratch."""
    tokens = [first]
    while len(tokens) <= len(uniforms):
        hidden, scores = recompute(lm, prompt + tokens)
        uniform = torch.tensor([uniforms[len(tokens) - 1]])
        code = sample_codes(sampling_log_probs(scores[None]), uniform)
        state = world_model_states(lm.latents, lm.base, hidden[None], code)
        tokens.append(int(lm.base.logits(state).argmax()))
    return tokens


def rows_for(segments: list[torch.Tensor], length: int = 12) -> list[Row]:
    return [Row([segments[i]], 30 + i, seeded_uniforms(length + 3 * i, 0, i)) for i in range(len(segments))]


def test_batched_cached_decoding_equals_naive_decoding(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    rows = rows_for(segments)
    decode(actor, rows, NEVER)
    for prompt, row in zip(PROMPTS, rows, strict=True):
        assert row.tokens == naive_text(lm, prompt, row.first_token, row.uniforms)
        assert row.step_tokens == 4
        hidden, scores = recompute(lm, prompt + row.tokens[:4])
        torch.testing.assert_close(row.features.hidden_BD[0], hidden, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(row.features.scores_BA[0], scores, atol=1e-4, rtol=1e-4)
        assert row.segment.shape[3] == 4
    assert actor.generated_tokens == sum(len(r.tokens) for r in rows)


def test_a_step_can_be_continued_from_its_segments(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    rows = rows_for(segments)
    decode(actor, rows, NEVER)
    after = [Row([segments[i], row.segment], 50, seeded_uniforms(6, "x", i)) for i, row in enumerate(rows)]
    decode(actor, after, NEVER)
    for prompt, row, more in zip(PROMPTS, rows, after, strict=True):
        assert more.tokens == naive_text(lm, prompt + row.tokens[:4], 50, more.uniforms)


def test_a_row_does_not_depend_on_its_batch_mates(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    alone = Row([segments[0]], 30, seeded_uniforms(20, "needle"))
    decode(actor, [alone], NEVER)
    for place in (0, 7, 15):
        batch = [Row([segments[i % 3]], 40 + i, seeded_uniforms(5 + i, i)) for i in range(16)]
        batch[place] = Row([segments[0]], 30, seeded_uniforms(20, "needle"))
        decode(actor, batch, NEVER)
        assert batch[place].tokens == alone.tokens
    other = Row([segments[0]], 30, seeded_uniforms(20, "another needle"))
    decode(actor, [other], NEVER)
    assert other.tokens != alone.tokens  # the check above can fail


def test_without_rollout_decoding_ends_with_the_step(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    rows = rows_for(segments)
    decode(actor, rows, Rules(lambda token: False, lambda tokens: False, max_step_tokens=4, rollout=False))
    assert [len(r.tokens) for r in rows] == [4, 4, 4]
    assert all(r.features is not None and r.segment.shape[3] == 4 for r in rows)


def test_a_finished_text_is_not_continued(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    rows = rows_for(segments)
    decode(actor, rows, Rules(lambda t: False, lambda tokens: len(tokens) == 2, max_step_tokens=4, rollout=True))
    for row in rows:
        assert (len(row.tokens), row.ended, row.step_ended, row.step_tokens) == (2, True, True, 2)
        assert row.segment is None
        assert row.features is None


def test_a_full_text_is_cut_and_not_called_finished(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill(PROMPTS)
    row = Row([segments[0]], 30, np.zeros(2))
    decode(actor, [row], NEVER)
    assert (len(row.tokens), row.ended, row.step_tokens) == (3, False, 3)
    assert row.features is None


def test_sampled_actions_draw_from_the_base(base):
    actor = Actor(LatentLM("plain", base, None), Sampling(token_temperature=1.0, token_top_k=0), latent=False)
    features, _ = actor.prefill(PROMPTS)
    grid = np.tile((np.arange(4000) + 0.5) / 4000, (3, 1))
    tokens = actor.fan_out(features, grid)
    wanted = torch.softmax(base.logits(base.hidden(torch.tensor([PROMPTS[0]]))[0, -1]), -1)
    share = torch.bincount(tokens[0], minlength=base.vocab_size) / 4000
    torch.testing.assert_close(share, wanted, atol=2e-3, rtol=0)


def test_seeds_differ_between_paths_and_repeat():
    assert (seeded_uniforms(4, 0, "a") == seeded_uniforms(4, 0, "a")).all()
    assert (seeded_uniforms(4, 0, "a") != seeded_uniforms(4, 0, "b")).any()
    assert (seeded_uniforms(4, 0, "a") == seeded_uniforms(9, 0, "a")[:4]).all()


def test_a_base_without_a_full_attention_cache_is_refused(base):
    class Config:
        layer_types = ("full_attention", "linear_attention")
        num_hidden_layers, num_key_value_heads = 2, 1

    class Model:
        config = Config()

        def parameters(self):
            return iter(())

    class Base:
        model = Model()
        packed = compiled = False

    with pytest.raises(PrerequisiteError, match="linear_attention"):
        Actor(LatentLM("x", Base(), None), Sampling(), latent=False, engine="tree")


def test_the_token_temperature_counts(base):
    actor = Actor(LatentLM("base", base, None), Sampling(token_temperature=1e-3, token_top_k=0), latent=False)
    features, _ = actor.prefill([[3, 141, 59]])
    uniforms = torch.linspace(0.01, 0.99, 9)
    cold = actor.next_tokens(features.rows([0] * 9), uniforms).token_B
    assert set(cold.tolist()) == set(actor.greedy_tokens(features).tolist())
    warm = Actor(LatentLM("base", base, None), Sampling(token_temperature=3.0, token_top_k=0), latent=False)
    assert len(set(warm.next_tokens(features.rows([0] * 9), uniforms).token_B.tolist())) > 3


def test_a_pass_asks_the_device_once_whether_the_ends_of_steps_are_finite(lm, monkeypatch):
    """However many rows end a step there; each look stops the host until the device is done."""
    asked = []
    usable = Features.usable
    monkeypatch.setattr(Features, "usable", lambda self: asked.append(len(self.hidden_BD)) or usable(self))
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill([[5, 6, 7]])
    rows = [Row(segments, 30 + i, seeded_uniforms(9, i)) for i in range(6)]
    decode(actor, rows, Rules(lambda token: False, lambda tokens: False, max_step_tokens=4, rollout=False))
    assert all(row.features is not None for row in rows)
    assert asked == [6] * 4  # three draws of next tokens, and the end
