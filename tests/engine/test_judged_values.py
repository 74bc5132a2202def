"""Searches whose leaves and texts are valued by rewards from outside."""

import json
from collections import Counter

import pytest
from reward_server import reward_server

from colasearch.engine.settings import Choosing, SearchSettings, WorldConfig
from colasearch.engine.texts.judged import values_of
from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import Problem
from colasearch.solving import search_one

FILE = """
calls = []

def vowels(problems, texts):
    calls.extend(zip(problems, texts))
    return [sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]

def none(problems, texts):
    return [None] * len(texts)

def above(problems, texts):
    return [1.5] * len(texts)
"""
PROBLEM = Problem.from_text("What is 2+3?")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.py"
    path.write_text(FILE)
    yield path
    values_of.cache_clear()


def settings(*specs, **changes):
    world = WorldConfig(max_tokens=14, max_step_tokens=4, branch_below=0.0, references=2, values=specs)
    return SearchSettings(sims=8, world=world, **changes)


def test_leaves_are_worth_what_the_reward_says_of_the_text_so_far(lm, file):
    from colasearch.userfile import load_file

    done = search_one(lm, PROBLEM, settings(f"{file}:vowels"))
    nodes = [node for node in done.trace.nodes if node.text]
    asked = Counter(load_file(str(file)).calls)
    assert {problem for problem, _ in asked} == {PROBLEM.text}
    assert max(asked.values()) == 1  # a root, leaves and whole texts, each once
    assert ("What is 2+3?", "") in asked
    written = {text for _, text in asked}
    assert nodes
    assert all(any(text.endswith(node.text) for text in written) for node in nodes)
    # No rollouts are paid for.
    rolled = search_one(lm, PROBLEM, settings()).result.generated_tokens
    assert done.result.generated_tokens < rolled


def test_the_reward_decides_where_the_search_goes(lm, file, tmp_path):
    other = tmp_path / "other.py"
    other.write_text("""
def least(problems, texts):
    return [1 - sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts]
""")
    visits = [
        [node.visits for node in search_one(lm, PROBLEM, settings(spec, searcher="puct")).trace.nodes]
        for spec in (f"{file}:vowels", f"{other}:least")
    ]
    assert visits[0] != visits[1]


def test_texts_without_a_value_count_nothing_and_that_is_said(lm, file):
    with pytest.warns(UserWarning, match="got no value"):
        search_one(lm, PROBLEM, settings(f"{file}:none"))


def test_a_value_outside_the_unit_interval_ends_the_search(lm, file):
    with pytest.raises(InputError, match=r"gave 1\.5"):
        search_one(lm, PROBLEM, settings(f"{file}:above"))


def test_majority_asks_for_no_values(lm, file):
    search_one(lm, PROBLEM, settings(f"{file}:above", searcher="majority"))


def test_best_of_n_takes_the_text_of_greatest_value(lm, monkeypatch, file):
    from colasearch.benchmarks.harness.arms import ArmSettings
    from colasearch.benchmarks.harness.drawing import Job, sample

    monkeypatch.setattr("colasearch.benchmarks.harness.samples.answer_of", lambda text, task: text[:1] or None)
    arm = ArmSettings(world=WorldConfig(max_tokens=12, values=(f"{file}:vowels",), choosing=Choosing.checking(False)))
    (drawn,) = sample(lm, [Job(PROBLEM, texts=12)], ("best_of_n",), arm)
    result = drawn["best_of_n"]
    texts = [text for text, answer in result.texts if answer is not None]
    if texts:
        share = [sum(c in "aeiou" for c in text) / max(1, len(text)) for text in texts]
        assert sum(c in "aeiou" for c in result.text) / max(1, len(result.text)) == max(share)


def test_a_server_that_goes_down_ends_the_search(lm):
    with reward_server() as served:
        served.failing = 99
        with pytest.raises(PrerequisiteError, match="is down"):
            search_one(lm, PROBLEM, settings(f"{served.url}/get?tries=1"))
    values_of.cache_clear()


@pytest.mark.parametrize("command", [("solve", "-"), ("bench", "countdown", "--limit", "1")])
def test_commands_take_values_from_files_and_servers(colasearch, file, tmp_path, command):
    with reward_server() as served:
        for spec in (f"{file}:vowels", f"{served.url}/get?scale=0,3"):
            more = ("--output", tmp_path / f"run{len(spec)}") if command[0] == "bench" else ()
            done = colasearch(
                *command, *more, "--sims", "3", "--max-tokens", "16", "--threads", "1", "--values", spec, "--json",
                stdin=b"Make 52 from 4, 7, 8.",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["schema"] == 1
        assert served.asked
    if command[0] == "bench":
        manifest = json.loads((tmp_path / f"run{len(f'{file}:vowels')}" / "manifest.json").read_text())
        assert str(file) in json.dumps(manifest)
