"""``colasearch serve`` as a process: what it prints, how it ends, its exit codes."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from colasearch.cli import serve
from colasearch.cli.main import main
from colasearch.cli.settings import ServeSettings
from colasearch.serve.running import allow_handles

ASKED = [{"role": "user", "content": "Make 941 from 3, 7, 8, 11, 12, 13."}]


@contextmanager
def started(*args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process, and its address."""
    command = [sys.executable, "-m", "colasearch", "serve", "--model", "countdown-tiny", "--port", "0", *args]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Serving "))
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


def health(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.replace("/v1", "/health"), timeout=60) as answer:
        return dict(json.load(answer))


def ask_beside(url: str, **more: Any) -> tuple[threading.Thread, list[Any]]:
    """A request in a thread of its own, once it is searched."""
    client, found = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300), []

    def ask() -> None:
        try:
            found.append(client.chat.completions.create(messages=ASKED, **more))
        except openai.OpenAIError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not health(url)["running"]:
        time.sleep(0.02)
    return thread, found


def test_at_sigterm_the_request_in_hand_is_answered_and_the_exit_code_is_143():
    with started("--sims", "8", "--max-tokens", "64") as (process, url):
        thread, found = ask_beside(url, model="countdown-tiny:majority-24")
        process.send_signal(signal.SIGTERM)
        thread.join(300)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 143
        assert "1 request in hand, 30 s to end" in told
        assert found[0].colasearch["sims"] == 24


def test_ctrl_c_waits_and_a_second_one_does_not():
    with started("--sims", "100000", "--max-sims", "100000", "--values", "rollouts") as (process, url):
        thread, found = ask_beside(url, model="countdown-tiny")
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        thread.join(60)
        assert isinstance(found[0], openai.OpenAIError)


def test_a_port_that_is_taken_and_an_extra_that_is_missing_are_told_before_anything_is_loaded(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 3
        assert "give another --port" in capsys.readouterr().err
    assert main(["serve", "--host", "203.0.113.7"]) == 3
    assert "give --host an address of this machine" in capsys.readouterr().err
    monkeypatch.setattr(serve, "NEEDED", ("json", "no_such_package"))
    assert main(["serve"]) == 3
    assert "needs no_such_package; install them: pip install '.[serve]'" in capsys.readouterr().err


def test_flags_make_the_settings_that_python_has(monkeypatch):
    made = []
    monkeypatch.setattr(serve, "run", made.append)
    monkeypatch.setenv("COLASEARCH_API_KEY", "secret")
    assert main(["serve", "--max-body", "5", "--values", "rollouts"]) == 0
    assert made == [ServeSettings(max_body=5, values=("rollouts",), api_key="secret")]
    assert "secret" not in repr(made[0])
    monkeypatch.delenv("COLASEARCH_API_KEY")
    assert main(["serve"]) == 0
    assert made[1] == ServeSettings()


def test_a_server_may_hold_more_connections_than_a_shell_grants():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        allow_handles()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("::1", False), ("localhost", False),
                                             ("0.0.0.0", True), ("my.host", True)])  # fmt: skip
def test_an_open_server_without_a_key_is_warned_of(host, warns):
    assert serve._is_local(host) is not warns
