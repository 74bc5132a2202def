"""Differential tests against mctx: same world, same visits, same order of expansion, same values.

JAX takes longest to compile mctx. So what mctx finds is recorded (``record_mctx.py``); every case is compared with the
record, and with mctx itself under ``--slow``.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from record_mctx import CASES, RECORD, Case, Found, blocks, ours, tables_hash, theirs

RECORDED = json.loads(RECORD.read_text())["cases"]
QUICK = [case for case in CASES if not case.slow]


def name_of(case: Case) -> str:
    return case.name


def assert_same_blocks(mine: list[tuple[str, float, float]], recorded: list[tuple[str, float, float]]) -> None:
    assert [row[0] for row in mine] == [row[0] for row in recorded], "visits, order of expansion or choice"
    for place in (1, 2):
        np.testing.assert_allclose(
            [row[place] for row in mine], [row[place] for row in recorded], rtol=0, atol=1e-9
        )  # fmt: skip


def assert_same(mine: Found, other: Found) -> None:
    np.testing.assert_array_equal(mine.visits_BA, other.visits_BA)
    np.testing.assert_allclose(mine.value_B, other.value_B, rtol=0, atol=1e-9)
    np.testing.assert_allclose(mine.policy_BA, other.policy_BA, rtol=0, atol=1e-9)
    assert mine.order_B == other.order_B
    np.testing.assert_array_equal(mine.choice_B, other.choice_B)


@pytest.mark.parametrize("case", QUICK, ids=name_of)
def test_our_search_equals_the_record_of_mctx(case: Case) -> None:
    recorded = RECORDED[case.name]
    assert tables_hash(case) == recorded["tables"], "another world: python tests/searchers/record_mctx.py"
    found = blocks(ours(case))
    assert len(found) == -(-case.trees // 16)
    assert_same_blocks(found, recorded["blocks"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_mctx_itself_finds_the_same_and_the_record_is_true(case: Case) -> None:
    pytest.importorskip("mctx", reason="mctx and JAX are not installed: pip install '.[dev]'")
    found = theirs(case)
    assert_same(ours(case), found)
    if not case.slow:
        assert_same_blocks(blocks(found), RECORDED[case.name]["blocks"])


def test_the_record_is_of_these_cases() -> None:
    assert set(RECORDED) == {case.name for case in QUICK}
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_comparison_can_fail() -> None:
    """Noise that differs in one entry is noticed, and so is a value or a target that is off by a hundred-millionth."""
    case = next(case for case in QUICK if case.algorithm == "gumbel" and case.trees == 64)
    recorded, found = RECORDED[case.name]["blocks"], ours(case)
    noise_BA = case.noise_BA
    noise_BA[0, int(np.argmin(case.world.logits_SA[case.starts[0]] == -np.inf))] += 30.0
    value_B, policy_BA = found.value_B.copy(), found.policy_BA.copy()
    value_B[20] += 1e-8
    policy_BA[20, 5] += 1e-8
    wrong = [ours(case, noise_BA), replace(found, value_B=value_B), replace(found, policy_BA=policy_BA)]
    for one in wrong:
        with pytest.raises(AssertionError):
            assert_same_blocks(blocks(one), recorded)
        with pytest.raises(AssertionError):
            assert_same(one, found)
