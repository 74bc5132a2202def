"""Generated LaTeX answers (100, or with ``--slow`` 10,000): no exception, deadlines kept, memory bounded."""

import resource
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colasearch.verifiers import extract_answer, group_answers
from colasearch.verifiers.math import Math

BATCH = 25
DEADLINE_S = 1.0
_math = Math(deadline_s=DEADLINE_S)
_seen: Counter[str] = Counter()
_memory: list[int] = []

_atoms = st.one_of(
    st.integers(-(10**6), 10**12).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**4), max_value=10**4).map(str),
    st.sampled_from(
        [
            r"\pi",
            "x",
            "y",
            "n",
            "e",
            "i",
            r"\infty",
            "a_1",
            r"\theta",
            r"\text{cm}",
            "10!",
            "9^{99}",
            r"\alpha",
            "0",
            r"\%",
            r"^\circ",
        ]
    ),
)


_OPERATORS = [" + ", " - ", r" \cdot ", r" \times ", "/", "=", "<", r" \le ", ", ", r" \cup ", r"\pm ", ":", ";", " "]
_FUNCTIONS = ["sin", "cos", "tan", "ln", "log", "arcsin", "exp", "lfloor", "gcd"]


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
        pair.map(lambda p: f"{p[0]}^{{{p[1]}}}"),
        st.tuples(inner, st.sampled_from(_OPERATORS), inner).map("".join),
        inner.map(lambda a: rf"\sqrt{{{a}}}"),
        pair.map(lambda p: rf"\sqrt[{p[0]}]{{{p[1]}}}"),
        st.tuples(st.sampled_from(_FUNCTIONS), inner).map(lambda p: rf"\{p[0]}({p[1]})"),
        pair.map(lambda p: rf"\left( {p[0]}, {p[1]} \right)"),
        pair.map(lambda p: rf"[{p[0]},{p[1]})"),
        pair.map(lambda p: rf"\{{{p[0]}, {p[1]}\}}"),
        pair.map(lambda p: rf"\begin{{pmatrix}} {p[0]} \\ {p[1]} \end{{pmatrix}}"),
        pair.map(lambda p: rf"\sum_{{k=1}}^{{{p[0]}}} {p[1]}"),
        pair.map(lambda p: rf"\binom{{{p[0]}}}{{{p[1]}}}"),
        inner.map(lambda a: f"({a})!"),
        inner.map(lambda a: f"|{a}|"),
    )  # fmt: skip


_latex = st.recursive(_atoms, _combine, max_leaves=6)
_noise = st.text(alphabet=list(r"\{}()[]^_$%!,.;:|&+-*/=<>0123456789abcxyz \ "), max_size=60)
_answers = st.one_of(*[_latex] * 10, _noise, st.text(max_size=40))


@given(st.lists(_answers, min_size=BATCH, max_size=BATCH), _latex)
def _grade(answers: list[str], gold: str) -> None:
    verdicts = _math.score_pairs([(gold, answer) for answer in answers[:-1]] + [(gold, gold)], bare=True)
    assert len(verdicts) == BATCH
    assert all(v.seconds <= DEADLINE_S + 0.5 for v in verdicts)
    assert all(v.reward in (0.0, 1.0, None) for v in verdicts)
    assert verdicts[-1].reward in (1.0, None)
    for answer in answers:
        extract_answer(answer)
        extract_answer(answer, "countdown")
    assert len(group_answers(answers)) == BATCH
    _seen["answers"] += BATCH
    _seen["accepted"] += sum(v.reward == 1.0 for v in verdicts)
    _memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_latex)
def test_integrals(answer: str) -> None:
    # These always go to a worker, and every second one to its deadline.
    (verdict,) = _math.score_pairs([("1/2", rf"\int_0^1 {answer} dx")], bare=True)
    assert verdict.reward in (0.0, 1.0)
    assert verdict.seconds <= DEADLINE_S + 0.5


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_answers(count: int) -> None:
    start = time.monotonic()
    _seen.clear()
    _memory.clear()
    settings(
        max_examples=count // BATCH, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )(_grade)()  # fmt: skip
    assert _seen["answers"] >= count
    assert 0 < _seen["accepted"] < _seen["answers"]
    # What is imported and cached at first is no leak: the growth of the last two thirds counts.
    assert _memory[-1] - _memory[len(_memory) // 3] < 100 * 1024  # KiB
    assert time.monotonic() - start < 280
