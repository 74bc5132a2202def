"""Guided fine-tuning: the base learns to write solutions under given latent actions (cola-spec section 2.3).

L = CE(WM(e_t, a_t C), x_{t+1}) over the tokens of the response, with e_t from the base that trains; IDM, codebook,
merge head and policy are frozen.

* FTA-I: a = argmax IDM on the states of the *frozen* base, computed once. (The published code lets the IDM read the
  base that trains, so its labels drift.) Afterwards the policy is cloned anew: it has to predict those codes from the
  tuned base's states.
* FTA-P: a = argmax of the frozen policy on the states of the base as it now is, which is what decoding will do.

``base_weight`` w adds w times the base's own cross-entropy, without codes, to either: not in the published method, but
under the loss above alone the base unlearns to write by itself, on which new codes can be learned.

Codes are never differentiated. Nothing is detached in the output form: gradients flow through both places of e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM, LatentModules, world_model_states
from colasearch.training.base.tuning import TunableBase, mixed_precision
from colasearch.training.data.corpus import Corpus, Document, pack
from colasearch.training.data.hidden_cache import Batch, HiddenStates, padded, tokens_and_valid
from colasearch.training.running.loop import Metrics


def responses(corpus: Corpus) -> Corpus:
    """The corpus with prompts left out of the loss, without documents that are prompt only.

    Raises:
        InputError: No document has a response.
    """
    kept = [
        replace(d, start=max(d.start, d.prompt)) for d in corpus.documents if len(d.tokens) > max(d.start, d.prompt)
    ]
    if not kept:
        raise InputError("no text has a response to train on; give rows with 'problem' and 'solution', or 'text'")
    return Corpus(kept, f"{corpus.sha256} responses")


@torch.no_grad()
def idm_codes(modules: LatentModules, states: HiddenStates, batch_tokens: int = 8192) -> list[Tensor]:
    """The IDM's codes ``[T-1]`` of every document, on the states of the base as it is now."""
    codes: list[Tensor] = [torch.empty(0, dtype=torch.long)] * len(states.documents)
    order = sorted(range(len(states.documents)), key=lambda i: len(states.documents[i].tokens))
    for group in pack(states.documents, order, batch_tokens):
        found = modules.idm.codes(states.batch(group).hidden_BTD).cpu()
        for row, i in enumerate(group):
            codes[i] = found[row, : len(states.documents[i].tokens) - 1].clone()
    return codes


def token_batch(documents: Sequence[Document], indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens ``[B, T]``, zero where padded on the right, and ``[B, T-1]``: which transitions count in the loss."""
    tokens, valid = tokens_and_valid([documents[i] for i in indices])
    return tokens.to(device), valid.to(device)


class GuidedTuner:
    """Accumulates the gradients of guided fine-tuning.

    Args:
        lm: The model; its latent modules stay frozen.
        tunable: The weights of its base that train.
        documents: Texts.
        codes: Each text's codes ``[T-1]`` (FTA-I); None takes the frozen policy's (FTA-P).
        micro_tokens: Padded tokens in one pass.
        base_weight: Weight of the base's own loss.
    """

    def __init__(
        self,
        lm: LatentLM,
        tunable: TunableBase,
        documents: Sequence[Document],
        codes: Sequence[Tensor] | None,
        micro_tokens: int = 2048,
        base_weight: float = 0.0,
    ) -> None:
        self.lm, self.tunable, self.documents, self.codes = lm, tunable, documents, codes
        self.micro_tokens, self.base_weight = micro_tokens, base_weight
        self.modules = lm.require_latents().requires_grad_(False)

    def parameters(self) -> list[torch.nn.Parameter]:
        """What guided fine-tuning trains."""
        return self.tunable.parameters()

    def forward(self, indices: Sequence[int]) -> tuple[Batch, Tensor, Tensor]:
        """The texts' batch on the base as it is, the codes ``[B, T-1]`` and the policy's scores ``[B, T-1, K]``."""
        base = self.lm.base
        tokens, valid = token_batch(self.documents, indices, base.device)
        # Padding is on the right and attention is causal, so real tokens never see it.
        hidden = base.hidden(tokens)
        with torch.no_grad():
            scores = self.modules.policy(hidden.detach().to(self.modules.codebook.weight.dtype))[:, :-1].float()
        codes = scores.argmax(-1) if self.codes is None else padded([self.codes[i] for i in indices], valid)
        return Batch(hidden, tokens, valid), codes, scores

    def world_model_loss(self, batch: Batch, codes: Tensor) -> Tensor:
        """Mean cross-entropy, nats a token, of the world model under ``codes`` ``[B, T-1]``."""
        hidden = batch.hidden_BTD[:, :-1][batch.valid_BT]
        states = world_model_states(self.modules, self.lm.base, hidden, codes[batch.valid_BT])
        return F.cross_entropy(self.lm.base.logits(states), batch.tokens_BT[:, 1:][batch.valid_BT])

    def base_loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy, nats a token, of the base alone."""
        logits = self.lm.base.logits(batch.hidden_BTD[:, :-1][batch.valid_BT])
        return F.cross_entropy(logits, batch.tokens_BT[:, 1:][batch.valid_BT])

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch; returns its metrics, averaged over transitions."""
        total = sum(self.documents[i].counted for i in indices)
        cross_entropy = 0.0
        for micro in pack(self.documents, indices, self.micro_tokens):
            with mixed_precision(self.lm.base):
                batch, codes, _ = self.forward(micro)
                guided = self.world_model_loss(batch, codes)
                loss = guided + self.base_weight * self.base_loss(batch) if self.base_weight else guided
            share = int(batch.valid_BT.sum()) / total
            (loss * share).backward()  # type: ignore[no-untyped-call]
            cross_entropy += float(guided.detach()) * share
        return {"ce": cross_entropy}

    @torch.no_grad()
    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Held-out measures, nats a token.

        Returns:
            ``wm_ce``: the world model under the given codes. ``greedy_ce``: under the policy's most probable codes, as
            decoding uses it. ``base_ce``: the base alone, without codes. ``policy_ce``: the policy against the given
            codes. ``tokens``: how many were measured.
        """
        sums = dict.fromkeys(("wm_ce", "greedy_ce", "base_ce", "policy_ce"), 0.0)
        total = 0
        for group in pack(self.documents, indices, self.micro_tokens):
            with mixed_precision(self.lm.base):
                batch, codes, scores = self.forward(group)
                count = int(batch.valid_BT.sum())
                parts = {
                    "wm_ce": self.world_model_loss(batch, codes),
                    "greedy_ce": self.world_model_loss(batch, scores.argmax(-1)),
                    "base_ce": self.base_loss(batch),
                    "policy_ce": F.cross_entropy(scores[batch.valid_BT], codes[batch.valid_BT]),
                }
            for key, value in parts.items():
                sums[key] += float(value) * count
            total += count
        return {**{key: value / max(1, total) for key, value in sums.items()}, "tokens": float(total)}
