"""Intervals and estimators against scipy, enumeration and naive resampling."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colasearch.benchmarks.harness.intervals import mcnemar, paired_bootstrap, pass_at_k, wilson


@settings(deadline=None)  # scipy is imported in the first call
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts):
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: pip install '.[dev]'")
    correct, total = counts
    expected = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(counts):
    correct, total = counts
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    mirrored = wilson(total - correct, total)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)
    for bad in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="is no share"):
            wilson(*bad)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_all_draws(case):
    total, correct, k = case
    draws = list(combinations(range(total), k))
    assert pass_at_k(total, correct, k) == pytest.approx(sum(min(d) < correct for d in draws) / len(draws))


def test_pass_at_k_refuses_more_than_there_are():
    for bad in ((3, 1, 4), (3, 4, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="k must lie in"):
            pass_at_k(*bad)


def outcomes(min_size: int = 1):
    return st.lists(st.tuples(st.booleans(), st.booleans()), min_size=min_size, max_size=60)


@settings(deadline=None)
@given(outcomes(), st.integers(0, 2**70))
def test_the_bootstrap_holds_the_difference_and_mirrors(pairs, seed):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    one = paired_bootstrap(first, second, seed)
    assert one.low <= one.difference <= one.high
    assert one.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert one.only_first == sum(a and not b for a, b in pairs)
    assert paired_bootstrap(first, second, seed) == one
    other = paired_bootstrap(second, first, seed)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=2.5 / len(pairs))


def test_the_bootstrap_is_that_of_drawing_problems_one_by_one():
    rng = np.random.default_rng(5)
    first, second = rng.random(80) < 0.6, rng.random(80) < 0.4
    drawn = rng.integers(80, size=(20_000, 80))
    expected = np.quantile((first[drawn].mean(1) - second[drawn].mean(1)), [0.025, 0.975])
    found = paired_bootstrap(first.tolist(), second.tolist(), 0)
    assert (found.low, found.high) == pytest.approx(expected.tolist(), abs=0.02)


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(400):
        both = rng.random(100)
        first, second = both < 0.55, (both + 0.3 * rng.random(100)) < 0.55
        truth = 0.55 - (0.55 - 0.15)  # P(u + 0.3 v < 0.55) = 0.55 - 0.15
        found = paired_bootstrap(first.tolist(), second.tolist(), trial)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 400 <= 0.985


@pytest.mark.parametrize(
    ("mine", "theirs", "p"),
    [(3, 0, 0.25), (0, 4, 0.125), (5, 0, 0.0625), (6, 0, 0.03125), (8, 2, 0.109375), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_the_exact_test_is_that_of_a_fair_coin(mine, theirs, p):
    assert mcnemar(mine, theirs) == mcnemar(theirs, mine) == pytest.approx(p)


def test_the_exact_test_agrees_with_the_binomial_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for mine, theirs in [(1, 9), (40, 61), (700, 800), (3000, 2800)]:
        assert mcnemar(mine, theirs) == pytest.approx(stats.binomtest(mine, mine + theirs).pvalue)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "separate"),
    [(3, 0, 6, False), (4, 0, 6, False), (4, 0, 500, False), (5, 0, 20, False), (6, 0, 20, True), (9, 1, 40, True),
     (8, 2, 40, False)],
)  # fmt: skip
def test_few_problems_separate_nothing(wins, losses, n, separate):
    first = [True] * wins + [False] * (n - wins)
    second = [False] * wins + [True] * losses + [False] * (n - wins - losses)
    assert paired_bootstrap(first, second, 0).separate is separate
    assert paired_bootstrap(second, first, 0).separate is separate


def test_separate_means_that_the_interval_leaves_out_zero():
    assert paired_bootstrap([True] * 30, [False] * 30, 0).separate
    assert not paired_bootstrap([True, False] * 15, [False, True] * 15, 0).separate
    same = paired_bootstrap([True] * 5, [True] * 5, 0)
    assert (same.low, same.high, same.separate) == (0, 0, False)
    assert paired_bootstrap([], [], 0).n == 0
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap([True], [], 0)
