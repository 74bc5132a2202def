"""How far a reward model's own chances can be believed: accuracy and calibration on pairs.

The chance that the chosen text is preferred is sigmoid(r_chosen - r_rejected) (Bradley-Terry). The model's *confidence*
is the chance of the text that it ranks first, so it lies in [0.5, 1]; it is calibrated where it equals the share of
pairs ranked rightly. The expected calibration error is that of Guo et al., arXiv 1706.04599, over bins of equal width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of like confidence.

    Attributes:
        low, high: Confidences of the bin.
        pairs: How many pairs.
        confidence: Their mean confidence.
        accuracy: The share ranked rightly; a tie counts half.
    """

    low: float
    high: float
    pairs: int
    confidence: float
    accuracy: float


def chance(margin: float) -> float:
    """Sigmoid of ``margin``: the chance that the text is preferred whose reward is higher by it."""
    return 1 / (1 + math.exp(-margin)) if margin >= 0 else math.exp(margin) / (1 + math.exp(margin))


def right(margin: float) -> float:
    """1 where the chosen text has the higher reward, 0.5 for a tie."""
    return 0.5 if margin == 0 else float(margin > 0)


def reliability(margins: Sequence[float], bins: int = BINS) -> list[Bin]:
    """Bins that hold a pair, from the least confident.

    Args:
        margins: r_chosen - r_rejected of each pair.
        bins: Of equal width, between 0.5 and 1.
    """
    held: list[list[float]] = [[] for _ in range(bins)]
    for margin in margins:
        held[min(bins - 1, int((chance(abs(margin)) - 0.5) * 2 * bins))].append(margin)
    width = 0.5 / bins
    return [
        Bin(
            0.5 + i * width,
            0.5 + (i + 1) * width,
            len(part),
            math.fsum(chance(abs(m)) for m in part) / len(part),
            math.fsum(map(right, part)) / len(part),
        )
        for i, part in enumerate(held)
        if part
    ]


def measures(margins: Sequence[float]) -> dict[str, float]:
    """Held-out measures of a reward model.

    Args:
        margins: r_chosen - r_rejected of each pair; at least one.

    Returns:
        ``accuracy``; ``loss``, the mean of -log sigmoid(margin) in nats; ``margin``, the mean; ``ece``; ``pairs``.
    """
    n = len(margins)
    found = reliability(margins)
    return {
        "accuracy": math.fsum(map(right, margins)) / n,
        "loss": math.fsum(max(0.0, -m) + math.log1p(math.exp(-abs(m))) for m in margins) / n,
        "margin": math.fsum(margins) / n,
        "ece": math.fsum(b.pairs * abs(b.accuracy - b.confidence) for b in found) / n,
        "pairs": float(n),
    }
