"""``train rl --reward``: rewards by a spec in place of the task's verifier."""

import json

import pytest

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.training.data.problems import load_problems
from colasearch.training.reinforcement.rewards import SpecReward

FILE = """
def vowels(problems, texts):
    return [None if "z" in text else sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]

def topic(problems, texts, topic):
    return [float(word in text) for word, text in zip(topic, texts)]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_text_without_reward_gets_the_mean_of_its_problems_others(file):
    a, b = (LabelledProblem(Problem.from_text(name), "") for name in "ab")
    reward = SpecReward([f"{file}:vowels"])
    with pytest.warns(UserWarning, match="got no reward"):
        found = reward([(a, "aa"), (a, "za"), (a, "ab"), (b, "z"), (b, "bb")])
    assert found == [1.0, 0.75, 0.5, 0.0, 0.0]
    assert [part["missing"] for part in reward.parts] == [0, 1, 0, 1, 0]


def test_parts_are_kept_by_name_and_form_counts(file):
    problem = LabelledProblem(Problem.from_text("p", data={"topic": "oak"}), "")
    reward = SpecReward([f"{file}:vowels*3", f"{file}:topic"], format_weight=0.5)
    assert reward([(problem, "oak")]) == [pytest.approx(0.5 * (0.75 * 2 / 3 + 0.25))]
    assert reward.parts == [{f"{file}:vowels": pytest.approx(2 / 3), f"{file}:topic": 1.0, "missing": 0.0}]


def test_problems_need_no_answers_and_keep_their_columns(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Write of trees.", "topic": "oak"}\n{"problem": "2+3?", "answer": 5}\n')
    first, second = load_problems([data], "math", gold=False)
    assert (first.problem.text, first.problem.data["topic"], first.gold) == ("Write of trees.", "oak", "")
    assert second.gold == "5"


def test_what_a_question_is_made_of_cannot_be_left_out(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"problem": "Make 52 from 4, 7, 8."}\n')
    (labelled,) = load_problems([data], "countdown", gold=False)
    assert labelled.problem.data == {"numbers": [4, 7, 8], "target": 52}
    data.write_text('{"problem": "Reach 52."}\n')
    with pytest.raises(InputError, match='no whole "numbers" and "target"'):
        load_problems([data], "countdown", gold=False)


def test_rl_learns_from_a_users_function(colasearch, model_folder, tmp_path, file):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"Write {n}.", "topic": "oak"}) + "\n" for n in range(4)))
    done = colasearch(
        "train", "rl", "--model", model_folder, "--device", "cpu", "--data", data, "--output", tmp_path / "run",
        "--reward", f"{file}:vowels*2", "--reward", f"{file}:topic", "--rounds", 2, "--batch", 2, "--group", 2,
        "--max-new-tokens", 6, "--heldout", 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = "".join(path.read_text() for path in (tmp_path / "run").glob("*.jsonl"))
    assert f"reward/{file}:vowels" in log
    assert f"reward/{file}:topic" in log
