"""Killable worker processes: untrusted answers are worked on there, each under one deadline that is kept.

A worker is a fresh interpreter (never a fork), fed JSON lines through a pipe. When an answer's deadline passes its
worker is killed with SIGKILL, which nothing that it computes can hold up, and a spare that is ready takes over while
a thread starts the next one. No signals are used in this process, so the pool works on any thread, under asyncio and
inside Ray actors. An answer's clock starts when a ready worker has it: neither the wait for a free worker nor the start
of one counts against its deadline. A start is bounded by ``START_S`` and three failed ones in a row are an error, so a
call ends after at most a start and a deadline for each of its answers.

Workers die with this process, also when it is killed: the kernel sends them SIGKILL then (``PR_SET_PDEATHSIG``, tied
to the thread that started them, hence the one starting thread), and elsewhere they see their pipe close or run into
a limit of CPU time. Covered: run-away time, memory, crashes. Not covered: it is no sandbox against the kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.errors import PrerequisiteError

DEADLINE_S = 2.0
"""Seconds that one answer may take, of the worker's own time."""
WALL_FACTOR = 1.2
"""So many times its deadline an answer may take by the wall clock, if its worker did not get the processor."""
MEMORY_BYTES = 1 << 30
"""Address space of a worker."""
START_S = 120.0
"""Seconds that a worker may take to start, on a machine that is busy with other things."""
MAX_STARTS_IN_A_ROW = 3
"""So many failed starts mean that the installation is broken."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from colasearch.verifiers.worker import main; main(sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Outcome of one job.

    Attributes:
        status: ``done``, ``timeout`` (killed at the deadline), ``memory`` (over the limit), ``crash`` (the worker
            died) or ``error`` (an exception in the worker).
        result: What the job returned, if done; the exception's text, if error.
        seconds: Wall-clock seconds in the worker; waiting for a free worker is not counted.
    """

    status: str
    result: Any
    seconds: float


