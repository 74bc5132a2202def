"""Procedural tasks of reasoning-gym, made and scored in workers only."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers import checkable_verifier, get_verifier
from colasearch.verifiers.procedural import Procedural, procedural_names, procedural_problems

needs_gym = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="needs `pip install '.[gym]'`")

RUN_CODE = [
    "string_insertion",
    "spiral_matrix",
    "binary_matrix",
    "n_queens",
    "simple_integration",
    "polynomial_multiplication",
]
"""Tasks whose own scorers give the answer to eval or parse_expr."""


@pytest.mark.skipif(find_spec("reasoning_gym") is not None, reason="reasoning-gym is installed")
def test_missing_package_is_explained() -> None:
    with pytest.raises(PrerequisiteError, match=r"pip install '\.\[gym\]'"):
        procedural_problems("chain_sum", size=1)
    problem = Problem(id="p", text="", task="procedural", data={"gym": {"name": "chain_sum"}})
    with pytest.raises(PrerequisiteError, match="reasoning-gym"):
        get_verifier("procedural").score(LabelledProblem(problem, "5"), "5")


def test_a_problem_of_another_kind_gets_no_reward() -> None:
    assert Procedural().score(LabelledProblem(Problem.from_text("2+2?"), "4"), "4").reward is None


@needs_gym
def test_gold_answers_score_one() -> None:
    names = procedural_names()
    assert len(names) > 50
    for name in ("chain_sum", "gcd", "complex_arithmetic", "fraction_simplification", *RUN_CODE):
        problems = procedural_problems(name, size=3, seed=4)
        verdicts = Procedural().score_batch([(p, f"<answer>{p.gold}</answer>") for p in problems])
        assert [v.reward for v in verdicts] == [1.0] * 3, name
        wrong = Procedural().score_batch([(p, "<answer>-987654321</answer>") for p in problems])
        assert all(v.reward is not None and v.reward < 1.0 for v in wrong), name


@needs_gym
def test_same_seed_same_problems() -> None:
    first, again, other = (procedural_problems("chain_sum", size=4, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [p.problem.text for p in first] != [p.problem.text for p in other]


@needs_gym
def test_settings_reach_the_task_and_bad_ones_are_reported() -> None:
    (problem,) = procedural_problems("chain_sum", size=1, min_terms=5, max_terms=5)
    assert sum(problem.problem.text.count(op) for op in "+-") >= 4
    with pytest.raises(InputError):
        procedural_problems("chain_sum", size=1, no_such_setting=1)
    with pytest.raises(InputError):
        procedural_problems("no_such_task", size=1)


@needs_gym
@pytest.mark.parametrize("name", ["countdown", "puzzle24"])
def test_countdown_uses_our_verifier(name: str) -> None:
    for labelled in procedural_problems(name, size=5, seed=2):
        assert labelled.problem.task == "countdown"
        verifier = checkable_verifier("countdown")
        assert verifier.score(labelled.problem, labelled.gold).reward == 1.0
        assert verifier.score(labelled.problem, "98**44**35**19").reward == 0.0


@needs_gym
def test_answers_that_are_code_or_endless(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payloads = [
        f"__import__('os').system('touch {marker}')",
        f"open('{marker}', 'w')",
        f"[open('{marker}', 'w')]",
        f"x.__class__.__base__.__subclasses__() or open('{marker}', 'w')",
        "9**9**9**9",
        "(" * 5000 + "1" + ")" * 5000,
    ]
    for name in RUN_CODE:
        (problem,) = procedural_problems(name, size=1)
        for payload in payloads:
            start = time.perf_counter()
            verdict = Procedural().score(problem, f"<answer>{payload}</answer>")
            assert time.perf_counter() - start <= 20
            assert verdict.reward is not None
            assert verdict.reward < 1.0
    assert not marker.exists()


@needs_gym
def test_main_process_never_imports_it() -> None:
    code = (
        "import sys; from colasearch.verifiers.procedural import *; p, = procedural_problems('gcd', size=1); "
        "assert Procedural().score(p, p.gold).reward == 1.0; assert 'reasoning_gym' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
