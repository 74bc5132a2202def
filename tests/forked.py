"""The command line in processes of their own that need not import torch and transformers again (seconds each).

``ForkedCommands`` is the tests' side. The other side is this file as a program: it has imported everything and computed
nothing, and forks for each command. A command has its own environment, current folder and standard streams, and ends as
any Python process does, exit handlers and all. What it cannot show is what a command imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ForkedCommands:
    """Runs ``colasearch`` commands, one at a time; use as a context manager, within which the forking process lives."""

    def __enter__(self) -> ForkedCommands:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
        )
        self._asked = 0
        return self

    def __exit__(self, *error: object) -> None:
        self._server.kill()
        self._server.communicate()

    def __call__(
        self, *args: object, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and wait for it; ``env`` is added to the environment as it is now."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._asked += 1
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder) / name for name in ("in", "out", "err")]
            streams[0].write_bytes(stdin)
            request = {
                "number": self._asked, "args": list(map(str, args)), "streams": list(map(str, streams)),
                "env": {**os.environ, **(env or {})}, "cwd": os.getcwd(),
            }  # fmt: skip
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            reply: dict[str, Any] = {"number": 0}
            while reply["number"] != self._asked:  # those of commands that a test gave up are passed over
                line = self._server.stdout.readline()
                assert line, "the forking process has ended"
                reply = json.loads(line)
            out, err = (stream.read_bytes().decode() for stream in streams[1:])
        return subprocess.CompletedProcess(request["args"], reply["code"], out, err)


def serve() -> None:
    """Do what is asked on standard input until it ends."""
    from colasearch.cli.main import prepare
    from colasearch.cli.session import import_all

    prepare()
    import_all()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"number": request["number"], "code": os.waitstatus_to_exitcode(status)}), flush=True)


def _become(request: Mapping[str, Any]) -> None:
    """Do a command in this process, a child, and end it."""
    from colasearch.cli.main import main
    from colasearch.verifiers.worker import die_with_parent

    die_with_parent(os.getppid())
    for number, path in enumerate(request["streams"]):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the old one may have read ahead
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["colasearch", *request["args"]]
    sys.exit(main())


if __name__ == "__main__":
    serve()
