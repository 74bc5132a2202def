"""Hostile answers: kept deadlines, no code, and bounded memory."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile import RESOURCE, code_payloads

from colasearch.verifiers import extract_answer, group_answers
from colasearch.verifiers.math import Math

LIMIT_S = 20.0
"""Of work that has a deadline, on a machine that may be busy; without the deadline it would take hours."""
HARMLESS = {"lone surrogate", "zero bytes", "combining marks"}
"""Noise around a 5: reading it as 5 is right."""


@pytest.fixture(scope="module")
def math() -> Math:
    return Math(deadline_s=0.5)  # the default is four times as long, of which test_deadlines.py speaks


def test_the_corpus_is_large_enough() -> None:
    assert len(RESOURCE) >= 40
    assert len(code_payloads("m")) >= 20


@pytest.mark.parametrize("name", RESOURCE)
def test_on_the_main_thread(math: Math, name: str) -> None:
    for bare in (True, False):
        start = time.perf_counter()
        (verdict,) = math.score_pairs([("7" if name in HARMLESS else "5", RESOURCE[name])], bare=bare)
        assert time.perf_counter() - start <= LIMIT_S
        assert verdict.reward == 0.0, verdict


@pytest.mark.parametrize("name", RESOURCE)
def test_as_gold_answer(math: Math, name: str) -> None:
    start = time.perf_counter()
    (verdict,) = math.score_pairs([(RESOURCE[name], "7")], bare=True)
    assert time.perf_counter() - start <= LIMIT_S
    assert verdict.reward in (0.0, None), verdict


def test_grouping_and_extraction() -> None:
    start = time.perf_counter()
    answers = list(RESOURCE.values())
    ids = group_answers(answers)
    assert len(set(ids)) >= len(answers) - 3  # the noisy fives
    for text in answers:
        extract_answer(text)
        extract_answer(text, "countdown")
    assert time.perf_counter() - start < LIMIT_S


def test_in_threads(math: Math) -> None:
    pairs = [("5", RESOURCE[name]) for name in ("integral", "oscillating integral", "tower", "limit", "many digits")]

    def work(pair: tuple[str, str]) -> float:
        return math.score_pairs([pair], bare=True)[0].seconds

    math.score_pairs([(r"\int_0^1 x dx", "1/2")], bare=True)  # the pool is warm
    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(work, pairs)) <= LIMIT_S


def test_no_code_runs(math: Math, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    texts = code_payloads(str(marker))
    for bare in (True, False):
        verdicts = math.score_pairs([("5", text) for text in texts], bare=bare)
        assert all(v.reward == 0.0 for v in verdicts)
    math.score_pairs([(text, "5") for text in texts], bare=True)
    group_answers(texts)
    group_answers(texts, "countdown")
    assert not marker.exists()


def test_memory_of_this_process_is_bounded(math: Math) -> None:
    pairs = [("5", text) for text in RESOURCE.values()]
    math.score_pairs(pairs, bare=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        for pair in pairs:
            math.score_pairs([pair], bare=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.slow
def test_inside_a_ray_actor() -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:

        @ray.remote(max_concurrency=4)
        class Grader:
            def __init__(self) -> None:
                self.math = Math()

            def grade(self, gold: str, text: str) -> tuple[float | None, float]:
                start = time.perf_counter()
                verdict = self.math.score_pairs([(gold, text)], bare=True)[0]
                return verdict.reward, time.perf_counter() - start

            def size(self) -> int:
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        grader = Grader.remote()
        assert ray.get(grader.grade.remote(r"\int_0^1 x dx", "1/2"))[0] == 1.0
        results = [
            ray.get(grader.grade.remote("7" if name in HARMLESS else "5", text)) for name, text in RESOURCE.items()
        ]
        assert max(seconds for _, seconds in results) <= LIMIT_S
        assert all(reward == 0.0 for reward, _ in results)
        assert ray.get(grader.size.remote()) < 500 * 1024  # KiB
        ordinary = ray.get([grader.grade.remote(str(i), f"{2 * i}/2") for i in range(1, 40)])
        assert all(reward == 1.0 and seconds <= 0.05 for reward, seconds in ordinary)
    finally:
        ray.shutdown()
