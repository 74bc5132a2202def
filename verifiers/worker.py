"""The worker process: reads jobs as JSON lines, writes one JSON line for each.

It runs what may hang, crash or eat memory. Before the first job it takes its own limits: address space, CPU time a
job, no core dumps, death with its parent, and an audit hook that refuses to write files, start processes or use the
network. The hook is a second fence, not a sandbox: the first is that nothing in an answer is run.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

KINDS: dict[str, tuple[str, str, Any]] = {
    "math": ("colasearch.verifiers.engine", "judge", [r"\int_0^1 x dx", r"\frac{1}{2}"]),
    "gym": ("colasearch.verifiers.gym_worker", "work", None),
    "probe": ("colasearch.verifiers.worker", "probe", None),
}
"""Kind of pool: (module, function that does a job, a job to warm up with: the first one loads tables for 0.2 s)."""

MAX_JOBS = 5000
"""After so many jobs a worker is replaced, since sympy's caches grow."""
MAX_RESIDENT_BYTES = 600 << 20
"""A worker that has grown beyond this is replaced."""
_CPU_SECONDS_A_JOB = 30
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """End this process, without a word, as soon as process ``parent``, which started it, is gone."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    for name, value in (("RLIMIT_AS", memory_bytes), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0)):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, hard))


_FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn",
    "socket.connect", "socket.bind", "socket.getaddrinfo", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
    "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.kill", "os.putenv", "ctypes.dlopen",
    "shutil.rmtree", "shutil.copyfile", "shutil.move", "webbrowser.open",
)  # fmt: skip


def _forbid(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: arithmetic needs no files to write, no processes and no network."""
    if event == "open":
        mode, flags = args[1], args[2]
        writing = isinstance(mode, str) and any(c in mode for c in "wax+")
        if writing or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)):
            raise PermissionError("a verifier's worker writes no files")
    elif event in _FORBIDDEN:
        raise PermissionError(f"a verifier's worker does not do {event}")


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _allow_cpu() -> None:
    """Let the next job have ``_CPU_SECONDS_A_JOB``; an orphan on a system without PDEATHSIG ends there."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + _CPU_SECONDS_A_JOB
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def probe(job: Any) -> Any:
    """Jobs for testing the pool: what they do to the worker is their name."""
    match job[0]:
        case "echo":
            return job[1]
        case "sleep":
            time.sleep(job[1])
            return "slept"
        case "spin":
            return 9**9 ** job[1]  # one long operation that holds the interpreter's lock
        case "allocate":
            return len(bytearray(job[1]))
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "pid":
            return os.getpid()
        case "parent":
            return os.getppid()
    raise ValueError(f"unknown probe {job[0]!r}")


def _answer(do: Callable[[Any], Any], job: Any) -> dict[str, Any]:
    try:
        return {"status": "done", "result": do(job)}
    except MemoryError:
        return {"status": "memory", "retire": True}
    except RecursionError:
        return {"status": "error", "result": "recursion too deep"}
    except Exception as error:
        return {"status": "error", "result": f"{type(error).__name__}: {str(error)[:200]}"}


def main(argv: Sequence[str]) -> None:
    """Serve jobs of kind ``argv[0]`` for the parent process ``argv[1]`` within ``argv[2]`` bytes."""
    kind, parent, memory_bytes = argv[0], int(argv[1]), int(argv[2])
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    out = os.fdopen(os.dup(1), "w", buffering=1, encoding="ascii")
    os.dup2(2, 1)  # whatever the libraries print must not get between the replies
    module, function, first_job = KINDS[kind]
    do: Callable[[Any], Any] = getattr(import_module(module), function)
    _limit(memory_bytes)
    if first_job is not None:
        do(first_job)
    if kind != "probe":
        sys.addaudithook(_forbid)
    out.write("ready\n")
    for count, line in enumerate(sys.stdin.buffer, start=1):
        _allow_cpu()
        reply = _answer(do, json.loads(line))
        if count >= MAX_JOBS or _resident_bytes() > MAX_RESIDENT_BYTES:
            reply["retire"] = True
        out.write(json.dumps(reply) + "\n")
        if reply.get("retire"):
            return
