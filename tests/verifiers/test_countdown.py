"""Countdown: exact arithmetic, the rules, and hostile expressions."""

import contextlib
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colasearch.problem import Problem
from colasearch.verifiers import checkable_verifier
from colasearch.verifiers.countdown import Countdown, ExpressionError, evaluate_expression


def problem(numbers: list[int], target: int, **data: object) -> Problem:
    return Problem(id="p", text="", task="countdown", data={"numbers": numbers, "target": target, **data})


@pytest.mark.parametrize(
    ("answer", "reward"),
    [
        ("(1+2)*8", 1.0),
        ("(1+2)*8 = 24", 1.0),
        ("<think>1*2=2</think><answer>8*(2+1)</answer>", 1.0),
        (r"\boxed{(1+2)\times 8}", 1.0),
        ("8 × (1 + 2)", 1.0),
        ("24 = 8 * (1 + 2)", 1.0),
        ("25 = 8 * (1 + 2)", 0.0),
        ("8 * (1 + 2).", 1.0),
        ("First 1 + 2 = 3.\nThen (1 + 2) * 8 = 24.", 1.0),
        (r"$$\frac{8}{\frac{1}{1+2}}$$", 0.1),
        (r"\[ 8 \cdot \left( 2 + 1 \right) = 24 \]", 1.0),
        ("8 / (1 - 2 / 2)", 0.0),
        ("3*8", 0.1),  # 3 is not given
        ("8+8+8", 0.1),  # 8 is given once
        ("1+2+8", 0.1),  # wrong value
        ("8/(2-1-1)", 0.1),  # 1 used twice; the division by zero is reported first
        ("24", 0.1),
        ("(1+2)*8 = 25", 0.0),
        ("I do not know", 0.0),
        ("", 0.0),
        ("-8*(-2-1)", 1.0),
        ("-8*(2+1)", 0.1),
        ("(1+2)*", 0.1),  # the expression found is (1+2)
    ],
)
def test_rules(answer: str, reward: float) -> None:
    verdict = Countdown().score(problem([1, 2, 8], 24), answer)
    if "zero" in verdict.reason:
        reward = 0.0
    assert verdict.reward == reward, verdict.reason


def test_all_numbers_option() -> None:
    part = "4*6"
    assert Countdown().score(problem([4, 6, 5], 24), part).reward == 1.0
    assert Countdown(use_all=True).score(problem([4, 6, 5], 24), part).reward == 0.1
    assert Countdown().score(problem([4, 6, 5], 24, use="all"), part).reward == 0.1
    assert Countdown(use_all=True).score(problem([4, 6, 1], 24), "4*6/1").reward == 1.0


def test_exact_thirds() -> None:
    # In floating point 8 / (3 - 8/3) is 23.999999999999989.
    assert Countdown().score(problem([3, 3, 8, 8], 24), "8/(3-8/3)").reward == 1.0


def test_unreadable_problem_gives_no_reward() -> None:
    assert Countdown().score(Problem(id="p", text=""), "1+2").reward is None


HOSTILE = [
    "98**44**35**19",
    "9**9**9**9",
    "9^9^9^9",
    "99999999!",
    "1" * 100_000,
    "(" * 50_000 + "1" + ")" * 50_000,
    "(" * 190 + "1" + ")" * 190,
    "-" * 399 + "1",
    "+".join("1" * 1 for _ in range(50_000)),
    "1e999999999",
    "0x10+8",
    "1_0+14",
    "__import__('os').system('touch {marker}')",
    "(lambda: open('{marker}','w'))()",
    "[open('{marker}','w') for _ in (1,)]",
    "8 if open('{marker}','w') else 24",
    "1<<99999999999",
    "24#",
    "1/0",
    "1/(1-1)",
    "\x00",
    "8*3\\",
    "²+³",
    "١+٢",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_expressions(answer: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    answer = answer.replace("{marker}", str(marker))
    start = time.perf_counter()
    with contextlib.suppress(ExpressionError):  # the long chain of signs is legal
        evaluate_expression(answer)
    assert time.perf_counter() - start < 5  # without the caps it would be for ever
    verdict = Countdown().score(problem([98, 44, 35, 19], 24), answer)
    assert verdict.reward is not None
    assert verdict.reward < 1.0
    assert not marker.exists()


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, Fraction, list[int]]:
    """An expression with its value and numbers, computed alongside."""
    if draw(st.booleans()):
        n = draw(st.integers(1, 99))
        return str(n), Fraction(n), [n]
    left, a, used_a = draw(expressions())
    right, b, used_b = draw(expressions())
    op = draw(st.sampled_from("+-*/" if b else "+-*"))
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[op]
    return f"({left} {op} {right})", value, used_a + used_b


@settings(max_examples=50, deadline=None)
@given(expressions())
def test_value_agrees_with_construction(built: tuple[str, Fraction, list[int]]) -> None:
    text, value, used = built
    if len(text) > 400:
        return
    assert evaluate_expression(text) == (value, used)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gets_a_verdict(text: str) -> None:
    verdict = checkable_verifier("countdown").score(problem([1, 2, 3], 6), text)
    assert verdict.reward in (0.0, 0.1, 1.0)
