"""The process: its socket, its signals, and its end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from colasearch.engine.verdict import plural
from colasearch.errors import ColasearchError, PrerequisiteError
from colasearch.serve.app import App

HEADER_SECONDS = 10.0
"""A connection that has not sent a request by then is closed."""
AFTER_DRAIN = 10
"""Seconds in which answers leave once their searches have ended."""
HANDLES = 65536
"""File handles that are enough: each connection is one."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait in it until the server runs. ``port`` 0 takes a free one.

    Raises:
        PrerequisiteError: The port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        advice = "give another --port, or 0 for a free one" if taken else "give --host an address of this machine"
        raise PrerequisiteError(f"cannot listen at {host}, port {port}: {why}; {advice}") from None


def address_of(listening: socket.socket) -> str:
    """The address of a socket, for a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_handles() -> None:
    """Let this process hold as many connections as the system grants it; shells give 1,024 file handles at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HANDLES if hard == resource.RLIM_INFINITY else min(hard, HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Connection(H11Protocol):
    """One connection, which may not stay silent."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._hurry = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hurry.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()


class Server(uvicorn.Server):
    """Serves until a signal comes; then what is in hand may end. A second Ctrl-C ends it at once.

    Args:
        app: The application, whose engine has been started.
        drain: Seconds that requests in hand have to end, once a signal has come.
        say: Told what happens.
    """

    def __init__(self, app: App, drain: float, say: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Connection,
                loop="asyncio",
                lifespan="off",
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(drain) + AFTER_DRAIN,
            )
        )
        self.app, self.drain, self.say = app, drain, say

    async def on_tick(self, counter: int) -> bool:
        """End where the engine has."""
        return await super().on_tick(counter) or not self.app.engine.alive

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those in hand end."""
        if self.app.requests:
            self.say(f"shutting down: {plural(self.app.requests, 'request')} in hand, {self.drain:g} s to end")
        self.app.engine.close(self.drain)
        await super().shutdown(sockets)


def run(app: App, listening: socket.socket, drain: float, say: Callable[[str], None]) -> None:
    """Serve on a socket until SIGINT or SIGTERM, whose own handlers are called in the end.

    Raises:
        ColasearchError: The engine ended by itself.
    """
    allow_handles()
    engine = app.engine
    engine.start()
    server = Server(app, drain, say)
    try:
        server.run(sockets=[listening])
    finally:
        died = not engine.alive and not server.should_exit
        engine.close()
        engine.join(AFTER_DRAIN)
        listening.close()
    if died:
        raise ColasearchError("the engine ended by an error, which is told above; start the server again")
