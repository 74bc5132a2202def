"""Every equation of every generated solution holds, and the last one gives the answer."""

from __future__ import annotations

import json
import operator
import re
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from colasearch.training.generated.word_templates.problems import word_problems
from colasearch.training.generated.word_templates.templates import TEMPLATES

EQUATION = re.compile(r"\$?(\d+) ([-+*/]) \$?(\d+) = \$?(\d+)")
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def holds(a: int, sign: str, b: int, c: int) -> bool:
    if sign == "/":
        return b != 0 and c * b == a
    return OPERATIONS[sign](a, b) == c


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(word_problems(5000, 0))


def test_every_equation_holds_and_the_last_gives_the_answer(rows: list[dict[str, str]]) -> None:
    for row in rows:
        body, mark, answer = row["solution"].rpartition("\n#### ")
        found = [(int(a), sign, int(b), int(c)) for a, sign, b, c in EQUATION.findall(body)]
        assert mark
        assert len(found) == body.count("=")
        assert 1 <= len(found) <= 3
        assert all(holds(*equation) for equation in found), row
        assert str(found[-1][-1]) == answer == row["answer"], row


def test_every_number_of_the_solution_comes_from_the_problem_or_a_step(rows: list[dict[str, str]]) -> None:
    for row in rows:
        known = {int(x) for x in re.findall(r"\d+", row["problem"])} | {2, 7, 12, 60}
        for a, _, b, c in EQUATION.findall(row["solution"]):
            assert {int(a), int(b)} <= known, row
            known.add(int(c))


def test_answers_are_small_whole_numbers_and_text_is_filled_in(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert 0 <= int(row["answer"]) <= 2000, row
        assert not set("{}") & set(row["problem"] + row["solution"]), row
        assert row["problem"].endswith("?")
        assert not re.search(r"(?<![\d$])\b1 (?!\+|-|\*|/)\w+s\b(?<!class)(?<!bus)", row["problem"]), row["problem"]


def test_equal_seeds_give_equal_rows_and_counts_only_append(rows: list[dict[str, str]]) -> None:
    assert list(word_problems(100, 0)) == rows[:100]
    assert list(word_problems(100, 1)) != rows[:100]


def test_few_duplicates_and_all_templates_used(rows: list[dict[str, str]]) -> None:
    assert len({row["problem"] for row in rows}) > 0.98 * len(rows)
    assert len({row["id"] for row in rows}) == len(rows)
    assert len(TEMPLATES) >= 40
    steps = Counter(len(EQUATION.findall(row["solution"])) for row in rows)
    assert min(steps[1], steps[2], steps[3]) > 100


def test_command_writes_jsonl(tmp_path: Path) -> None:
    from colasearch.cli.train import command

    output = tmp_path / "words.jsonl"
    result = CliRunner().invoke(command, ["problems", "--count", "20", "--seed", "3", "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in output.read_text().splitlines()] == list(word_problems(20, 3))
