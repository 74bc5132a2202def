"""A real HTTP server in a thread that scores texts in the formats of OpenRLHF, vLLM and OpenAI."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def length(text: str) -> float:
    return len(text) / 100


@dataclass
class Served:
    """What the server was asked, and how it is to behave.

    ``failing`` requests get ``status`` first; a text with ``poison`` in its request is refused with 400.
    ``chat`` makes the reply to a question; without it that is ``reply``.
    """

    url: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    failing: int = 0
    status: int = 503
    poison: str = "poison"
    reply: str = "I see.\nRating: 7"
    chat: Callable[[str], str] | None = None


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "tiny"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        served = self.served
        served.asked.append((self.path, body))
        if served.failing:
            served.failing -= 1
            self._send(served.status, {"error": "busy"})
        elif served.poison in json.dumps(body):
            self._send(400, {"error": "too long"})
        else:
            self._send(200, self._answer(self.path.partition("?")[0], body))

    def _answer(self, path: str, body: Any) -> Any:
        if path.endswith("/chat/completions"):
            chat = self.served.chat
            reply = chat(body["messages"][0]["content"]) if chat else self.served.reply
            return {"choices": [{"message": {"role": "assistant", "content": reply}}]}
        if path == "/pooling":
            rows = [[[0.5, 0.5], [1 - length(text), length(text)]] for text in body["input"]]
            return {"data": [{"index": i, "data": row} for i, row in reversed(list(enumerate(rows)))]}
        if path == "/score":
            pairs = zip(body["text_1"], body["text_2"], strict=True)
            return {"data": [{"index": i, "score": length(a) - length(b)} for i, (a, b) in enumerate(pairs)]}
        return {"rewards": [length(text) for text in body["query"]]}

    def _send(self, status: int, answer: Any) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def reward_server() -> Iterator[Served]:
    served = Served()
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
