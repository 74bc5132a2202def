"""What verifiers promise of their time, on a machine that is free."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile import RESOURCE

from colasearch.problem import Problem
from colasearch.verifiers.countdown import Countdown
from colasearch.verifiers.math import Math
from colasearch.verifiers.pool import WorkerPool

PROMISE_S = 2.5
"""Of work that has a deadline of 2 s."""


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool("probe", workers=2, deadline_s=0.5) as made:
        made.run([["echo", 0]])
        yield made


def test_the_promised_deadline_holds_on_a_machine_that_is_free() -> None:
    math = Math()
    math.score_pairs([(r"\int_0^1 x dx", "1/2")], bare=True)  # the pool is warm
    for name in ("integral", "tower", "many digits"):
        start = time.perf_counter()
        math.score_pairs([("5", RESOURCE[name])], bare=True)
        assert time.perf_counter() - start <= PROMISE_S, name


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


def test_rejection_takes_microseconds() -> None:
    numbers = {"numbers": [98, 44, 35, 19], "target": 24}
    verifier, hostile = Countdown(), Problem.from_text("", "countdown", numbers)
    start = time.perf_counter()
    for _ in range(1000):
        verifier.score(hostile, "98**44**35**19")
    assert (time.perf_counter() - start) / 1000 < 500e-6


def test_every_job_has_its_own_deadline(pool: WorkerPool) -> None:
    replies = pool.run([["sleep", 0.3]] * 4)  # 1.2 s in all, over one deadline
    assert [r.status for r in replies] == ["done"] * 4


def test_next_answer_does_not_wait_for_a_replacement(pool: WorkerPool) -> None:
    while len(pool.pids()) < 2:  # the spare is not there yet
        time.sleep(0.02)
    pool.run([["spin", 9]])
    start = time.monotonic()
    assert pool.run([["echo", "next"]])[0].result == "next"
    assert time.monotonic() - start < 0.05


def test_queue_time_does_not_count() -> None:
    with WorkerPool("probe", workers=1, deadline_s=0.5) as small, ThreadPoolExecutor(8) as threads:
        small.run([["echo", 0]])
        replies = list(threads.map(lambda _: small.run([["sleep", 0.3]])[0], range(8)))  # the last waits 2.1 s
    assert [r.status for r in replies] == ["done"] * 8
