"""``colasearch train``: both stages from the command line, and solving with what they made."""

from __future__ import annotations

import json

import pytest

COMMON = ("--heldout", 0.3, "--threads", 1)
RUN = ("--epochs", 2, "--batch-tokens", 512, "--micro-tokens", 256)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"problem": f"{i}+{i}?", "answer": str(2 * i), "solution": f"It is {2 * i}."} for i in range(30)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_both_stages_then_solve(colasearch, base_folder, texts, tmp_path):
    one = colasearch(
        "train", "actions", "--model", base_folder, "--data", texts, "--output", tmp_path / "a", "--codes", 8,
        *COMMON, *RUN,
    )  # fmt: skip
    assert one.returncode == 0, one.stderr
    report = json.loads(one.stdout)
    assert report["heldout"]["tokens"] > 0
    two = colasearch(
        "train", "policy", "--model", report["model"], "--data", texts, "--output", tmp_path / "p", *COMMON, *RUN
    )
    assert two.returncode == 0, two.stderr
    model = json.loads(two.stdout)["model"]
    card = (tmp_path / "p" / "model" / "README.md").read_text()
    for words in ("Stage: actions", "Stage: policy", "wm_ce", "alive", "texts.jsonl"):
        assert words in card
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 0
    three = colasearch("train", "evaluate", "--model", model, "--data", texts, "--json", *COMMON)
    assert json.loads(three.stdout)["heldout"]["policy_ce"] == pytest.approx(
        json.loads(two.stdout)["heldout"]["policy_ce"], abs=0.02
    )
    problem = tmp_path / "p.txt"
    problem.write_text("3+3?")
    done = colasearch("solve", problem, "--model", model, "--sims", 2, "--max-tokens", 6, "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr


def test_an_existing_run_needs_resume(colasearch, base_folder, texts, tmp_path):
    def train(*args: object):
        return colasearch(
            "train", "actions", "--model", base_folder, "--data", texts, "--output", tmp_path / "a", "--codes", 8,
            *COMMON, *RUN, *args,
        )  # fmt: skip

    assert train().returncode == 0
    refused = train()
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert train("--resume").returncode == 0


def test_missing_data_is_exit_2(colasearch, base_folder, tmp_path):
    done = colasearch("train", "actions", "--model", base_folder, "--data", tmp_path / "no", "--output", tmp_path / "a")
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_too_little_data_says_so(colasearch, base_folder, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"text": "only one"}\n')
    done = colasearch("train", "actions", "--model", base_folder, "--data", path, "--output", tmp_path / "a")
    assert done.returncode == 2
    assert "1 texts leave" in done.stderr
