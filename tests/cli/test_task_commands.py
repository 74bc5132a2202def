"""``--task``, ``--prompt`` and ``--columns`` in the commands, with the tasks of ``examples/``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def here(tmp_path, monkeypatch):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_verify_grades_by_the_examples(colasearch, here):
    done = colasearch("verify", "examples/pairs.jsonl", "--task", "examples/task.py")
    assert [(r["verdict"], r["answer"]) for r in rows(done.stdout)] == [(True, "5, 7"), (True, "4, 6"), (False, "3, 6")]
    done = colasearch("verify", "examples/shop.jsonl", "--task", "examples/task.yaml")
    assert [(r["verdict"], r["answer"]) for r in rows(done.stdout)] == [(True, "12"), (False, "8")]
    done = colasearch("verify", "examples/shop.jsonl", "--columns", "answer=A,pred=Q")
    assert [r["verdict"] for r in rows(done.stdout)] == [False, False]
    done = colasearch("verify", "examples/shop.jsonl", "--columns", "answer=A,pred=text")
    assert done.returncode == 1
    assert "no 'text', the column named for pred; its columns are id, Q, A, pred" in done.stderr


def test_solve_and_bench_take_a_file_and_resume_refuses_a_changed_one(colasearch, here, model_folder):
    common = ("--model", model_folder, "--sims", 2, "--max-tokens", 8, "--threads", 1)
    done = colasearch("solve", "examples/pairs.jsonl", "--task", "examples/task.py", "--json", *common)
    assert done.returncode == 0, done.stderr
    assert [r["task"] for r in rows(done.stdout)] == [str(here / "examples" / "task.py")] * 3
    done = colasearch("solve", "-", "--task", "examples/task.py", *common, stdin=b"Which two numbers?")
    assert done.returncode == 2
    assert "needs sum, product beside the wording" in done.stderr
    bench = ("bench", "--data", "examples/pairs.jsonl", "--task", "examples/task.py", "--arms", "majority", *common)
    bench = (*bench, "--limit", 2, "--output", "run")
    done = colasearch(*bench, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["benchmark"] == "rows"
    manifest = json.loads((here / "run" / "manifest.json").read_text())
    assert list(manifest["hashes"]["tasks"]) == [str(here / "examples" / "task.py")]
    assert colasearch(*bench, "--resume").returncode == 0
    with (here / "examples" / "task.py").open("a") as file:
        file.write("# changed\n")
    done = colasearch(*bench, "--resume")
    assert done.returncode == 2
    assert "tasks" in done.stderr


def test_solve_takes_columns_and_styles(colasearch, here, model_folder):
    common = ("--model", model_folder, "--sims", 1, "--max-tokens", 4, "--threads", 1, "--json", "--searcher", "greedy")
    done = colasearch("solve", "examples/shop.jsonl", "--columns", "problem=Q", "--prompt", "paper", *common)
    assert done.returncode == 0, done.stderr
    assert {r["task"] for r in rows(done.stdout)} == {"math?prompt=paper"}
    for wrong, says in {
        ("--columns", "problem=P"): "its columns are id, Q, A, pred",
        ("--columns", "problem"): "write our names and yours",
        ("--prompt", "rhyme"): "must be one of chat, plain",
        ("--columns", "problem=Q", "--prompt", "few-shot:absent.jsonl"): "absent.jsonl of few-shot do not exist",
    }.items():
        done = colasearch("solve", "examples/shop.jsonl", *wrong, *common)
        assert done.returncode == 2
        assert says in done.stderr
    done = colasearch("bench", "--limit", 1)
    assert done.returncode == 2
    assert "--data FILE" in done.stderr


def test_training_takes_a_file_and_a_style(colasearch, here, model_folder):
    common = ("--model", model_folder, "--device", "cpu", "--max-new-tokens", 6, "--heldout", 0)
    task = ("--data", "examples/shop.jsonl", "--task", "examples/task.yaml", "--prompt", "think")
    done = colasearch(
        "train", "rl", *common, *task, "--format-weight", 0.5, "--rounds", 1, "--batch", 2, "--group", 2,
        "--output", "rl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((here / "rl" / "manifest.json").read_text())
    settings = json.dumps(manifest)
    assert "task.yaml?prompt=think" in settings
    assert f'"tasks": {{"{here}/examples/task.yaml": ' in settings
    pairs = ("--data", "examples/pairs.jsonl", "--task", "examples/task.py:pair")
    done = colasearch("train", "rollouts", *common, *pairs, "--samples", 1, "--output", "rollouts.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rollouts"] == 3
