"""Texts that go on from given tokens until a stop string, an end token or a length: no task, no search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling
from colasearch.model.latent_lm import LatentLM
from colasearch.model.likelihood import Under


@dataclass(frozen=True, slots=True)
class Writing:
    """How texts are written.

    Attributes:
        under: ``codes``: from the policy, each with its most probable token. ``tokens``: from the base.
        max_tokens: Longest text.
        stops: A text ends before the first of these.
        temperature: Of the draws of codes or tokens; 0 takes the most probable one.
        top_k: Codes or tokens to keep; 0 keeps all.
        top_p: Of tokens, the most probable ones that reach this sum.
        seed: Fixes the draws, with a text's number.
    """

    under: Under = "codes"
    max_tokens: int = 256
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """The same for the engine."""
        if not self.temperature:
            return Sampling(top_k=1, token_top_k=1)
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k if self.under == "codes" else 0,
            token_temperature=self.temperature,
            token_top_k=self.top_k,
            token_top_p=self.top_p,
        )


@torch.inference_mode()
def write(lm: LatentLM, prompts: Sequence[Sequence[int]], how: Writing, first: int = 0) -> list[str]:
    """One text for each prompt, without the stop string and special tokens.

    Args:
        lm: The model.
        prompts: Token ids; at least one each.
        how: How.
        first: Number of the first text, which fixes its draws.
    """
    actor = Actor(lm, how.sampling, latent=how.under == "codes")
    ends, tokenizer = lm.base.end_ids, lm.base.tokenizer

    def said(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode(list(tokens), skip_special_tokens=True))

    def is_finished(tokens: Sequence[int]) -> bool:
        return tokens[-1] in ends or (bool(how.stops) and any(stop in said(tokens) for stop in how.stops))

    features, segments = actor.prefill(prompts)
    numbers = [seeded_uniforms(how.max_tokens, how.seed, first + i, "write") for i in range(len(prompts))]
    uniforms = torch.tensor([float(n[0]) for n in numbers], dtype=torch.float64, device=lm.base.device)
    tokens = actor.next_tokens(features, uniforms).token_B.tolist()
    rows = [Row([s], t, n[1:]) for s, t, n in zip(segments, tokens, numbers, strict=True)]
    decode(actor, rows, Rules(lambda token: False, is_finished, how.max_tokens, rollout=True))
    texts = []
    for row in rows:
        text = said(row.tokens)
        cuts = [text.find(stop) for stop in how.stops if stop in text]
        texts.append(text[: min(cuts)] if cuts else text)
    return texts
