"""How sure a measured accuracy is: Wilson intervals, exact McNemar test, paired bootstrap, pass@k."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054
"""97.5% quantile of the normal distribution."""
RESAMPLES = 10_000
ALPHA = 0.05
"""Level of the exact test: as likely, or less, counts as a difference."""
LEAST_DISCORDANT = 6
"""Problems that one arm alone solves, below which nothing is said: with 5, even 5 : 0 has p = 0.0625."""


def wilson(correct: int, total: int) -> tuple[float, float]:
    """95% interval of a share by Wilson's score method (1927, without continuity correction); (0, 1) for no trials.

    Raises:
        ValueError: ``correct`` is not in 0..total.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} of {total} is no share; the count must lie between 0 and the total")
    if total == 0:
        return 0.0, 1.0
    share, z2 = correct / total, Z95 * Z95
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    # At 0 and at all the formula's end is exact; rounding must not move it inside.
    low = 0.0 if correct == 0 else max(0.0, middle - half)
    high = 1.0 if correct == total else min(1.0, middle + half)
    return low, high


def pass_at_k(total: int, correct: int, k: int) -> float:
    """Probability that of ``k`` texts, drawn from ``total`` of which ``correct`` are right, at least one is right.

    The unbiased estimator ``1 - C(total - correct, k) / C(total, k)`` of Chen et al. 2021, "Evaluating large language
    models trained on code".

    Raises:
        ValueError: ``k`` is not in 1..total, or ``correct`` not in 0..total.
    """
    if not 0 <= correct <= total or not 1 <= k <= total:
        raise ValueError(f"pass@{k} of {correct} right in {total}: k must lie in 1..total, the count in 0..total")
    return 1.0 - math.comb(total - correct, k) / math.comb(total, k)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of the exact McNemar test: how often a fair coin gives so uneven a split of the discordant problems.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", with the binomial
    distribution in place of its normal approximation, so it holds for few problems, too. 1 where no problem differs.

    Raises:
        ValueError: A count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are no counts; they must not be negative")
    n, fewer = only_first + only_second, min(only_first, only_second)
    if 2 * fewer == n:
        return 1.0
    # Whole numbers until the end: floats would overflow at some 1,000 problems.
    return float(2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


@dataclass(frozen=True, slots=True)
class Paired:
    """Comparison of two arms on the same problems.

    Attributes:
        n: Problems that both have.
        difference: Accuracy of the first less that of the second.
        low, high: 95% percentile interval of the paired bootstrap.
        only_first, only_second: Problems that one alone has right.
    """

    n: int
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """Of the exact McNemar test."""
        return mcnemar(self.only_first, self.only_second)

    @property
    def enough(self) -> bool:
        """Enough problems tell the arms apart for anything to be said of which is better."""
        return self.only_first + self.only_second >= LEAST_DISCORDANT

    @property
    def separate(self) -> bool:
        """The difference is not chance: enough discordant problems, exact p below 0.05, and no 0 in the interval.

        The bootstrap alone will not do: with 3 : 0 of six problems, or 4 : 0 of any number, its interval leaves out 0
        although the exact test has p = 0.25 and 0.125.
        """
        return self.enough and self.p_value < ALPHA and (self.low > 0 or self.high < 0)


def paired_bootstrap(first: Sequence[bool], second: Sequence[bool], seed: int, resamples: int = RESAMPLES) -> Paired:
    """Bootstrap of the difference of two accuracies, problems drawn with replacement, both arms together.

    A problem's difference is 1, 0 or -1, so a resample is one multinomial draw of how many of each: the same
    distribution as drawing the problems one by one.

    Raises:
        ValueError: The arms have different numbers of problems.
    """
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} and {len(second)} outcomes cannot be paired; give both arms' on the same problems"
        )
    n = len(first)
    wins = sum(a and not b for a, b in zip(first, second, strict=True))
    losses = sum(b and not a for a, b in zip(first, second, strict=True))
    if n == 0:
        return Paired(0, 0.0, -1.0, 1.0, 0, 0)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, n, wins, losses])))
    drawn = rng.multinomial(n, [wins / n, losses / n, (n - wins - losses) / n], size=resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    return Paired(n, (wins - losses) / n, float(low), float(high), wins, losses)


def paired_ratio(
    first: Sequence[bool], second: Sequence[bool], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float, float] | None:
    """Accuracy of the first arm divided by that of the second, and its 95% percentile interval over problems.

    Resampled as in :func:`paired_bootstrap`. An end of the interval is infinite where so many resamples have no problem
    that the second solves.

    Returns:
        Ratio, low, high; None where the second solves no problem, so that there is no ratio.

    Raises:
        ValueError: The arms have different numbers of problems.
    """
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} and {len(second)} outcomes cannot be paired; give both arms' on the same problems"
        )
    pairs = list(zip(first, second, strict=True))
    n = len(pairs)
    both, mine, theirs = (
        sum(a and b for a, b in pairs),
        sum(a and not b for a, b in pairs),
        sum(b > a for a, b in pairs),
    )
    if not both + theirs:
        return None
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, n, both, mine, theirs])))
    drawn = rng.multinomial(n, [both / n, mine / n, theirs / n, (n - both - mine - theirs) / n], size=resamples)
    top, bottom = drawn[:, 0] + drawn[:, 1], drawn[:, 0] + drawn[:, 2]
    ratios = np.divide(top, bottom, out=np.full(resamples, math.inf), where=bottom > 0)
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    return (both + mine) / (both + theirs), float(low), float(high)
