"""Perplexity of sampled text under the base."""

from __future__ import annotations

import math

import pytest
import torch

from colasearch.training.latent_actions.fluency import base_cross_entropy, fluency, sample_texts

PROMPTS = [[5, 9, 40], [8, 100, 30, 7], [77, 1]] * 40


def test_the_base_s_own_samples_have_its_own_entropy(lm):
    """For text drawn from a model, the expected cross-entropy under it is its entropy along the way."""
    texts = sample_texts(lm, PROMPTS, "sampled", 0, 8)
    entropy = count = 0.0
    for prompt, text in zip(PROMPTS, texts, strict=True):
        states = lm.base.hidden(torch.tensor([[*prompt, *text]]))[0, len(prompt) - 1 : -1]
        log_probs = torch.log_softmax(lm.base.logits(states), -1)
        entropy -= float((log_probs.exp() * log_probs).sum())
        count += len(text)
    assert base_cross_entropy(lm.base, PROMPTS, texts) == pytest.approx(entropy / count, abs=0.25)


def test_cross_entropy_counts_the_text_only(lm):
    alone = base_cross_entropy(lm.base, [[5, 9, 40]], [[3]])
    logits = lm.base.logits(lm.base.hidden(torch.tensor([[5, 9, 40]]))[0, -1])
    assert alone == pytest.approx(-float(torch.log_softmax(logits, -1)[3]), rel=1e-4)


def test_the_ratio_is_that_of_the_two(lm):
    result = fluency(lm, PROMPTS[:6], max_tokens=5)
    assert result["text_perplexity_ratio"] == pytest.approx(
        result["code_text_perplexity"] / result["own_text_perplexity"]
    )
    assert all(math.isfinite(v) and v > 0 for v in result.values())


def test_texts_end_at_the_end_token_or_the_limit(lm):
    for actions in ("latent", "sampled"):
        for text in sample_texts(lm, PROMPTS[:20], actions, 0, 8):
            assert len(text) == 8 or text[-1] == 0
            assert 0 not in text[:-1]
