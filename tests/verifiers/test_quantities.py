"""Numbers of a problem that a solution leaves out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colasearch.engine.settings import Choosing
from colasearch.engine.texts.choosing import Checks
from colasearch.problem import Problem
from colasearch.verifiers import unused_numbers

APPLES = "A shop had 1,500 apples at $2.50 and sold 20% of them; 7 were bad and 7 more fell down."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ["1,500", "2.50", "20", "7"]),
        ("1500 * 20% = 300", ["2.50", "7"]),
        ("1500 * 0.2 = 300, and 300 * 2.5 = 750", ["7"]),
        ("There are 1,500. 20 of 7 cost 2.50.", []),
        ("17 and 72 and 150", ["1,500", "2.50", "20", "7"]),
    ],
)
def test_numbers_count_by_value_and_once(text, left):
    assert unused_numbers(APPLES, text) == left


def test_hostile_numerals_are_passed_over():
    assert unused_numbers("9" * 100_000, "") == []
    assert unused_numbers("١٢", "") == ["١٢"]  # digits of another script are digits


@given(st.text("0123456789.,% $x", max_size=40), st.text("0123456789.,% $x", max_size=40))
def test_saying_more_leaves_no_more_out(problem, text):
    left = unused_numbers(problem, text)
    assert set(unused_numbers(problem, f"{text} and {problem}")) <= set(left)
    assert unused_numbers(problem, problem) == []
    assert len(left) <= len(unused_numbers(problem, ""))


@pytest.mark.parametrize(
    ("task", "on", "worth"), [("math", True, 2), ("math", False, 0), ("countdown", True, 0), ("procedural", True, 0)]
)
def test_each_number_left_out_makes_a_text_less_plausible_where_steps_are_checked(task, on, worth):
    problem = Problem.from_text("3 boxes of 4, 5 lost", task=task)
    checks = Checks(None, Choosing(numbers_left_out=on))
    assert checks.plausibility(problem, "3 * 4 = 12, 12 - 5 = 7") == 1
    assert checks.plausibility(problem, "it is 3") == pytest.approx(math.exp(-worth))
