"""What training by reward cost a model: how likely it finds general text, before and after, on codes and on tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from colasearch.benchmarks.harness.intervals import RESAMPLES
from colasearch.model.latent_lm import LatentLM
from colasearch.model.likelihood import Under, likelihoods

AT_ONCE = 32
"""Texts between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How likely one model finds each text.

    Attributes:
        nats: Of each text, minus the log of its probability.
        tokens: Of each text, how many tokens that is over.
    """

    nats: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Nats a token over all texts."""
        return math.fsum(self.nats) / max(1, sum(self.tokens))


def hear(
    lm: LatentLM,
    rows: Sequence[Sequence[int]],
    starts: Sequence[int],
    under: Under,
    progress: Callable[[int, int], None] = lambda done, total: None,
    left_out: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> Heard:
    """Measure texts; tokens before each text's start are its context and do not count, nor do those left out.

    ``left_out``: of each text, spans that are not measured: the actions of an episode, which training is to change.
    """
    nats: list[float] = []
    counts: list[int] = []
    spans = [()] * len(rows) if left_out is None else left_out
    for at in range(0, len(rows), AT_ONCE):
        part = slice(at, at + AT_ONCE)
        found = likelihoods(lm, rows[part], starts[part], under)
        for one, start, out in zip(found, starts[part], spans[part], strict=True):
            counted = torch.ones(len(one.log_probs_T), dtype=torch.bool)
            for begin, end in out:
                counted[max(0, begin - start) : max(0, end - start)] = False
            nats.append(-float(one.log_probs_T[counted].double().sum()))
            counts.append(int(counted.sum()))
        progress(len(nats), len(rows))
    return Heard(tuple(nats), tuple(counts))


def forgotten(before: Heard, after: Heard, seed: int = 0) -> dict[str, Any]:
    """Both models on the same texts.

    Returns:
        ``{"before": {"nats", "perplexity"}, "after": {...}, "difference", "ci95", "separate", "worse"}``. ``nats`` are
        of one token, ``difference`` is after less before: above 0 where something was forgotten. ``ci95`` is the
        percentile interval of a bootstrap over texts, ``worse`` the share of texts that became less likely.
    """
    a, b, count = (np.asarray(values, dtype=np.float64) for values in (before.nats, after.nats, before.tokens))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, len(count)])))
    drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=RESAMPLES)
    low, high = np.quantile((drawn @ (b - a)) / (drawn @ count), [0.025, 0.975])
    return {
        "before": {"nats": before.mean, "perplexity": math.exp(min(700.0, before.mean))},
        "after": {"nats": after.mean, "perplexity": math.exp(min(700.0, after.mean))},
        "difference": after.mean - before.mean,
        "ci95": [float(low), float(high)],
        "separate": bool(low > 0 or high < 0),
        "worse": float((b > a).mean()),
    }
