"""What a problem file may hold, and which task it is."""

from __future__ import annotations

import json

import pytest

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.rows import countdown_of, parse_rows
from colasearch.tasks import prompt_text
from colasearch.tasks.reading import parse_problem, parse_problems
from colasearch.training.generated.countdown import countdown_rows

GIVEN = {"numbers": [4, 7, 8], "target": 52}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GIVEN),
        json.dumps({"task": "countdown", **GIVEN}),
        json.dumps({"id": "x", "problem": "whatever", "answer": None, **GIVEN}, indent=2),
        "Make 52 from 4, 7, 8.",
        "make 52 using 4, 7 and 8",
        "Make 52 from 4, 7, 8, using each at most once.",
        "Make 52 from 4, 7, and 8, each number only once",
        "Use the numbers 4, 7, 8, each at most once, with + - * / and parentheses to make 52.",
        "Use the numbers 4, 7, 8, each at most once, with + - * / and parentheses to make 52.\n"
        "Put the final expression in \\boxed{}.",
    ],
)
@pytest.mark.parametrize("task", [None, "countdown"])
def test_countdown_is_known_from_the_file(text, task):
    problem = parse_problem(text, task)
    assert problem.task == "countdown"
    assert problem.data == GIVEN


@pytest.mark.parametrize(
    "text",
    [
        "Make 52 from 4, 7, 8, using each exactly once.",
        "Make 52 with 4, 7 and 8, use every number once.",
        "make 52 from 4, 7, 8 using each number Exactly once",
        "Use the numbers 4, 7, 8, each exactly once, with + - * / and parentheses to make 52.",
    ],
)
def test_a_wording_can_ask_for_every_number(text):
    assert parse_problem(text).data == {**GIVEN, "use": "all"}


def test_our_own_wordings_are_read_back():
    class Plain:
        chat_template = None

    for row in countdown_rows(50, 0):
        wanted = {"numbers": row["numbers"], "target": row["target"]}
        assert parse_problem(row["problem"]).data == wanted | ({"use": "all"} if "use" in row else {})
        for use in ({}, {"use": "all"}):
            asked = prompt_text(Plain(), Problem.from_text("", "countdown", {**wanted, **use}))
            assert parse_problem(asked.removeprefix("Problem: ").removesuffix("\nSolution: ")).data == {**wanted, **use}


def test_a_row_can_ask_for_every_number():
    problem = parse_problem('{"numbers": [4, 6, 1, 1], "target": 24, "use": "all"}')
    assert problem.data["use"] == "all"


def test_a_row_may_say_its_numbers_in_its_wording_alone():
    row = {"problem": "Make 52 from 4, 7, 8.", "id": "a"}
    for task in (None, "countdown"):
        problem = parse_problem(json.dumps(row), task)
        assert (problem.task, problem.data, problem.id) == ("countdown", GIVEN, "a")
    assert parse_problem(json.dumps({**row, "answer": "4"})).task == "math"
    assert parse_problem(json.dumps({**row, "answer": "4"}), "countdown").data == GIVEN
    (found,) = parse_rows(json.dumps(row), "rows.jsonl")
    assert countdown_of(found) == GIVEN
    (found,) = parse_rows(json.dumps({"problem": "With 4 and 7 reach 11"}), "rows.jsonl")
    with pytest.raises(InputError, match=r'rows\.jsonl line 1 has no whole "numbers" and "target"'):
        countdown_of(found)


@pytest.mark.parametrize(
    "text",
    [
        "Tom has 3 apples and buys 5 more. How many has he?",
        "{1, 2, 3} is a set. How many subsets has it?",
        "How can one make 52 from 4, 7, 8? Say in how many ways.",
        "Make 52.",
    ],
)
def test_other_texts_are_mathematics_as_they_stand(text):
    problem = parse_problem(text)
    assert (problem.task, problem.text) == ("math", text)


def test_a_json_row_of_mathematics_is_its_problem_alone():
    problem = parse_problem('{"problem": " What is 2+2?\\n", "answer": "4", "solution": "2+2=4"}')
    assert problem == Problem.from_text("What is 2+2?", "math")


def test_any_text_can_be_called_countdown():
    assert parse_problem("With 4 and 7 and 8 reach 52", "countdown").data == GIVEN
    assert parse_problem("Make 52 from 4, 7, 8.", "math").task == "math"


@pytest.mark.parametrize(
    ("text", "task", "says"),
    [
        ('{"numbers": [4, 7, 8]}', None, "at least two whole numbers and then the target"),
        ('{"numbers": [4], "target": 4}', None, "at least two whole numbers"),
        ('{"numbers": [4, true], "target": 4}', None, "at least two whole numbers"),
        ('{"numbers": [4, 7.5], "target": 4}', None, "at least two whole numbers"),
        ('{"numbers": [4, 7], "target": 4, "use": "some"}', None, "'some'; it is \"all\""),
        ('{"numbers": [4, 7], "target": 11}\n{"numbers": [4, 7], "target": 3}', None, "holds 2 problems"),
        ('{"numbers": [4, 7], "target": 11', "countdown", "is not valid JSON"),
        ('{"task": "chess", "problem": "e4"}', None, "'chess'; it must be one of choice, countdown"),
        ('{"task": "countdown", "numbers": [4, 7], "target": 11}', "math", "--task says math"),
        ('{"query": "What is 2+2?"}', None, 'no text "problem"'),
        ("nothing here", "countdown", "at least two whole numbers"),
    ],
)
def test_what_is_no_problem_is_refused(text, task, says):
    with pytest.raises(InputError, match=says):
        parse_problem(text, task)


def test_many_problems_in_any_form_without_gold_answers():
    rows = [{"question": "What is 2+2?"}, {"id": 7, **GIVEN}, {"problem": "What is 3*4?", "answer": 12}]
    for text, name in [
        ("\n".join(map(json.dumps, rows)), "-"),
        (json.dumps(rows, indent=2), "-"),
        (json.dumps(rows), "rows.json"),
    ]:
        problems = parse_problems(text, name)
        assert [p.task for p in problems] == ["math", "countdown", "math"]
        assert [p.text for p in problems] == ["What is 2+2?", "Make 52 from 4, 7, 8.", "What is 3*4?"]
        assert problems[0] == parse_problem("What is 2+2?")
        assert problems[1].id == "7"
        assert problems[1].data == GIVEN
    assert [p.text for p in parse_problems("question\nWhat is 2+2?\n", "t.csv")] == ["What is 2+2?"]
    assert parse_problems("[0,1] is an interval. How long is it?")[0].text.startswith("[0,1]")


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("[]", "-", "has no rows"),
        ('["What is 2+2?"]', "-", "row 1 is a JSON str"),
        ('[{"problem": "a"}, {"problem": ""}]', "-", "row 2 has no text"),
        ('[{"problem": "a"}', "-", "not valid JSON"),
        ('{"id": 1, "problem": "a"}\n{"id": 1, "problem": "b"}', "-", "ids of problems must differ"),
        ("What is 2+2?", "p.jsonl", "not valid JSON"),
        ("a,b\n1,2\n", "t.csv", "has the columns a, b"),
    ],
)
def test_unusable_files_of_problems_say_why(text, name, says):
    with pytest.raises(InputError, match=says):
        parse_problems(text, name)
