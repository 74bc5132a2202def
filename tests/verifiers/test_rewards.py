"""Rewards by a spec: functions in files, servers over real HTTP, judges, verifiers, and several together."""

import json
import math
from dataclasses import replace

import pytest
from reward_server import reward_server

from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import LabelledProblem, Problem
from colasearch.rewards import external, reward_of, settled
from colasearch.verifiers.rewards import parse_spec, rewards
from colasearch.verifiers.rewards.base import scaled
from colasearch.verifiers.rewards.steps import aggregate
from colasearch.verifiers.rewards.transport import Client

FILE = """
def length(problems, texts):
    print("not a result")
    return [len(text) / 10 for text in texts]

def odd(problems, texts):
    found = {"nan": float("nan"), "none": None, "word": "high", "inf": float("inf"), "true": True}
    if "boom" in texts:
        raise RuntimeError("no such text")
    return [found.get(text, 0.5) for text in texts]

def trl(completions, answer, **columns):
    return [float(text == gold) for text, gold in zip(completions, answer)]

def short(problems, texts):
    return [1.0]

def with_numbers(problems, texts, numbers, scale_by=1):
    return [len(row) / 10 for row in numbers]

reward = length
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def server():
    with reward_server() as served:
        yield served


def problem(text="What is 2+3?", **data):
    return Problem.from_text(text, data=data)


@pytest.mark.parametrize(
    ("text", "kind", "name", "part", "weight", "options"),
    [
        ("my/reward.py:f*0.5", "file", "my/reward.py", "f", 0.5, {}),
        ("reward.py", "file", "reward.py", "reward", 1.0, {}),
        ("a.py:f?scale=-1,1*2", "file", "a.py", "f", 2.0, {"scale": "-1,1"}),
        ("http://h:1/x?key=2&kind=score", "http", "http://h:1/x?key=2", "", 1.0, {"kind": "score"}),
        ("rm:org/model*1e-1", "rm", "org/model", "", 0.1, {}),
        ("prm:./m?separator=%0A%0A&aggregation=prod", "prm", "./m", "", 1.0,
         {"separator": "\n\n", "aggregation": "prod"}),
        ("judge:q/wen@https://h/v1?timeout=3", "judge", "q/wen", "https://h/v1", 1.0, {"timeout": "3"}),
        ("verifier:countdown", "verifier", "countdown", "", 1.0, {}),
        ("head", "head", "head", "", 1.0, {}),
        ("installed.reward", "entry", "installed.reward", "", 1.0, {}),
    ],
)  # fmt: skip
def test_specs(text, kind, name, part, weight, options):
    spec = parse_spec(text)
    assert (spec.kind, spec.name, spec.part, spec.weight, dict(spec.options)) == (kind, name, part, weight, options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no reward"),
        ("rm:", "names no reward"),
        ("a.py:f*0", "above 0"),
        ("a.py:f*-1", "above 0"),
        ("a.py:f?scales=1", "'scales'"),
        ("a.py:f?scale=2", "scale=2"),
        ("a.py:f?scale=1,1", "equal ends"),
        ("judge:model", "MODEL@URL"),
        ("http://", "no URL"),
    ],
)
def test_specs_that_name_nothing(text, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        parse_spec(text)


def test_rules_of_scale():
    assert scaled(-3.0, "given") == -3
    assert scaled(0.0, "sigmoid") == 0.5
    assert scaled(-1000.0, "sigmoid") == pytest.approx(0)
    assert [scaled(x, "-1,1") for x in (-2, -1, 0, 1, 2)] == [0, 0, 0.5, 1, 1]
    assert scaled(1.0, "4,0") == 0.75  # fewer is better


def test_aggregations():
    values = [0.5, 0.2, 0.4]
    assert [aggregate(values, how) for how in ("min", "last")] == [0.2, 0.4]
    assert aggregate(values, "prod") == pytest.approx(0.04)
    assert aggregate(values, "mean") == pytest.approx(1.1 / 3)


def test_a_function_scores_a_batch_and_prints_to_standard_error(file, capsys):
    assert rewards(reward_of([f"{file}:length"]), [problem()] * 3, ["ab", "", "abcd"]) == [0.2, 0.0, 0.4]
    assert rewards(reward_of([str(file)]), [problem()], ["ab"]) == [0.2]  # the one called reward
    captured = capsys.readouterr()
    assert "not a result" in captured.err
    assert captured.out == ""


def test_what_is_wrong_with_one_text_is_that_texts_alone(file):
    texts = ["fine", "nan", "none", "word", "inf", "true", "boom"]
    scores = reward_of([f"{file}:odd"]).score([problem()] * 7, texts)
    assert [s.value for s in scores] == [0.5, None, None, None, None, 1.0, None]
    assert [s.failed for s in scores] == [False, True, False, True, True, False, True]
    assert "RuntimeError: no such text" in scores[-1].reason


def test_a_function_in_trls_form_gets_columns_and_gold_answers(file):
    labelled = LabelledProblem(problem(source="book"), "5")
    assert rewards(reward_of([f"{file}:trl"]), [labelled] * 2, ["5", "6"]) == [1.0, 0.0]
    with pytest.raises(InputError, match="asks for the column 'answer'"):  # a search sees no gold answer
        reward_of([f"{file}:trl"]).score([problem(source="book")], ["5"])


def test_a_function_gets_the_columns_that_it_names(file):
    given = [problem(numbers=[1, 2]), problem(numbers=[1, 2, 3])]
    assert rewards(reward_of([f"{file}:with_numbers"]), given, ["", ""]) == [0.2, 0.3]


def test_faults_of_files(file, tmp_path):
    with pytest.raises(InputError, match="has no 'nothing'; it has length, odd"):
        reward_of([f"{file}:nothing"])
    with pytest.raises(InputError, match="no file"):
        reward_of([f"{tmp_path}/none.py:f"])
    with pytest.raises(InputError, match="returned 1 numbers for 2 texts"):
        reward_of([f"{file}:short"]).score([problem()] * 2, ["a", "b"])
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match=r"does not run: ModuleNotFoundError"):
        reward_of([str(broken)])


def test_several_rewards_are_averaged_and_each_is_told(file):
    mix = reward_of([f"{file}:length*3", f"{file}:odd"])
    (one, none) = mix.mixed([problem()] * 2, ["ab", "none"])
    assert one.score.value == pytest.approx(0.75 * 0.2 + 0.25 * 0.5)
    assert one.parts == (0.2, 0.5)
    assert none.score.value is None
    assert none.parts == (0.4, None)
    assert "odd" in none.score.reason


def test_values_and_training_want_the_unit_interval(file):
    mix = reward_of([f"{file}:length"], unit=True)
    with pytest.raises(InputError, match=r"gave 1.2; .*scale="):
        mix.score([problem()], ["twelve chars"])
    assert rewards(reward_of([f"{file}:length?scale=0,2"], unit=True), [problem()], ["twelve chars"]) == [0.6]


def test_a_verifier_is_a_reward():
    countdown = problem(numbers=[2, 3], target=5)
    assert rewards(reward_of(["verifier:countdown"]), [countdown], [r"\boxed{2+3}"]) == [1.0]
    assert rewards(reward_of(["verifier:math"]), [LabelledProblem(problem(), "5")], [r"\boxed{5}"]) == [1.0]
    with pytest.raises(InputError, match="needs gold answers"):
        reward_of(["verifier:math"]).score([problem()], [r"\boxed{5}"])


def test_names_of_values(file):
    assert external(["head"]) == ()
    assert external([str(file)]) == (str(file),)
    with pytest.raises(InputError, match="cannot be mixed"):
        external(["head", str(file)])
    with pytest.raises(InputError, match="is what a search has in itself"):
        reward_of(["rollouts"])
    with pytest.raises(InputError, match=r"unknown reward .*; known rewards are none"):
        reward_of(["not_installed"])


def test_settled_specs_hold_in_another_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert settled(["mine.py:length*2"]) == (f"{file}:length*2",)
    for name in ("prm", "rm", "m"):
        (file.parent / name).mkdir()
        folder = file.parent / name
        assert settled([f"prm:{name}?batch=2", f"rm:{name}*2"]) == (f"prm:{folder}?batch=2", f"rm:{folder}*2")
    assert settled(["prm:org/model"]) == ("prm:org/model",)


def test_an_openrlhf_server_is_asked_in_batches(server):
    mix = reward_of([f"{server.url}/get?batch=2&scale=0,1"])
    texts = ["a" * n for n in range(5)]
    assert rewards(mix, [problem("pp")] * 5, texts) == pytest.approx([(3 + n) / 100 for n in range(5)])
    assert sorted(len(body["query"]) for _, body in server.asked) == [1, 2, 2]
    assert all(path == "/get" and set(body) == {"query"} for path, body in server.asked)
    assert "pp\naa" in [text for _, body in server.asked for text in body["query"]]


def test_vllms_endpoints(server):
    assert rewards(reward_of([f"{server.url}?kind=pooling&aggregation=last"]), [problem("p")], ["abc"]) == [0.05]
    path, body = server.asked[-1]
    assert (path, body) == ("/pooling", {"model": "tiny", "input": ["p\nabc"]})
    two = rewards(reward_of([f"{server.url}?kind=score&model=m"]), [problem("ppp"), problem("pp")], ["a", "a"])
    assert two == pytest.approx([0.02, 0.01])
    assert server.asked[-1] == ("/score", {"model": "m", "text_1": ["ppp", "pp"], "text_2": ["a", "a"]})


def test_a_busy_server_is_asked_again_and_a_refused_text_stands_alone(server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.failing = 2
    scores = reward_of([f"{server.url}/get"]).score([problem("p")] * 3, ["a", "poison", "b"])
    assert [s.value for s in scores] == [0.03, None, 0.03]
    assert "400" in scores[1].reason
    assert scores[1].failed


def test_a_server_that_is_down_is_said_to_be_down(server, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.failing = 99
    with pytest.raises(PrerequisiteError, match=r"is down \(it answers 503.*3 tries") as caught:
        reward_of([f"{server.url}/get?tries=3"]).score([problem()], ["a"])
    assert caught.value.exit_code == 3
    assert len(pauses) == 2
    assert all(0 <= pause <= most for pause, most in zip(pauses, (0.25, 0.5), strict=True))
    server.failing, server.status = 99, 404
    with pytest.raises(PrerequisiteError, match="check the URL"):
        reward_of([f"{server.url}/get"]).score([problem()], ["a"])
    with pytest.raises(PrerequisiteError, match="refused"):
        Client(tries=1).request("http://127.0.0.1:9/")


def test_a_judge_is_asked_once_for_a_text(server, tmp_path):
    spec = f"judge:big@{server.url}?cache={tmp_path / 'said.sqlite'}"
    assert rewards(reward_of([spec]), [problem("p")] * 2, ["one", "two"]) == [0.7, 0.7]
    path, body = server.asked[0]
    assert (path, body["model"]) == ("/v1/chat/completions", "big")
    assert "one" in server.asked[0][1]["messages"][0]["content"] + server.asked[1][1]["messages"][0]["content"]
    server.reply = "Rating: 1"
    assert rewards(reward_of([spec]), [problem("p")] * 2, ["one", "three"]) == [0.7, 0.1]
    assert len(server.asked) == 3
    server.reply = "I would rather not."
    (score,) = reward_of([spec]).score([problem("p")], ["four"])
    assert score.value is None
    assert "no rating" in score.reason


def jsonl(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_verify_prints_rewards_in_order(colasearch, file, server):
    rows = [{"id": i, "problem": "p", "pred": "x" * i} for i in (3, 1, 2)] + [{"id": 9, "pred": "x"}]
    done = colasearch("verify", "-", "--reward", f"{file}:length", stdin=jsonl(rows[:3]))
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [(row["id"], row["reward"]) for row in out] == [(3, 0.3), (1, 0.1), (2, 0.2)]
    assert all(set(row) == {"id", "reward", "seconds"} for row in out)
    done = colasearch("verify", "-", "--reward", f"{file}:length*3", "--reward", f"{server.url}/get", stdin=jsonl(rows))
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert out[0]["reward"] == pytest.approx(0.75 * 0.3 + 0.25 * 0.05)
    assert list(out[0]["rewards"].values()) == [0.3, 0.05]
    assert out[3]["reward"] is None
    assert "no text 'problem'" in out[3]["reason"]


def test_verify_says_that_a_server_is_down(colasearch):
    done = colasearch(
        "verify", "-", "--reward", "http://127.0.0.1:9/?tries=1", stdin=jsonl([{"id": 1, "problem": "p", "pred": "x"}])
    )
    assert done.returncode == 3
    assert "is down" in done.stderr


def test_specs_are_plain_data():
    spec = parse_spec("a.py:f?scale=sigmoid")
    assert replace(spec, weight=2.0).weight == 2
    assert math.isclose(spec.number("batch", 3), 3)
