"""One process for several stages of a run, which keeps what is slow to start: imports, or the Ray workers of searches.

``Session`` is the run's side. The other side, ``python -m colasearch.experiments.running.session PARENT HOW``, reads
one line of JSON on standard input for each command (a list of arguments), does it as ``colasearch ARGUMENTS...`` would,
one line of JSON on standard input for each command (a list of arguments), does it as ``colasearch ARGUMENTS...``
command's messages. Ctrl-C and SIGTERM are the run's to hear: it ends the process. Nothing outlives the run, not even
one that was killed by SIGKILL: a stage that went on writing would meet its own ``--resume``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from colasearch.cli.main import Terminated, main, prepare
from colasearch.verifiers.worker import die_with_parent

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
        told = json.loads(reply)
        return told["code"], told["out"]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, str(os.getpid()), self.how],
            cwd=self.root,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal reaches the run alone
        )


def serve(parent: int, how: str) -> int:
    """Do the commands that process ``parent`` sends, until it closes our standard input; returns the exit code."""
    from colasearch.cli.workers import keep_workers

    die_with_parent(parent)
    prepare()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the replies
    if how == APART:
        import_all()
    with keep_workers() if how == TOGETHER else contextlib.nullcontext():
        try:
            for line in sys.stdin:
                code, out = (_here if how == TOGETHER else _in_a_fork)(json.loads(line))
                sys.stderr.write(f"{END}\n")
                sys.stderr.flush()
                _reply(replies, {"code": code, "out": out})
        except (Terminated, KeyboardInterrupt):
            return 143
    return 0


def import_all() -> None:
    """Import what most commands need. No tensor may be computed with: threads do not survive a fork."""
    from colasearch.model.base import quiet_transformers

    with quiet_transformers():
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

        del AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
    for name in ("benchmarks.harness.runner", "engine.scheduler", "training.base_lm", "training.loop", "training.rl"):
        importlib.import_module(f"colasearch.{name}")


def _here(args: Sequence[str]) -> tuple[int, str]:
    """Exit code and standard output of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(args)
    return code, out.getvalue()


def _in_a_fork(args: Sequence[str]) -> tuple[int, str]:
    """The same, done by a child: below 0 is the signal that ended it."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        child = multiprocessing.get_context("fork").Process(target=_as_child, args=(os.getpid(), args, out.fileno()))
        child.start()
        try:
            child.join()
        except BaseException:  # the run ends: so does the command, in its own good order
            child.terminate()
            child.join()
            raise
        assert child.exitcode is not None
        out.seek(0)
        return child.exitcode, out.read()


def _as_child(parent: int, args: Sequence[str], out: int) -> None:
    die_with_parent(parent)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the commands that follow are not its to read
    os.dup2(out, 1)
    sys.exit(main(args))


def _reply(replies: Any, told: dict[str, Any]) -> None:
    replies.write(json.dumps(told) + "\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), sys.argv[2]))
