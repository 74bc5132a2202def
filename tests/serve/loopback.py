"""Servers on loopback, in threads of the test's own process; the engine runs as it does for users."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from openai import OpenAI

from colasearch.engine.settings import SearchSettings
from colasearch.model.latent_lm import LatentLM
from colasearch.serve.app import App, Service
from colasearch.serve.engine import Engine
from colasearch.serve.names import Names
from colasearch.serve.running import Server, address_of, listen


@dataclass
class Served:
    """A server that runs."""

    app: App
    server: Server
    url: str
    port: int
    thread: threading.Thread

    def client(self, **options: Any) -> OpenAI:
        """The official client; nothing is sent twice."""
        return OpenAI(base_url=f"{self.url}/v1", **{"api_key": "none", "max_retries": 0, "timeout": 120, **options})

    def until(self, true: Callable[[], bool], seconds: float = 300.0) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < limit, "it never came to hold"
            time.sleep(0.01)

    def idle(self) -> bool:
        """Whether no request is left."""
        return not (self.app.requests or self.app.engine.running or self.app.engine.waiting)


@contextmanager
def serving(
    lm: LatentLM, search: SearchSettings, *, slots: int = 4, queue: int = 1000, drain: float = 30.0, **service: Any
) -> Iterator[Served]:
    """A server of a model."""
    names = Names(lm.name, search.searcher, search.sims, most_sims=1000)
    listening = listen("127.0.0.1", 0)
    told = Service(names, search, tick=0.02, **{"max_tokens": search.world.max_tokens, **service})
    app = App(Engine(lm, slots=slots, most_waiting=queue), told)
    app.engine.start()
    server = Server(app, drain, lambda text: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Served(app, server, address_of(listening), listening.getsockname()[1], thread)
    finally:
        server.should_exit = True
        server.drain = min(server.drain, 1.0)
        thread.join(60)
        app.engine.join(60)
        assert not thread.is_alive()
        assert not app.engine.alive
