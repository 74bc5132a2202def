"""Ends what is left of a Ray that this machine's driver has started, when the driver is gone.

Ray's own processes end with their driver, but not all of them soon: two agents wait a minute for a node that is not
there any more, and a worker that was stopped (SIGSTOP) hears of nothing. So a driver starts this file as a process of
its own, which waits for the driver's end, however it comes, and then kills what has a file of that driver's Ray open.
It imports nothing but the standard library, and costs a few megabytes.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

POLL_S = 1.0
"""How often the driver is looked at, should its end of the pipe have been passed on to another process."""
GRACE_S = 3.0
"""Time for the processes to end by themselves, which most do."""
GIVE_UP_S = 20.0
"""After that, what cannot be killed is left."""


def start() -> subprocess.Popen[bytes]:
    """Start the watchdog of this process; closing its standard input has it clean up and end."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the terminal's Ctrl-C is for the driver
        cwd="/",
    )


def dismiss(dog: subprocess.Popen[bytes]) -> None:
    """Let the watchdog end, after Ray was shut down in order; nobody waits while it kills what has not ended."""
    if dog.stdin is not None:
        with contextlib.suppress(OSError):
            dog.stdin.close()
    threading.Thread(target=dog.wait, daemon=True).start()  # so that it is no zombie in a process that goes on


def left_of(driver: int) -> Iterator[int]:
    """Processes of the Ray that process ``driver`` has started; its sessions' folders end with that number."""
    session = re.compile(rf"/session_[^/]*_{driver}/")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in (os.getpid(), driver):
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
            command = (entry / "cmdline").read_bytes()
            if not (command.startswith(b"ray::") or b"/ray/" in command or b"ray" in command.split(b"\0")[0]):
                continue  # somebody who reads Ray's logs
            if any(session.search(os.readlink(file)) for file in (entry / "fd").iterdir()):
                yield int(entry.name)


def end_all(driver: int) -> None:
    """Kill them: after a moment's grace, until none is left."""
    begun = time.monotonic()
    while (left := list(left_of(driver))) and (passed := time.monotonic() - begun) < GIVE_UP_S:
        if passed >= GRACE_S:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.25)


def watch(driver: int) -> None:
    """Wait for the end of ``driver``, our parent, then clean up."""
    while os.getppid() == driver:
        if select.select([0], [], [], POLL_S)[0] and not os.read(0, 1):
            break
    end_all(driver)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(int(sys.argv[1]))
