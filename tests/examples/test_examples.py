"""Each example runs, small, and does what its first line says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from colasearch.searchers import ALGORITHMS
from colasearch.tasks import TASKS, checkable_verifier
from colasearch.tasks.reading import parse_problem

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture
def as_before():
    """What examples register is forgotten after."""
    known = dict(ALGORITHMS), dict(TASKS)
    yield
    for table, before in zip((ALGORITHMS, TASKS), known, strict=True):
        table.clear()
        table.update(before)


def test_the_minimal_search_finds_texts_with_answers(capsys):
    assert len((EXAMPLES / "minimal_search.py").read_text().splitlines()) < 150
    search = example("minimal_search")["main"]("Make 12 from 3, 4, 7.", sims=3)
    assert "\\boxed{" in search.best_text
    assert capsys.readouterr().out.startswith(search.best_text)


def test_the_custom_world_is_searched_by_any_searcher(capsys):
    module = example("custom_world")
    for searcher, found in (("puct", {10, 24, 25}), ("beam", {10})):
        ways = module["main"](searcher, sims=300)
        assert {target for target, way in ways.items() if way} == found
        for target in found:
            number = 1
            for move in ways[target]:
                number = dict(module["MOVES"])[move](number)
            assert number == target
    assert capsys.readouterr().out.startswith("10 = 1 *3 *3 +1\n")


def test_the_custom_searcher_searches(as_before, capsys):
    module = example("custom_searcher")
    result = module["main"](sims=4)
    assert (result.searcher, result.sims) == ("epsilon_greedy", 4)
    assert module["main"](sims=4).text == result.text


def test_the_custom_verifier_is_stricter_than_ours(as_before):
    module = example("custom_verifier")
    ours, theirs = checkable_verifier("countdown"), checkable_verifier("plain-countdown")
    problem = parse_problem("Make 12 from 3, 4, 5, 7.")
    for answer, by_ours, by_theirs in (("7+5", True, True), ("(7-4)*5-3", True, False), ("3*5", False, False)):
        assert (ours.score(problem, answer).correct, theirs.score(problem, answer).correct) == (by_ours, by_theirs)
    results = module["main"](sims=2)
    assert [result.task for result in results] == ["countdown", "plain-countdown"]


def test_a_reward_model_values_the_leaves():
    scores, result = example("reward_model")["main"](sims=3)
    assert all(0 < score < 1 for score in scores)
    assert scores[0] != scores[1]
    assert result.sims == 3


def test_a_process_reward_model_is_made_of_rollouts(tmp_path):
    from colasearch import load
    from colasearch.rewards import reward_of, settled
    from colasearch.tasks import prompt_tokens

    tokenizer = load("countdown-tiny", device="cpu").base.tokenizer
    problems = [parse_problem(f"Make {n + 3} from {n}, 3.", "countdown") for n in (4, 5)]
    rows = [
        {"prompt": prompt_tokens(tokenizer, problem), "tokens": tokenizer(text)["input_ids"], "reward": right}
        for problem, n in zip(problems, (4, 5), strict=True)
        for text, right in ((f"{n}+3={n + 3}\n\\boxed{{{n}+3}}", 1.0), (f"{n}*3={n * 3}\n\\boxed{{{n}*3}}", 0.0))
    ]
    asked = [{"problem": problem.text, **problem.data} for problem in problems]
    for name, lines in (("rollouts", rows), ("problems", asked)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = [tmp_path / "rollouts.jsonl", tmp_path / "problems.jsonl", tmp_path / "prm"]
    share, pairs = example("train_prm")["main"](*made, epochs=40)
    assert pairs == 1, "one problem is held out, with a right and a wrong text"
    assert 0 <= share <= 1
    judge = reward_of(settled([f"prm:{tmp_path / 'prm'}"]), unit=True)
    texts = [tokenizer.decode(row["tokens"]) for row in rows]
    scores = [one.value for one in judge.score([p for p in problems for _ in range(2)], texts)]
    assert max(scores[0] - scores[1], scores[2] - scores[3]) > 0.2, "the texts that it learned from are told apart"


def test_trl_trains_with_our_verifiers(tmp_path):
    pytest.importorskip("trl", reason="TRL is not installed")
    pytest.importorskip("datasets", reason="datasets is not installed")
    log = example("trl_grpo")["main"](tmp_path, steps=2)
    rewards = [entry["rewards/countdown_reward/mean"] for entry in log if "rewards/countdown_reward/mean" in entry]
    assert len(rewards) == 2
    assert all(0 <= reward <= 1 for reward in rewards)
