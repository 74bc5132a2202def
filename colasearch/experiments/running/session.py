"""One process for several stages of a run, which keeps what is slow to start: imports, or the Ray workers of searches.

``Session`` is the run's side. The other side is the command line's (``python -m colasearch.cli.session PARENT HOW``):
it reads one line of JSON on standard input for each command (a list of arguments), does it as ``colasearch
ARGUMENTS...`` would, and writes ``{"code": EXIT CODE, "out": STANDARD OUTPUT}`` as a line on standard output. ``END``
on standard error ends a command's messages. Ctrl-C and SIGTERM are the run's to hear: it ends the process. Nothing
outlives the run, not even one that was killed by SIGKILL: a stage that went on writing would meet its own ``--resume``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

COMMANDS = "colasearch.cli.session"
"""Module that does commands; started as a program, never imported: experiments lie below the command line."""
END = "\x00end"
"""The end of a line that no command writes."""
TOGETHER, APART = "together", "apart"
"""How commands are done: in the process itself, which keeps their workers, or each in a process forked from it."""


class Session:
    """A process that does commands in ``root``, one after the other; started when it is first needed.

    Args:
        root: Folder that commands run in.
        environment: Of the process.
        end: Ends a process in good order.
        how: ``TOGETHER`` or ``APART``. A command that is done apart finds everything imported (seven seconds of a
            slow core) and leaves nothing behind.
    """

    def __init__(
        self,
        root: Path,
        environment: Mapping[str, str],
        end: Callable[[subprocess.Popen[bytes]], None],
        how: str = TOGETHER,
    ) -> None:
        self.root, self.environment, self.end, self.how = root, environment, end, how
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            self.end(process)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process, unless it is there: it lives no longer than the thread that starts it."""
        self._process = self._process or self._start()
        return self._process

    def terminate(self) -> None:
        """Ask the process to end, while another thread is in ``run``, which returns when it has."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once, if it is there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, args: Sequence[str], hear: Callable[[bytes], None]) -> tuple[int, str]:
        """Exit code and standard output of a command; ``hear`` gets the lines of its standard error."""
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):  # what it said as it died is still to be heard
            process.stdin.write(json.dumps(list(args)).encode() + b"\n")
            process.stdin.flush()
        for line in process.stderr:
            said, ends, _ = line.partition(END.encode())
            if said or not ends:  # what was killed may have left a line without its end
                hear(said if ends else line)
            if ends:
                break
        reply = process.stdout.readline()
        if not reply:  # killed, or out of memory
            self._process = None
            return process.wait() or 1, ""
        said = json.loads(reply)
        return said["code"], said["out"]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", COMMANDS, str(os.getpid()), self.how],
            cwd=self.root,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal reaches the run alone
        )
