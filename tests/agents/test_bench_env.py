"""``bench env:...`` and ``play`` with environments of a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
USERS = ROOT / "tests" / "environments" / "users.py"
SMALL = ("--sims", "4", "--max-tokens", "6", "--width", "3", "--max-steps", "4")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from tiny import make_base, speaking

    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import new_latents, save_latents

    folder = tmp_path_factory.mktemp("models")
    base = BaseModel.load(str(make_base(folder / "base", context=1024)), device="cpu", dtype="float32")
    save_latents(speaking(new_latents(base, seed=1, num_codes=8)), folder / "latents")
    return folder


@pytest.mark.parametrize("name", ["Guess", "GuessValid", "GuessCopied"])
def test_an_environment_of_ones_own_is_benched_with_any_model(name, models, colasearch, tmp_path):
    which = (
        ("--model", models / "base", "--actions", "sampled")
        if name != "GuessValid"
        else ("--model", models / "latents")
    )
    common = ("bench", f"env:{USERS}:{name}", *which, "--limit", "2", *SMALL)
    done = colasearch(*common, "--json", "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["n"], summary["complete"], summary["searcher"]) == (2, True, "gumbel")
    assert list(summary["arms"]) == ["gumbel", "greedy", "sampled", "majority", "best_of_n"]
    for arm in summary["arms"].values():
        assert arm["n"] == 2
        assert arm["errors"] == 0
        assert arm["score"]["ci95"][0] <= arm["score"]["mean"] <= arm["score"]["ci95"][1]
        assert arm["success"] == arm["selected"]
        assert arm["success"]["correct"] == round(2 * arm["success"]["accuracy"])
        assert arm["environment_steps"] > 0
    assert summary["arms"]["best_of_n"]["environment_steps"] >= summary["arms"]["gumbel"]["environment_steps"]
    records = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_text().splitlines()]
    assert len(records) == 10
    for record in records:
        assert record["score"] == sum(turn["reward"] for turn in record["turns"])
        assert record["steps"] == len(record["turns"]) <= 4
    # Half of it is lost, and done again.
    whole = (tmp_path / "run" / "problems.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "problems.jsonl").write_text("".join(whole[:5]))
    again = colasearch(*common, "--json", "--output", tmp_path / "run", "--resume", "--batch-size", "2")
    assert again.returncode == 0, again.stderr
    assert _untimed(json.loads(again.stdout)) == _untimed(summary)
    assert (tmp_path / "run" / "report.md").is_file()


def _untimed(summary):
    """Without what depends on the clock, or on what else was in the batch."""
    if isinstance(summary, dict):
        return {k: _untimed(v) for k, v in summary.items() if k not in ("seconds", "model_calls")}
    return [_untimed(v) for v in summary] if isinstance(summary, list) else summary


def test_what_is_wrong_with_an_episode_is_that_episodes_error(models, colasearch, tmp_path):
    done = colasearch(
        "bench", f"env:{USERS}:Broken", "--model", models / "base", "--actions", "sampled", "--limit", "6", *SMALL,
        "--arms", "greedy", "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    arms = json.loads(done.stdout)["arms"]
    assert {name: (arm["n"], arm["errors"]) for name, arm in arms.items()} == {"gumbel": (6, 5), "greedy": (6, 5)}
    assert "episode 0: reset raised KeyError: 'no such level'" in done.stderr
    assert "episode 2: step gave a tuple of 2 parts; return (observation, reward, done)" in done.stderr


def test_a_tables_words_and_wrong_usage(models, colasearch, tmp_path):
    model = ("--model", models / "base", "--actions", "sampled")
    done = colasearch("bench", f"env:{USERS}:Levels", *model, *SMALL, "--arms", "gold,greedy", "--searcher", "greedy")
    assert done.returncode == 1  # it has no gold
    assert "environment Levels has no gold actions" in done.stderr or "has no gold actions" in done.stderr
    assert "easy" in done.stdout
    assert "plays each episode once; no search was compared" in done.stdout
    for given, words, code in (
        ((f"env:{USERS}:Guess", "--arms", "gredy"), "'gredy' is no arm; choose from greedy", 2),
        ((f"env:{USERS}:Guess", "--searcher", "gumbl"), "Did you mean gumbel?", 2),
        ((f"env:{USERS}:Levels:mid",), "has no task 'mid'; its tasks are easy, hard", 2),
        (("env:hous",), "Did you mean house?", 2),
        (("env:house", "--resume"), "--resume needs --output", 2),
        (("env:house", "--actions", "latent"), "has no latent modules", 3),
    ):
        wrong = colasearch("bench", *given, "--model", models / "base", *(model[2:] if code == 2 else ()))
        assert (wrong.returncode, words in wrong.stderr) == (code, True), wrong.stderr


def test_an_episode_is_shown_as_it_is_played(models, colasearch):
    done = colasearch("play", "house:unlock", "--by", "gold")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Goal: Unlock the chest")
    assert "The goal is reached." in done.stdout
    assert "score 1, solved (done)" in done.stdout
    model = ("--model", models / "base", "--actions", "sampled", *SMALL[2:])
    for by in ("sampled", "gumbel"):
        done = colasearch(
            "play", f"{USERS}:GuessValid", *model, "--by", by, "--sims", "4", "--variation", "3", "--json"
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["variation"], told["by"], told["observation"]) == (3, by, "Guess a number from 0 to 9.")
        assert told["score"] == sum(turn["reward"] for turn in told["turns"])
    shown = colasearch("play", "examples/environment.py", *model, "--by", "gold")
    assert shown.returncode == 0, shown.stderr


def test_a_searcher_can_run_alone_and_no_second_one_beside_it(monkeypatch, capsys):
    from colasearch.cli import bench_env
    from colasearch.cli.main import main

    found = []
    with monkeypatch.context() as patch:
        patch.setattr(bench_env, "run", lambda settings, context: found.append(settings.all_arms) or 0)
        assert main(["bench", "env:house", "--searcher", "puct", "--arms", "puct"]) == 0
    assert found == [("puct",)]
    assert main(["bench", "env:house", "--searcher", "puct", "--arms", "gumbel"]) == 2
    assert "only one searcher runs at a time, here puct" in capsys.readouterr().err
