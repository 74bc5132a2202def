"""Grouping of answers for the vote."""

import random
import subprocess
import sys

from colasearch.verifiers import group_answers


def test_groups_equal_numbers() -> None:
    assert group_answers(["1/2", "0.5", r"\frac{1}{2}", r"\dfrac12", "2", "2.0", "$2$"]) == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
    ]


def test_a_right_calculation_groups_with_its_result() -> None:
    assert group_answers(["8", "3 + 5 = 8", r"\frac{16}{2} = 8", "3 + 5 = 9", "9", "2x = 16"]) == [0, 0, 0, 1, 2, 3]


def test_partition_does_not_depend_on_order() -> None:
    answers = ["10", r"10\%", "0.1", "1/10", "x+1", "1 + x", r"\frac{1}{10}", "foo", "1,000", "1000"] * 2

    def partition(order: list[int]) -> set[frozenset[int]]:
        ids = group_answers([answers[i] for i in order])
        return {frozenset(order[j] for j in range(len(order)) if ids[j] == g) for g in set(ids)}

    want = partition(list(range(len(answers))))
    rng = random.Random(0)
    for _ in range(20):
        order = list(range(len(answers)))
        rng.shuffle(order)
        assert partition(order) == want


def test_import_is_light() -> None:
    code = (
        "import sys, colasearch.verifiers as v; v.group_answers(['1', 'x+1']); "
        "heavy = {'sympy', 'math_verify', 'torch', 'numpy', 'multiprocessing.pool'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
