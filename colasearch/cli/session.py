"""A process that does several commands, for a run of stages; ``experiments.running.session`` starts it and says how."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from colasearch.cli.main import Terminated, main, prepare
from colasearch.experiments.running.session import APART, END, TOGETHER
from colasearch.verifiers.worker import die_with_parent


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
    from colasearch.model.quiet import quiet_transformers

    with quiet_transformers():
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

        del AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
    for name in (
        *("benchmarks.harness.runner", "cli.bench_run", "engine.scheduler", "report.write"),
        *("training.base.from_scratch", "training.running.loop", "training.reinforcement.rl"),
    ):
        importlib.import_module(f"colasearch.{name}")
    with contextlib.suppress(ImportError):  # charts are an extra; they take two seconds
        for name in ("backends.backend_agg", "backends.backend_svg", "figure"):
            importlib.import_module(f"matplotlib.{name}")


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


def _reply(replies: Any, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), sys.argv[2]))