class _Worker:
    """One worker process and the bytes it has written so far."""

    def __init__(self, kind: str, memory_bytes: int) -> None:
        path = [entry or os.getcwd() for entry in sys.path]
        command = [sys.executable, "-P", "-c", _BOOT, json.dumps(path), kind, str(os.getpid()), str(memory_bytes)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.stdin, False)
        self.buffer = bytearray()

    def cpu_seconds(self) -> float:
        """Processor time that the worker has used so far; infinite where the system does not tell."""
        if not sys.platform.startswith("linux"):
            return float("inf")
        with contextlib.suppress(OSError, OverflowError):
            return time.clock_gettime((~self.process.pid << 3) | 2)  # the kernel's CPUCLOCK_SCHED of a process
        return float("inf")

    def work(self, pending: bytearray, seconds: float) -> bytes | None:
        """``exchange`` within ``seconds`` of the worker's own time: on a busy machine it may wait for the processor.

        By the wall clock it has at most ``WALL_FACTOR`` times as long.
        """
        start, used = time.monotonic(), self.cpu_seconds()
        latest = start + WALL_FACTOR * seconds
        deadline = start + seconds
        while True:
            line = self.exchange(pending, deadline)
            left = seconds - (self.cpu_seconds() - used)
            now = time.monotonic()
            if line is not None or now >= latest or not left > 0:
                return line
            deadline = min(latest, now + max(left, 0.01))

    def exchange(self, pending: bytearray, deadline: float) -> bytes | None:
        """Write what is pending and return the next line; ``None`` when the deadline passes.

        Raises:
            EOFError: if the worker has died.
        """
        while True:
            line_end = self.buffer.find(b"\n")
            if line_end >= 0:
                line = bytes(self.buffer[:line_end])
                del self.buffer[: line_end + 1]
                return line
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            # Both directions at once: a worker that waits to write must not block us while we wait to write.
            poll = select.poll()
            poll.register(self.stdout, select.POLLIN)
            if pending:
                poll.register(self.stdin, select.POLLOUT)
            for fd, event in poll.poll(max(1, int(left * 1000))):
                if fd == self.stdout:
                    chunk = os.read(fd, 1 << 16)
                    if not chunk:
                        raise EOFError
                    self.buffer += chunk
                elif event & (select.POLLERR | select.POLLHUP):
                    raise EOFError
                elif pending:
                    try:
                        del pending[: os.write(fd, pending)]
                    except BlockingIOError:
                        pass
                    except BrokenPipeError:
                        raise EOFError from None

    def kill(self) -> None:
        """End the process now and reap it."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


class WorkerPool:
    """A few workers and one spare.

    Args:
        kind: What the workers do: the name of a set of jobs in ``colasearch.verifiers.worker``.
        workers: Most answers worked on at the same time; by default four, or as many as there are cores up to
            eight. Workers are started as callers come to wait for them, so one caller at a time costs one and a spare.
        deadline_s: Seconds that one answer may take.
        memory_bytes: Address space of a worker.

    No process is started before the first job. All methods may be called from any thread.
    """

    def __init__(
        self,
        kind: str = "math",
        workers: int | None = None,
        deadline_s: float = DEADLINE_S,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.kind = kind
        self.workers = workers or min(8, max(4, os.cpu_count() or 1))
        self.deadline_s = deadline_s
        self.memory_bytes = memory_bytes
        self._changed = threading.Condition()
        self._free: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._active = 0
        self._waiting = 0
        self._failures = 0
        self._closed = False
        self._starter: threading.Thread | None = None

    def warm_up(self) -> None:
        """Begin to start the workers, without waiting for them."""
        with self._changed:
            if self._closed:
                raise RuntimeError("this pool is closed")
            if self._starter is None:
                self._starter = threading.Thread(target=self._start_workers, name="verifier-pool", daemon=True)
                self._starter.start()

    def run(self, jobs: Sequence[Any], deadline_s: float | None = None) -> list[Reply]:
        """Do jobs (JSON values) in order; one reply each. Every job has its own deadline.

        Raises:
            PrerequisiteError: if workers cannot be started.
        """
        replies: list[Reply] = []
        deadline_s = deadline_s or self.deadline_s
        while len(replies) < len(jobs):
            worker = self._acquire()
            healthy = False
            try:
                healthy = self._run_on(worker, jobs[len(replies) :], deadline_s, replies)
            finally:
                self._release(worker, healthy)
        return replies

    def _run_on(self, worker: _Worker, jobs: Sequence[Any], deadline_s: float, replies: list[Reply]) -> bool:
        """Do jobs on one worker until one of them costs it its life; whether it can be used again.

        The worker is ready, so an answer's clock starts when the worker has it: the first job's now, the next one's
        when the reply before it is here.
        """
        pending = bytearray(b"".join(json.dumps(job).encode() + b"\n" for job in jobs))
        for _ in jobs:
            start = time.monotonic()
            try:
                line = worker.work(pending, deadline_s)
            except EOFError:
                replies.append(Reply("crash", None, time.monotonic() - start))
                return False
            seconds = time.monotonic() - start
            if line is None:
                replies.append(Reply("timeout", None, seconds))
                return False
            answer = json.loads(line)
            replies.append(Reply(answer["status"], answer.get("result"), seconds))
            if answer.get("retire"):
                return False
        return True

    def _acquire(self) -> _Worker:
        self.warm_up()
        with self._changed:
            while not self._free or self._active >= self.workers:
                if self._closed:
                    raise RuntimeError("this pool is closed")
                if self._failures >= MAX_STARTS_IN_A_ROW:
                    raise PrerequisiteError(
                        f"{self._failures} worker processes of the {self.kind!r} verifier died while starting; they "
                        f"need this Python ({sys.executable}) with colasearch and its dependencies installed: try "
                        f"`{sys.executable} -c 'import colasearch.verifiers.worker, math_verify'`"
                    )
                self._waiting += 1
                self._changed.notify_all()  # the starting thread may have to start one more
                self._changed.wait()
                self._waiting -= 1
            self._active += 1
            return self._free.pop()

    def _release(self, worker: _Worker, healthy: bool) -> None:
        if not healthy:
            worker.kill()
        with self._changed:
            self._active -= 1
            if healthy and not self._closed:
                self._free.append(worker)
            else:
                self._all.discard(worker)
            self._changed.notify_all()

    def _missing(self) -> int:
        """Workers to start: one for each caller within the limit, and a spare that is ready when one is killed."""
        return min(self.workers, max(1, self._active + self._waiting)) + 1 - len(self._all)

    def _start_workers(self) -> None:
        """The starting thread: keep as many processes alive as are wanted."""
        while True:
            with self._changed:
                while not self._closed and (self._missing() <= 0 or self._failures >= MAX_STARTS_IN_A_ROW):
                    self._changed.wait()
                if self._closed:
                    return
                # One at a time, unless callers wait for more: starting at once they hold each other up.
                missing = min(self._missing(), max(1, self._waiting - len(self._free)))
            starting: list[_Worker] = []
            with contextlib.suppress(OSError):  # counted as a failure below
                starting.extend(_Worker(self.kind, self.memory_bytes) for _ in range(missing))
            for worker in starting:
                self._admit(worker)
            if not starting:
                self._count_failure()

    def _admit(self, worker: _Worker) -> None:
        """Wait until a worker is ready and hand it to the callers."""
        try:
            ready = worker.exchange(bytearray(), time.monotonic() + START_S) is not None
        except (OSError, EOFError):
            ready = False
        with self._changed:
            if ready and not self._closed:
                self._all.add(worker)
                self._free.append(worker)
                self._failures = 0
                self._changed.notify_all()
                return
        worker.kill()
        self._count_failure()

    def _count_failure(self) -> None:
        with self._changed:
            self._failures += 1
            self._changed.notify_all()

    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        with self._changed:
            return sorted(w.process.pid for w in self._all)

    def close(self) -> None:
        """Kill all workers. A closed pool takes no more jobs."""
        with self._changed:
            self._closed = True
            workers, self._all, self._free = list(self._all), set(), []
            self._changed.notify_all()
        for worker in workers:
            worker.process.kill()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_shared: dict[tuple[Any, ...], WorkerPool] = {}
_shared_lock = threading.Lock()


def shared_pool(kind: str = "math", workers: int | None = None, deadline_s: float = DEADLINE_S) -> WorkerPool:
    """The process-wide pool of a kind; made at the first call, closed when the interpreter ends."""
    with _shared_lock:
        key = (kind, workers, deadline_s)
        if key not in _shared:
            _shared[key] = WorkerPool(kind, workers, deadline_s)
        return _shared[key]


def _close_shared() -> None:
    for pool in list(_shared.values()):
        pool.close()


def _forget_after_fork() -> None:
    """A forked child must not talk to its parent's workers, and its copies of the locks may be held."""
    global _shared_lock
    _shared.clear()
    _shared_lock = threading.Lock()


atexit.register(_close_shared)
os.register_at_fork(after_in_child=_forget_after_fork)
