"""Equality of answers: true pairs accepted, near misses rejected, the same either way round for voting."""

import contextlib

import pytest
from pairs import DIFFERENT, EQUAL

from colasearch.verifiers import canonical_key
from colasearch.verifiers.answer import parse
from colasearch.verifiers.compare import same
from colasearch.verifiers.lexer import Unreadable
from colasearch.verifiers.math import Math

DEADLINE_S = 30.0
"""What is equal does not depend on how busy the machine is."""
_EQUAL = [(kind, *pair) for kind, pairs in EQUAL.items() for pair in pairs]
_DIFFERENT = [(kind, *pair) for kind, pairs in DIFFERENT.items() for pair in pairs]


@pytest.fixture(scope="module")
def math() -> Math:
    return Math(deadline_s=DEADLINE_S)


def test_there_are_enough_pairs() -> None:
    assert len(_EQUAL) + len(_DIFFERENT) >= 250


@pytest.mark.parametrize(("kind", "gold", "pred"), _EQUAL)
def test_equal(math: Math, kind: str, gold: str, pred: str) -> None:
    verdict = math.equal(gold, pred)
    assert verdict.reward == 1.0, verdict
    if not kind.startswith("for math-verify"):
        assert verdict.reason == "equal"  # decided here, without a worker


@pytest.mark.parametrize(("kind", "gold", "pred"), _DIFFERENT)
def test_different(math: Math, kind: str, gold: str, pred: str) -> None:
    verdict = math.equal(gold, pred)
    assert verdict.reward == (None if not gold else 0.0), verdict


@pytest.mark.parametrize(
    ("kind", "gold", "pred"), [p for p in _EQUAL if p[0] in ("numbers", "roots and powers", "algebra")]
)
def test_groups_of_equal_answers(kind: str, gold: str, pred: str) -> None:
    if parse(gold).node is None or parse(pred).node is None:
        pytest.skip("outside the grammar: grouped by its letters")
    assert canonical_key(gold) == canonical_key(pred)


@pytest.mark.parametrize(("kind", "gold", "pred"), [p for p in _DIFFERENT if p[1]])
def test_groups_of_different_answers(kind: str, gold: str, pred: str) -> None:
    lenient = {("x=1", "y=1"), (r"x\in[-2,7]", r"y\in[-2,7]"), (r"5\text{ cm}", r"5\text{ m}")}
    readings = ("units", "equations", "intervals")
    if (gold, pred) in lenient or kind.startswith(readings):
        pytest.skip("a key serves one reading of names, units and percent")
    assert canonical_key(gold) != canonical_key(pred)


def test_every_answer_equals_itself() -> None:
    answers = {a for _, gold, pred in [*_EQUAL, *_DIFFERENT] for a in (gold, pred) if a}
    for answer in sorted(answers):
        node = parse(answer).node
        if node is not None:
            with contextlib.suppress(Unreadable):  # too large to compute, or for math-verify
                assert same(node, node), answer


def test_verdicts_do_not_depend_on_what_else_is_in_the_batch(math: Math) -> None:
    pairs = [(gold, pred) for _, gold, pred in [*_EQUAL, *_DIFFERENT]]
    together = [v.reward for v in math.score_pairs(pairs, bare=True)]
    alone = [Math(deadline_s=DEADLINE_S).equal(*pair).reward for pair in pairs]
    assert together == alone
