"""Held-out measures of a latent model: is the world model better, are the codes alive, does the policy know them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentModules, fan_out_states, world_model_states
from colasearch.model.world_model import mixture_log_probs
from colasearch.training.data.corpus import pack
from colasearch.training.data.hidden_cache import States, padded
from colasearch.training.running.loop import Metrics

ROWS = 2048  # transitions whose full-vocabulary logits are held at once
FAN_OUT_ROWS = 8  # states whose 64 full-vocabulary distributions are held at once


@torch.no_grad()
def evaluate(
    modules: LatentModules,
    base: BaseModel,
    states: States,
    indices: Sequence[int],
    mixture_positions: int = 256,
    batch_tokens: int = 8192,
    given_codes: Sequence[Tensor] | None = None,
) -> Metrics:
    """Measure ``modules`` on the documents ``indices``.

    Args:
        modules: The latent modules.
        base: The base, fine-tuned or not.
        states: Its hidden states.
        indices: Documents.
        mixture_positions: Positions for ``mixture_kl``; 0: it is left out, as before a policy is trained.
        batch_tokens: Padded tokens in one pass.
        given_codes: The IDM's codes ``[T-1]`` of each document, where the IDM reads other states than ``states``: those
            of the base before fine-tuning.

    Returns:
        ``base_ce``: the base's own cross-entropy, nats a token. ``wm_ce``: the world model's under the IDM's codes.
        ``wm_gain``: share by which it is lower. ``alive``: codes used at all. ``code_perplexity``: exp of the entropy
        of code use. ``policy_ce``: the policy's cross-entropy against the IDM's codes; ``policy_perplexity``: its exp.
        ``mixture_kl``: KL(base || sum_a pi(a) WM(a)) of next-token distributions, nats, over ``mixture_positions``
        evenly spread positions.
    """
    was_training = modules.training
    modules.eval()
    size = modules.config.num_codes
    sums = dict.fromkeys(("base_ce", "wm_ce", "policy_ce"), 0.0)
    counts_K = torch.zeros(size)
    total = 0
    kept: list[tuple[Tensor, Tensor]] = []
    wanted = sum(states.documents[i].counted for i in indices)
    stride = max(1, wanted // max(1, mixture_positions))
    for group in pack(states.documents, indices, batch_tokens):
        batch = states.batch(group)
        valid = batch.valid_BT
        hidden = batch.hidden_BTD[:, :-1][valid]
        targets = batch.tokens_BT[:, 1:][valid]
        if given_codes is None:
            codes = modules.idm.codes(batch.hidden_BTD)[valid]
        else:
            codes = padded([given_codes[i] for i in group], valid)[valid]
        scores = modules.policy(batch.hidden_BTD)[:, :-1][valid].float()
        counts_K += torch.bincount(codes, minlength=size).cpu()
        sums["policy_ce"] += float(F.cross_entropy(scores, codes, reduction="sum"))
        for part in range(0, len(targets), ROWS):
            rows = slice(part, part + ROWS)
            merged = world_model_states(modules, base, hidden[rows], codes[rows])
            for name, head_input in (("base_ce", hidden[rows]), ("wm_ce", merged)):
                logits = base.logits(head_input.to(base.dtype))
                sums[name] += float(F.cross_entropy(logits, targets[rows], reduction="sum"))
        first = -total % stride
        kept.append((hidden[first::stride], scores[first::stride]))
        total += len(targets)
    share = counts_K / max(1, total)
    result = {name: value / max(1, total) for name, value in sums.items()}
    result["wm_gain"] = 1 - result["wm_ce"] / result["base_ce"]
    result["alive"] = float((counts_K > 0).sum())
    result["code_perplexity"] = math.exp(float(-(share * share.clamp_min(1e-12).log()).sum()))
    result["policy_perplexity"] = math.exp(result["policy_ce"])
    if mixture_positions:
        hidden = torch.cat([h for h, _ in kept])
        result["mixture_kl"] = mixture_kl(modules, base, hidden, torch.cat([s for _, s in kept]))
    result["tokens"] = float(total)
    modules.train(was_training)
    return result


@torch.no_grad()
def mixture_kl(modules: LatentModules, base: BaseModel, hidden_ND: Tensor, scores_NK: Tensor) -> float:
    """Mean KL(base || sum_a pi(a) WM(a)) in nats over the states ``hidden_ND`` with policy scores ``scores_NK``."""
    total = 0.0
    for part in range(0, len(hidden_ND), FAN_OUT_ROWS):
        rows = slice(part, part + FAN_OUT_ROWS)
        own = torch.log_softmax(base.logits(hidden_ND[rows].to(base.dtype)), dim=-1)
        merged = fan_out_states(modules, base, hidden_ND[rows])
        each = torch.log_softmax(base.logits(merged.to(base.dtype)), dim=-1)
        mixed = mixture_log_probs(torch.log_softmax(scores_NK[rows], dim=-1), each)
        total += float((own.exp() * (own - mixed)).sum())
    return total / max(1, len(hidden_ND))
