"""What tests rely on where a command is forked rather than started: all but its imports is a new process's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from zygote import Zygote

COMMAND = [sys.executable, "-m", "colasearch"]


def test_which_processes_are_forked():
    plain = {"executable": None, "shell": False, "preexec_fn": None, "pass_fds": ()}
    for args in (COMMAND, [sys.executable, "-m", "test_stages_run", "folder"]):
        assert Zygote().can({**plain, "args": args})
    for other in (
        {"args": [sys.executable, "-c", "pass"]},
        {"args": ["/bin/true", "-m", "colasearch"]},
        {"args": COMMAND, "preexec_fn": os.getpid},
        {"args": COMMAND, "pass_fds": (3,)},
        {"args": "true", "shell": True},
    ):
        assert not Zygote().can({**plain, **other})


def test_streams_folder_environment_and_exit_code_are_its_own(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "gold": "1/2", "pred": "0.5"}\n')
    done = subprocess.run([*COMMAND, "verify", "rows.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count('"verdict": true')) == (0, 1)
    assert "1 rows" in done.stderr
    done = subprocess.run(
        [*COMMAND, "verify", "-"], input='{"gold": "1", "pred": "2"}\n', stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert '"verdict": false' in done.stdout
    assert "1 rows" in done.stdout
    done = subprocess.run([*COMMAND, "solve", "/no/such/file"], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("does not exist")) == (2, 1)


def test_it_is_a_child_that_hears_signals_and_a_session_when_asked():
    with subprocess.Popen(
        [*COMMAND, "verify", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        while f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{process.pid}/status").read_text():
            time.sleep(0.005)
        while os.getsid(process.pid) != process.pid:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
