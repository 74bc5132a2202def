"""Two processes run the tests of ``make test``, and a test that wants the machine for itself has it.

A file stays in one process, for its fixtures. Files whose tests run alone stay in one process together, so that Ray
starts once; they come last. A test waits its turn at two locks: many ordinary tests may hold the second at a time, one
that runs alone holds both.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
QUEUE, MACHINE = HERE / "conftest.py", HERE / "turns.py"
"""Files that stand for the two locks; nothing is written to them."""


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """Hold the machine, with others or alone; who asks first is first."""
    with QUEUE.open() as queue, MACHINE.open() as machine:
        fcntl.flock(queue, fcntl.LOCK_EX)
        try:
            fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(queue, fcntl.LOCK_UN)
            yield
        finally:
            # What was forked meanwhile has the same open files: to close them is not enough.
            fcntl.flock(machine, fcntl.LOCK_UN)
            fcntl.flock(queue, fcntl.LOCK_UN)


def scheduling(config: Any, log: Any, is_alone: Callable[[str], bool]) -> Any:
    """A file to a process at a time; ``is_alone`` says of a file whether its tests run alone."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "alone" if is_alone(file) else file

    return ByFile(config, log)
