"""Composed word problems: their arithmetic holds, they are what their seed says, and few are told alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colasearch.training.generated.story_grammar.draw import Draw
from colasearch.training.generated.story_grammar.problems import FAMILIES, stories

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
APPLY = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": lambda a, b: a // b if a % b == 0 else None}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(stories(3000, 5))


def numbers(text: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", text)]


def check(row: dict[str, str]) -> None:
    *lines, last = row["solution"].splitlines()
    known = {*numbers(row["problem"])}
    results = []
    for line in lines:
        (found,) = EQUATION.findall(line)
        a, b, result = int(found[0]), int(found[2]), int(found[3])
        assert APPLY[found[1]](a, b) == result
        assert a in known, "a number out of nowhere"
        assert b in known, "a number out of nowhere"
        known.add(result)
        results.append(result)
    assert last == f"#### {row['answer']}"
    assert results[-1] == int(row["answer"]) >= 0


def test_each_step_is_a_true_equation_of_known_numbers_and_the_last_gives_the_answer(rows):
    for row in rows:
        check(row)


@given(st.integers(0, 2**40))
def test_any_seed_gives_a_sound_problem(seed):
    (row,) = stories(1, seed)
    check(row)
    assert not set("{}|") & set(row["problem"] + row["solution"])
    assert row["problem"][0].isupper() or row["problem"][0].isdigit() or row["problem"][0] == "$"
    assert "  " not in row["problem"]
    assert row["problem"][-1] in "?."


def test_equal_seeds_give_equal_rows_and_more_rows_only_append(rows):
    assert list(stories(40, 5)) == rows[:40]
    assert [row["problem"] for row in stories(40, 6)] != [row["problem"] for row in rows[:40]]


@pytest.mark.parametrize("make", [make for _, make in FAMILIES], ids=lambda make: make.__name__)
def test_a_family_has_many_wordings(make):
    told = set()
    for number in range(200):
        draw = Draw.of(str(number))
        story = make(draw)
        text = " ".join([*story.body, story.question])
        for word in sorted(draw.words.values(), key=len, reverse=True):
            text = text.replace(word, "_")
        told.add(re.sub(r"\d+", "#", text))
    assert len(told) > (10 if make.__name__ == "drill" else 40)


def test_few_problems_are_told_alike(rows):
    told = {re.sub(r"\d+", "#", row["problem"]) for row in rows}
    assert len(told) > 0.85 * len(rows)
