"""One process for several stages of a run, which keeps what is slow to start: the Ray workers of its searches.

``Session`` is the run's side. The other side, ``python -m colasearch.experiments.session PARENT``, reads one line of
JSON on standard input for each command (a list of arguments), does it as ``colasearch ARGUMENTS...`` would, and writes
``{"code": EXIT CODE, "out": STANDARD OUTPUT}`` as a line on standard output. ``END`` on standard error ends a command's
messages. Ctrl-C and SIGTERM are the run's to hear: it ends the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

END = "\x00end"
"""A line that no command writes."""


class Session:
    """A process that does commands in ``root``, one after the other; started when it is first needed.

    Args:
        root: Folder that commands run in.
        environment: Of the process.
        end: Ends a process in good order.
    """

    def __init__(
        self, root: Path, environment: Mapping[str, str], end: Callable[[subprocess.Popen[bytes]], None]
    ) -> None:
        self.root, self.environment, self.end = root, environment, end
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            self.end(process)

    def run(self, args: Sequence[str], hear: Callable[[bytes], None]) -> tuple[int, str]:
        """Exit code and standard output of a command; ``hear`` gets the lines of its standard error."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):  # what it said as it died is still to be heard
            process.stdin.write(json.dumps(list(args)).encode() + b"\n")
            process.stdin.flush()
        for line in process.stderr:
            if line.rstrip(b"\n") == END.encode():
                break
            hear(line)
        reply = process.stdout.readline()
        if not reply:  # killed, or out of memory
            self._process = None
            return process.wait() or 1, ""
        told = json.loads(reply)
        return told["code"], told["out"]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid())],
            cwd=self.root,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal reaches the run alone
        )


def serve(parent: int) -> int:
    """Do the commands that process ``parent`` sends, until it closes our standard input; returns the exit code."""
    from colasearch.cli.main import Terminated, main
    from colasearch.cli.workers import keep_workers
    from colasearch.verifiers.worker import die_with_parent

    die_with_parent(parent)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the replies
    with keep_workers():
        try:
            for line in sys.stdin:
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    code = main(json.loads(line))
                sys.stderr.write(f"{END}\n")
                sys.stderr.flush()
                _reply(replies, {"code": code, "out": out.getvalue()})
        except (Terminated, KeyboardInterrupt):
            return 143
    return 0


def _reply(replies: Any, told: dict[str, Any]) -> None:
    replies.write(json.dumps(told) + "\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
