"""An environment in a server. A server that dies or hangs is replaced, and the episode so far is played again in it."""

from __future__ import annotations

from typing import Any

from colasearch.environments.base import EnvironmentFault, Kind
from colasearch.environments.checked import apart
from colasearch.environments.servers.pool import Pool
from colasearch.environments.servers.server import Server, ServerLost

TRIES = 5
"""Servers that one call may lose before the episode is given up."""


class Served:
    """One episode at a time, in a server of a pool.

    Attributes:
        pool: Where servers come from.
        replays: Times that the episode was played again in another server.
        tasks, instruction, max_steps: As the environment in the server has them.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.replays = 0
        self._server: Server | None = None
        self._begun: tuple[str, int] | None = None
        self._first = ""
        self._done: list[tuple[str, Any]] = []
        said = self._call("describe")
        for name in ("tasks", "instruction", "max_steps"):
            if name in said:
                setattr(self, name, said[name])
        for name in said["methods"]:
            setattr(self, name, self._method(name))

    def reset(self, task: str, variation: int) -> str:
        """Begin an episode."""
        self._begun, self._done = None, []  # nothing of an earlier episode is to be played again
        self._first = self._call("reset", task, variation)
        self._begun = (task, variation)
        return self._first

    def step(self, text: str) -> Any:
        """Act."""
        found = self._call("step", text)
        self._done.append((text, found))
        return found

    def close(self) -> None:
        """Give the server back."""
        if self._server is not None:
            self.pool.give_back(self._server)
        self._server = None

    def _method(self, name: str) -> Any:
        return lambda *given: self._call(name, *given)

    def _call(self, name: str, *given: Any) -> Any:
        why = ""
        for _ in range(TRIES):
            try:
                return self._ready().ask(name, *given)
            except ServerLost as error:
                why = str(error)
                self._lose()
        raise EnvironmentFault(f"{name} lost {TRIES} servers, one after the other; of the last one {why}")

    def _ready(self) -> Server:
        """A server in the state of the episode.

        Raises:
            ServerLost: It was lost on the way there.
        """
        if self._server is not None:
            return self._server
        self._server = server = self.pool.lend()
        if self._begun is not None:
            self.replays += 1
            self._same(server.ask("reset", *self._begun), self._first)
            for text, found in self._done:
                self._same(server.ask("step", text), found)
        return server

    def _same(self, now: Any, before: Any) -> None:
        if now != before:
            raise EnvironmentFault(f"played again in another server, the episode came to {apart(now, before)}")

    def _lose(self) -> None:
        if self._server is not None:
            self.pool.gone(self._server)
        self._server = None


def served_kind(name: str, spec: str, servers: int, timeout: float, file: str | None = None) -> Kind:
    """A kind of environment whose episodes are played in up to ``servers`` processes.

    Args:
        name: Of the kind.
        spec: What each process makes: ``MODULE:CLASS`` of ours, or a user's ``FILE.py:CLASS``.
        servers: Processes, and so episodes, at a time.
        timeout: Seconds in which a call must be answered.
        file: The user's file.
    """
    pool = Pool(spec, servers, timeout)
    return Kind(name, lambda: Served(pool), file=file, slots=servers, close=pool.close)
