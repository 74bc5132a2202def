"""``train pairs``: preference pairs out of scored rollouts."""

import json

import pytest

from colasearch.errors import InputError
from colasearch.training.preference.making import make_pairs

TEXTS = {f"p{n}": [("a", 0.1), ("b", 0.5), ("c", 0.5), ("d", 0.9)] for n in range(6)}
WORDS = {name: f"Problem {name}" for name in TEXTS}


def test_the_better_paid_text_is_chosen_and_none_is_used_twice():
    rewards = dict(TEXTS["p0"])
    rows = make_pairs(TEXTS, WORDS, most=100, per_problem=2)
    assert 6 <= len(rows) <= 12
    for row in rows:
        assert rewards[row["chosen"]] > rewards[row["rejected"]]
        assert row["gap"] == pytest.approx(rewards[row["chosen"]] - rewards[row["rejected"]])
    for name in WORDS.values():
        used = [text for row in rows if row["problem"] == name for text in (row["chosen"], row["rejected"])]
        assert len(used) == len(set(used))


def test_draws_depend_on_seed_and_problem_alone():
    rows = make_pairs(TEXTS, WORDS, most=100)
    assert make_pairs(dict(reversed(TEXTS.items())), WORDS, most=100) == rows
    assert make_pairs(TEXTS, WORDS, most=3) == rows[:3]
    assert make_pairs(TEXTS, WORDS, most=100, seed=1) != rows
    assert all(row["gap"] > 0.5 for row in make_pairs(TEXTS, WORDS, most=100, least_gap=0.5))
    with pytest.raises(InputError, match=r"differ by more than 0\.9"):
        make_pairs(TEXTS, WORDS, most=100, least_gap=0.9)


def test_rollouts_paid_by_a_function_become_pairs(colasearch, model_folder, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def short(problems, texts):\n    return [1 / (1 + len(set(t))) for t in texts]\n"
    )
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(3)))
    given = ("--model", model_folder, "--data", tmp_path / "p.jsonl", "--task", "format")
    done = colasearch(
        "train", "rollouts", *given, "--device", "cpu", "--on", "tokens", "--samples", 4, "--max-new-tokens", 8,
        "--reward", f"{tmp_path / 'mine.py'}:short", "--heldout", 0, "--output", tmp_path / "rollouts.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = colasearch(
        "train", "pairs", *given, "--rollouts", tmp_path / "rollouts.jsonl", "--output", tmp_path / "o.jsonl"
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert json.loads(done.stdout)["pairs"] == len(rows) > 0
    for row in rows:
        assert row["problem"].startswith("Say ")
        assert len(set(row["chosen"])) < len(set(row["rejected"]))
    other = tmp_path / "other.jsonl"
    other.write_text('{"prompt": "Another."}\n')
    done = colasearch(
        "train", "pairs", "--model", model_folder, "--data", other, "--task", "format", "--rollouts",
        tmp_path / "rollouts.jsonl", "--output", tmp_path / "o2.jsonl",
    )  # fmt: skip
    assert done.returncode == 2
    assert "not in --data" in done.stderr
