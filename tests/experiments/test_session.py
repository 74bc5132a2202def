"""One process for several commands."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from colasearch.experiments.running.session import APART, Session
from colasearch.experiments.running.stages import end, environment


@pytest.fixture
def session(tmp_path):
    with Session(tmp_path, environment(), end) as one:
        yield one


@pytest.fixture
def apart(tmp_path):
    with Session(tmp_path, environment(), end, APART) as one:
        yield one


@pytest.mark.parametrize("kind", ["session", "apart"])
def test_commands_have_exit_codes_outputs_and_messages_of_their_own(kind, request, tmp_path):
    session = request.getfixturevalue(kind)
    lines: list[bytes] = []
    count = ("train", "problems", "--kind", "countdown", "--count", "3", "--output", "rows.jsonl")
    code, _ = session.run(count, lines.append)
    assert code == 0
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 3
    first = len(lines)
    code, out = session.run(("train", "problems", "--count", "0", "--output", "rows.jsonl"), lines.append)
    assert (code, out) == (2, "")
    assert b"--count" in b"".join(lines[first:])
    code, out = session.run(("--version",), lines.append)
    assert code == 0
    assert out.startswith("colasearch")


def test_a_process_that_dies_is_told_by_its_code_and_the_next_command_has_another(session):
    killer = threading.Timer(0.5, os.kill, (session.start().pid, signal.SIGKILL))
    killer.start()
    # Minutes of work: it is killed in it, or before it has begun.
    endless = ("train", "problems", "--kind", "countdown", "--count", "10000000", "--output", "x.jsonl")
    code, out = session.run(endless, lambda line: None)
    killer.join()
    assert (code, out) == (-signal.SIGKILL, "")
    assert session.run(("--version",), lambda line: None)[0] == 0


def children(pid: int) -> list[int]:
    """Of any of its threads."""
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


BASE = (
    *("train", "base", "--data", "rows.jsonl", "--width", "16", "--layers", "1", "--heads", "2", "--threads", "1"),
    *("--epochs", "999", "--batch-tokens", "512", "--output", "base"),
)


def test_a_command_that_dies_apart_leaves_the_process_and_what_it_said(apart):
    """In the midst of a line, too; and the next one computes, with threads of its own."""
    made = ("train", "problems", "--kind", "countdown", "--count", "40", "--output", "rows.jsonl")
    assert apart.run(made, lambda line: None)[0] == 0
    pid = apart._process.pid
    said: list[bytes] = []

    def kill(line: bytes) -> None:
        said.append(line)
        if b"base: " in line:
            for child in children(pid):
                os.kill(child, signal.SIGKILL)

    assert apart.run(BASE, kill) == (-signal.SIGKILL, "")
    assert any(line.startswith(b"base: ") for line in said)
    assert not any(b"\x00" in line for line in said)
    code, out = apart.run([*BASE[:-4], "--epochs", "1", "--threads", "2", "--output", "again"], lambda line: None)
    assert (code, json.loads(out)["kind"]) == (0, "base")
    assert apart._process.pid == pid
    assert children(pid) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_does_not_outlive_the_process_that_it_was_forked_from(tmp_path, number):
    seen: list[int] = []
    with Session(tmp_path, environment(), end, APART) as apart:
        made = ("train", "problems", "--kind", "countdown", "--count", "40", "--output", "rows.jsonl")
        apart.run(made, lambda line: None)

        def stop(line: bytes) -> None:
            if b"base: " in line and not seen:
                seen.extend(children(apart._process.pid))
                apart._process.send_signal(number)

        code, _ = apart.run(BASE, stop)
        assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    (child,) = seen
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_the_process_ends_with_the_run(tmp_path):
    with Session(tmp_path, environment(), end) as session:
        session.run(("--version",), lambda line: None)
        process = session._process
    assert process.poll() == 143
