"""Several processes run the tests of ``make test``, and a test that wants the machine for itself has it.

A file stays in one process, for its fixtures. Files in a *corner* share a process: those that need Ray, so that it
starts once, and those whose tests run alone, which come last. The process with Ray ends with these tests: they mostly
wait, so that two others have the cores, and what Ray leaves in its process is not beside other tests. A test waits its
turn at two locks: many ordinary tests may hold the second at a time, one that runs alone holds both.
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
RAY, ALONE = "ray", "alone"
"""The corners."""


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


def scheduling(config: Any, log: Any, corner: Callable[[str], str | None]) -> Any:
    """A file to a process at a time; ``corner`` names the corner that a file is in, if any."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return corner(file) or file

        def _reschedule(self, node: Any) -> None:
            if RAY in self.assigned_work[node] and len(self.nodes) > 2 and not node.shutting_down:
                node.shutdown()  # after what it has
            else:
                super()._reschedule(node)

    return ByFile(config, log)
