"""Servers of one kind: started when they are wanted, lent, looked at before they are lent again, replaced when lost."""

from __future__ import annotations

import atexit

from colasearch.environments.base import EnvironmentFault
from colasearch.environments.servers.server import Server, ServerLost
from colasearch.errors import PrerequisiteError

CHECK_SECONDS = 10.0
"""In which an idle server must answer, or it is replaced."""
STARTS = 3
"""Times that a server is started in vain before that is an error."""


class Pool:
    """At most ``size`` servers.

    Attributes:
        size: Servers that may be lent at a time.
        lost: Servers that were replaced so far.
        started: Servers that were started so far.
    """

    def __init__(self, spec: str, size: int, timeout: float) -> None:
        self.spec, self.size, self.timeout = spec, size, timeout
        self.lost = self.started = 0
        self._idle: list[Server] = []
        self._lent: list[Server] = []
        atexit.register(self.close)

    @property
    def servers(self) -> list[Server]:
        """All that run."""
        return [*self._lent, *self._idle]

    def lend(self) -> Server:
        """A server that answers.

        Raises:
            EnvironmentFault: All are lent.
            PrerequisiteError: None can be started.
        """
        while self._idle:
            server = self._idle.pop()
            if self._healthy(server):
                self._lent.append(server)
                return server
            self.lost += 1
        if len(self._lent) >= self.size:
            raise EnvironmentFault(f"all {self.size} servers are in use; raise --servers, or play fewer at a time")
        server = self._start()
        self._lent.append(server)
        return server

    def give_back(self, server: Server) -> None:
        """Take a lent server back, for another episode."""
        if server in self._lent:
            self._lent.remove(server)
            if server.alive:
                self._idle.append(server)

    def gone(self, server: Server) -> None:
        """A lent server was lost."""
        if server in self._lent:
            self._lent.remove(server)
            self.lost += 1
        server.kill()

    def close(self) -> None:
        """End all servers."""
        servers, self._lent, self._idle = self.servers, [], []
        for server in servers:
            server.kill()

    def _healthy(self, server: Server) -> bool:
        try:
            if server.ask("healthy", timeout=CHECK_SECONDS):
                return True
        except (ServerLost, EnvironmentFault):
            pass
        server.kill()
        return False

    def _start(self) -> Server:
        why = ""
        for _ in range(STARTS):
            try:
                server = Server(self.spec, self.timeout)
            except ServerLost as error:
                why = str(error)
                continue
            except EnvironmentFault as error:
                why = str(error)
                break  # it would raise again
            self.started += 1
            return server
        raise PrerequisiteError(f"the server of {self.spec} does not start: {why}")
