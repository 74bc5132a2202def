"""Attention by plain torch products, of one new token a row and of whole prompts, in all the ways that layers score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.engine.memory.interfaces import Scoring

QUERIES = 8
"""Least number of queries of one product with a prompt: with fewer than 4 MKL sums in another order (measured)."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, how: Scoring) -> Tensor:
    """Attention of ``[n, kv_heads, group, d]`` queries on as many rows of a panel.

    The group of query heads that shares a key head stands in the place of query tokens, so keys are read once.
    """
    if queries.device.type != "cpu" and how.cap is None:
        return F.scaled_dot_product_attention(
            queries, keys, values, mask.expand(-1, 1, queries.shape[2], -1), scale=how.scale
        )
    # Plain products are faster here than torch's fused attention (docs/performance.md), and unlike it give a lone row
    # the same bits as a row of a batch.
    return torch.matmul(_scores(queries, keys, how).add_(mask).softmax(-1), values)


def attend_and_sum(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, how: Scoring) -> tuple[Tensor, Tensor]:
    """As ``attend``, with the log-sum-exp of the scores ``[n, kv_heads, group]``."""
    scores = _scores(queries, keys, how).add_(mask)
    return torch.matmul(scores.softmax(-1), values), scores.float().logsumexp(-1)


def found_in_prompt(
    queries: Tensor, keys: Tensor, values: Tensor, how: Scoring, position_n: Tensor
) -> tuple[Tensor, Tensor]:
    """What some rows find in one long prompt, read once for all of them; as ``attend_and_sum``.

    Args:
        queries: ``[n, kv_heads, group, d]``.
        keys: Of the prompt, ``[kv_heads, T, d]``.
        values: As ``keys``.
        how: How they score.
        position_n: Positions of the rows' new tokens, for a window.
    """
    count, heads, group, size = queries.shape
    asked = queries.transpose(0, 1).reshape(heads, count * group, size)
    asked = F.pad(asked, (0, 0, 0, max(0, QUERIES - count * group)))
    scores = _scores(asked, keys, how)
    if how.window is not None:
        gone_nT = torch.arange(keys.shape[1], device=keys.device) <= position_n[:, None] - how.window
        gone = F.pad(gone_nT.repeat_interleave(group, 0), (0, 0, 0, asked.shape[1] - count * group))
        # Finite: a row whose window has left the prompt takes a share of 0 of some mean, not of NaN.
        scores = scores.masked_fill(gone, torch.finfo(scores.dtype).min)
    sums = scores.logsumexp(-1)[:, : count * group]
    found = torch.matmul(scores.softmax(-1), values)[:, : count * group]
    return (
        found.reshape(heads, count, group, size).transpose(0, 1),
        sums.reshape(heads, count, group).transpose(0, 1),
    )


def join(own: Tensor, own_sums: Tensor, found: Tensor, sums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Put what ``rows`` found in one part of their text together with what they found in another.

    Source: Juravsky et al. 2024, "Hydragen", section 3: two softmaxes over parts join by their log-sum-exps.
    """
    mine = own_sums[rows]
    share = torch.sigmoid(sums - mine)[..., None].to(found.dtype)
    both = own.index_copy(0, rows, own[rows] * (1 - share) + found * share)
    return both, own_sums.index_copy(0, rows, torch.logaddexp(mine, sums.to(mine.dtype)))


def sunk(out: Tensor, sums: Tensor, sinks: Tensor | None) -> Tensor:
    """What is left of ``out`` ``[n, kv_heads, group, d]`` where a sink takes its share of the weights."""
    if sinks is None:
        return out
    share = torch.sigmoid(sums - sinks.float().view(out.shape[1:3]))
    return out * share[..., None].to(out.dtype)


def causal(query: Tensor, key: Tensor, value: Tensor, how: Scoring) -> Tensor:
    """Causal attention of a text's last tokens to the whole of it.

    Args:
        query: ``[1, heads, n, d]``: of the last n tokens, or of all.
        key: ``[1, heads or fewer, T, d]``: of all tokens.
        value: As ``key``.
        how: How they score.
    """
    length, past, grouped = query.shape[2], key.shape[2] - query.shape[2], query.shape[1] != key.shape[1]
    if how.cap is None and how.sinks is None and how.window is None and not past:
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=length > 1, scale=how.scale, enable_gqa=grouped
        )
    at = torch.arange(key.shape[2], device=query.device)
    asking = at[past:, None]
    hidden_TT = at > asking
    if how.window is not None:
        hidden_TT |= at <= asking - how.window
    if how.cap is None and how.sinks is None:
        return F.scaled_dot_product_attention(query, key, value, ~hidden_TT, scale=how.scale, enable_gqa=grouped)
    group = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(group, 1) for x in (key, value))
    scores = _scores(query, key, how.scaled(query.shape[-1])).float().masked_fill(hidden_TT, float("-inf"))
    out = torch.matmul(scores.softmax(-1).to(value.dtype), value)
    if how.sinks is None:
        return out
    share = torch.sigmoid(scores.logsumexp(-1) - how.sinks.float()[:, None])
    return out * share[..., None].to(out.dtype)


def _scores(queries: Tensor, keys: Tensor, how: Scoring) -> Tensor:
    assert how.scale is not None
    scores = torch.matmul(queries * how.scale, keys.transpose(-1, -2))
    return scores if how.cap is None else torch.tanh(scores / how.cap) * how.cap
