"""JSON over HTTP to servers that score texts: timeouts, retries with jitter, a limit on what is in flight."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from colasearch.errors import PrerequisiteError

BUSY = (408, 425, 429, 502, 503, 504)
"""Statuses of a server that is not there just now."""
WRONG = (401, 403, 404, 405, 501)
"""Statuses of a server that will not answer any such request."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
MOST_BYTES = 64 << 20
KEY_VARIABLE = "COLASEARCH_REWARD_KEY"
"""Environment variable with the bearer token that servers of rewards and judges get."""


class Refused(Exception):
    """The server answered, but does not score this request; the message says why."""


class Client:
    """Posts JSON to one server.

    Args:
        timeout_s: Of one try.
        tries: So often a request is sent to a server that is away or busy. Between tries it waits: at most 0.25 s, then
            twice as long each time up to 8 s, a random part of it, so that many clients do not come back together.
        concurrency: Most requests in flight.
    """

    def __init__(self, timeout_s: float = 60.0, tries: int = 5, concurrency: int = 8) -> None:
        self.timeout_s, self.tries, self.concurrency = timeout_s, max(1, tries), max(1, concurrency)

    def post_all(self, url: str, payloads: Sequence[Any]) -> list[Any]:
        """Answers to many requests, in order; in place of one that was refused stands its ``Refused``.

        Raises:
            PrerequisiteError: The server is down, or answers no request.
        """
        if len(payloads) == 1:
            return [self._answer(url, payloads[0])]
        pool = ThreadPoolExecutor(min(self.concurrency, max(1, len(payloads))), thread_name_prefix="reward")
        try:
            waiting = [pool.submit(self._answer, url, payload) for payload in payloads]
            return [future.result() for future in waiting]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, url: str, payload: Any) -> Any:
        try:
            return self.request(url, payload)
        except Refused as error:
            return error

    def request(self, url: str, payload: Any = None) -> Any:
        """The answer to one request: a POST of ``payload``, or a GET without.

        Raises:
            Refused: The server does not score this.
            PrerequisiteError: It is down, or answers no such request.
        """
        trouble = ""
        for attempt in range(self.tries):
            if attempt:
                most = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
                time.sleep(most * random.random())
            try:
                return self._once(url, payload)
            except urllib.error.HTTPError as error:
                said = _said(error)
                if error.code in WRONG:
                    raise PrerequisiteError(
                        f"{url} answers {error.code} ({said}); check the URL and its ?kind=, and the key in "
                        f"{KEY_VARIABLE}"
                    ) from None
                if error.code not in BUSY:
                    raise Refused(f"the server answers {error.code}: {said}") from None
                trouble = f"it answers {error.code}: {said}"
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                trouble = f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__
        raise PrerequisiteError(
            f"the server {url} is down ({trouble}; {self.tries} tries); start it and run the command again, what is "
            "finished is kept"
        )

    def _once(self, url: str, payload: Any) -> Any:
        body = None if payload is None else json.dumps(payload).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
            raw = answer.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise Refused(f"the answer is longer than {MOST_BYTES >> 20} MiB")
        try:
            return json.loads(raw)
        except ValueError:
            raise Refused(f"the answer is no JSON: {raw[:100]!r}") from None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(2000).decode(errors="replace").strip()[:200] or str(error.reason)
    except OSError:
        return str(error.reason)
