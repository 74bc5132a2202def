"""Whether text made by sampling codes is as fluent as the base's own: perplexity under the base, of both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.training.running.loop import Metrics

ROWS = 16


@torch.inference_mode()
def sample_texts(
    lm: LatentLM, prompts: Sequence[Sequence[int]], actions: str, seed: int, max_tokens: int
) -> list[list[int]]:
    """One text for each prompt, at temperature 1 and without truncation of any distribution.

    With ``latent`` actions codes are drawn from the policy and tokens are greedy; with ``sampled`` ones tokens are
    drawn from the base.
    """
    actor = Actor(lm, Sampling(token_temperature=1.0, token_top_k=0), latent=actions == "latent")
    ends = lm.base.end_ids
    rules = Rules(lambda token: False, lambda tokens: tokens[-1] in ends, max_tokens, rollout=True)
    texts: list[list[int]] = []
    for begin in range(0, len(prompts), ROWS):
        group = prompts[begin : begin + ROWS]
        features, segments = actor.prefill(group)
        numbers = [seeded_uniforms(max_tokens, seed, begin + i, actions) for i in range(len(group))]
        uniforms = torch.tensor([n[-1] for n in numbers], device=lm.base.device)
        first = actor.next_tokens(features, uniforms).token_B.tolist()
        rows = [Row([s], t, n[:-1]) for s, t, n in zip(segments, first, numbers, strict=True)]
        decode(actor, rows, rules)
        texts.extend(row.tokens for row in rows)
    return texts


@torch.inference_mode()
def base_cross_entropy(base: BaseModel, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> float:
    """The base's mean cross-entropy, nats a token, of ``texts`` after ``prompts``."""
    total, count = 0.0, 0
    for prompt, text in zip(prompts, texts, strict=True):
        tokens = torch.tensor([[*prompt, *text]], device=base.device)
        states = base.hidden(tokens)[0, len(prompt) - 1 : -1]
        total += float(F.cross_entropy(base.logits(states), tokens[0, len(prompt) :], reduction="sum"))
        count += len(text)
    return total / max(1, count)


def fluency(lm: LatentLM, prompts: Sequence[Sequence[int]], seed: int = 0, max_tokens: int = 64) -> Metrics:
    """Compare texts made from codes with the base's own samples.

    Returns:
        ``code_text_perplexity`` and ``own_text_perplexity`` under the base, and ``text_perplexity_ratio``, the first
        over the second.
    """
    entropy = {
        actions: base_cross_entropy(lm.base, prompts, sample_texts(lm, prompts, actions, seed, max_tokens))
        for actions in ("latent", "sampled")
    }
    return {
        "code_text_perplexity": math.exp(entropy["latent"]),
        "own_text_perplexity": math.exp(entropy["sampled"]),
        "text_perplexity_ratio": math.exp(entropy["latent"] - entropy["sampled"]),
    }
