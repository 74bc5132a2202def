"""Hostile answers: kept deadlines, no code, bounded memory, and the next ordinary answer at once."""

import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile import RESOURCE, code_payloads

from colasearch.verifiers import extract_answer, group_answers
from colasearch.verifiers.math import Math

LIMIT_S = 20.0
"""Of work that has a deadline, on a machine that may be busy; without the deadline it would take hours."""
PROMISE_S = 2.5
"""Of work that has a deadline of 2 s, on a machine that is free."""
HARMLESS = {"lone surrogate", "zero bytes", "combining marks"}
"""Noise around a 5: reading it as 5 is right."""


@pytest.fixture(scope="module")
def math() -> Math:
    return Math(deadline_s=0.5)  # the default is four times as long, of which the tests on a free machine speak


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


@pytest.mark.alone
def test_the_promised_deadline_holds_on_a_machine_that_is_free() -> None:
    math = Math()
    math.score_pairs([(r"\int_0^1 x dx", "1/2")], bare=True)  # the pool is warm
    for name in ("integral", "tower", "many digits"):
        start = time.perf_counter()
        math.score_pairs([("5", RESOURCE[name])], bare=True)
        assert time.perf_counter() - start <= PROMISE_S, name


@pytest.mark.alone
def test_next_ordinary_answer_is_not_held_up() -> None:
    math = Math()
    math.score_pairs([(r"\int_0^1 x dx", "1/2")], bare=True)
    time.sleep(2.0)  # the spare is ready
    seconds = []
    for i, name in enumerate(["integral", "oscillating integral"]):
        math.score_pairs([("5", RESOURCE[name] + f" + {i}")], bare=True)
        for j in range(10):
            for gold, text in ((str(j), f"it is {j}"), (r"\frac{1}{2}", r"\boxed{0.5}"), ("x+1", "1+x")):
                start = time.perf_counter()
                assert math.score_pairs([(gold, text)])[0].reward == 1.0
                seconds.append(time.perf_counter() - start)
        start = time.perf_counter()  # one that needs a worker: the spare takes it
        assert math.score_pairs([(f"{i}/2", rf"\int_0^1 {i} x dx")], bare=True)[0].reward == 1.0
        seconds.append(time.perf_counter() - start)
    assert statistics.quantiles(seconds, n=20)[-1] <= 0.05


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
