"""The worker pool: deadlines are kept, failures stay in the worker, workers die with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from colasearch.errors import PrerequisiteError
from colasearch.verifiers.pool import Reply, WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool("probe", workers=2, deadline_s=30) as made:
        made.run([["echo", 0]])
        yield made


@pytest.fixture
def hasty() -> Iterator[WorkerPool]:
    with WorkerPool("probe", workers=2, deadline_s=1.0) as made:
        made.run([["echo", 0]])
        yield made


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_no_process_before_the_first_job() -> None:
    with WorkerPool("probe") as fresh:
        assert fresh.pids() == []


def test_replies_are_in_order(pool: WorkerPool) -> None:
    assert [r.result for r in pool.run([["echo", i] for i in range(500)])] == list(range(500))


@pytest.mark.parametrize("job", [["sleep", 60], ["spin", 9]])
def test_deadline_is_kept(hasty: WorkerPool, job: list[object]) -> None:
    # "spin" computes 9**9**9: one operation that holds the interpreter's lock and answers no signal handler.
    start = time.monotonic()
    (reply,) = hasty.run([job])
    assert reply.status == "timeout"
    assert 0.95 < time.monotonic() - start < 10  # the machine may be busy; without a deadline it would be a minute


def test_a_batch_goes_on_after_each_failure(hasty: WorkerPool) -> None:
    jobs = [
        ["echo", 1],
        ["spin", 9],
        ["echo", 2],
        ["crash"],
        ["echo", 3],
        ["allocate", 4 << 30],
        ["nonsense"],
        ["echo", 4],
    ]
    replies = hasty.run(jobs)
    assert [r.status for r in replies] == ["done", "timeout", "done", "crash", "done", "memory", "error", "done"]
    assert [r.result for r in replies if r.status == "done"] == [1, 2, 3, 4]


def test_threads_get_their_own_replies(pool: WorkerPool) -> None:
    def work(i: int) -> list[Reply]:
        return pool.run([["echo", [i, j]] for j in range(50)])

    with ThreadPoolExecutor(8) as threads:
        for i, replies in enumerate(threads.map(work, range(8))):
            assert [r.result for r in replies] == [[i, j] for j in range(50)]


def test_under_asyncio(pool: WorkerPool) -> None:
    async def main() -> tuple[list[list[Reply]], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        jobs = [asyncio.to_thread(pool.run, [["sleep", 0.2]]) for _ in range(2)]
        replies = await asyncio.gather(*jobs)
        ticking.cancel()
        return list(replies), ticks

    replies, ticks = asyncio.run(main())
    assert all(r[0].status == "done" for r in replies)
    assert ticks >= 5  # the loop went on


def test_no_signal_handler_is_touched(hasty: WorkerPool) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    hasty.run([["spin", 9], ["echo", 1]])
    after = [signal.getsignal(s) for s in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    assert before == after


def test_large_jobs_do_not_block(pool: WorkerPool) -> None:
    text = "x" * 1_000_000  # more than a pipe holds, both ways
    assert [len(r.result) for r in pool.run([["echo", text]] * 5)] == [1_000_000] * 5


def test_killed_worker_is_replaced(pool: WorkerPool) -> None:
    for pid in pool.pids():
        os.kill(pid, signal.SIGKILL)
    replies = pool.run([["echo", i] for i in range(5)])
    assert replies[-1].result == 4
    assert sum(r.status == "crash" for r in replies) <= 2


def test_close_leaves_no_process(pool: WorkerPool) -> None:
    pids = pool.pids()
    pool.close()
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 5)
    with pytest.raises(RuntimeError, match="closed"):
        pool.run([["echo", 1]])


def test_broken_workers_are_reported() -> None:
    with WorkerPool("no such kind") as broken, pytest.raises(PrerequisiteError, match="died while starting"):
        broken.run([["echo", 1]])


PARENT = """
import os, sys, threading, time
from colasearch.verifiers.pool import WorkerPool
pool = WorkerPool("probe", workers=2, deadline_s=300)
pool.run([["echo", 0]])
busy = threading.Thread(target=pool.run, args=([["spin", 9]],), daemon=True)
busy.start()
while len(pool.pids()) < 2:
    time.sleep(0.01)
time.sleep(0.3)
print(*pool.pids(), flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("time.sleep(300)", -signal.SIGKILL),  # we kill it
        ("os._exit(3)", 3),
        ("sys.exit(0)", 0),
    ],
)
def test_workers_die_with_their_parent(end: str, code: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT).replace("{end}", end)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pids = [int(p) for p in parent.stdout.readline().split()]
    assert len(pids) >= 2  # one of them is in the middle of 9**9**9
    if code == -signal.SIGKILL:
        assert all(alive(pid) for pid in pids)
        parent.kill()
    assert parent.wait(timeout=30) == code
    assert wait_until(lambda: not any(alive(pid) for pid in pids), 10)


def test_works_in_a_thread_that_ends() -> None:
    # PR_SET_PDEATHSIG is tied to the thread that starts the workers: it must not be a caller's.
    with WorkerPool("probe", deadline_s=1.0) as made:
        first = threading.Thread(target=made.run, args=([["echo", 0]],))
        first.start()
        first.join()
        time.sleep(0.2)
        pids = made.pids()
        assert made.run([["pid"]])[0].result in pids


def test_forked_child_makes_its_own_workers() -> None:
    code = """
    import os
    from colasearch.verifiers.pool import shared_pool
    shared_pool("probe").run([["pid"]])
    child = os.fork()
    if child == 0:
        other = shared_pool("probe").run([["parent"]])[0].result
        os._exit(0 if other == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert shared_pool("probe").run([["parent"]])[0].result == os.getpid()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
