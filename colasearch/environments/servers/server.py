"""One server: a process with an environment in it, asked with a deadline, and killed with all that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from colasearch.environments.base import EnvironmentFault

START_SECONDS = 120.0
"""In which a server must be ready."""


class ServerLost(Exception):
    """The server died, or did not answer in time; it is gone."""


class Server:
    """A process with an environment.

    Attributes:
        process: The process, first of a group of its own.
    """

    def __init__(self, spec: str, timeout: float) -> None:
        self.spec, self.timeout = spec, timeout
        self._rest = b""
        command = [sys.executable, "-m", "colasearch.environments.servers.child", spec, str(os.getpid())]
        # A session of its own: Ctrl-C is the parent's to deal with, and what the environment has started dies with it.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        try:
            self._read(START_SECONDS)
        except BaseException:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def ask(self, call: str, *given: Any, timeout: float | None = None) -> Any:
        """Call a method of the environment.

        Raises:
            ServerLost: The server died, or did not answer in time. It has been killed.
            EnvironmentFault: The environment raised.
        """
        line = json.dumps({"call": call, "given": given}).encode() + b"\n"
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(line)
            self.process.stdin.flush()
            return self._read(self.timeout if timeout is None else timeout)
        except OSError as error:
            self.kill()
            raise ServerLost(f"its process is gone ({error.strerror})") from None
        except EnvironmentFault:
            raise
        except BaseException:
            self.kill()  # an answer that comes later would be taken for that of another question
            raise

    def _read(self, seconds: float) -> Any:
        assert self.process.stdout is not None
        deadline, handle = time.monotonic() + seconds, self.process.stdout.fileno()
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise ServerLost(f"it did not answer within {seconds:g} seconds")
            part = os.read(handle, 1 << 16)
            if not part:
                raise ServerLost("its process ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        said = json.loads(line)
        if "error" in said:
            raise EnvironmentFault(f"raised {said['kind']}: {said['error']}")
        return said["value"]

    def kill(self) -> None:
        """End the process and all of its group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
