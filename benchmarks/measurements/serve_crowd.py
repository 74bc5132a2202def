"""A crowd at ``colasearch serve`` on loopback: many at once, some slow, some that leave; nothing may be lost or leak.

    python -m colasearch.benchmarks.measurements.serve_crowd --requests 1000 --slow 30 --leave 100 --rounds 3

Each round sends all requests at once. The slow ones send a byte a second of their header or body, or read a byte a
second of their answer; those that leave do so in their body, while they wait, or in their stream. All others must be
answered (200) or refused as docs/serve.md says (429, 408), and equal requests must get equal answers. After each round
the server's memory, threads and file handles are read; in the end it gets SIGTERM with requests in hand. Prints one
JSON object; the exit code is 1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROBLEMS = ("Make 24 from 3, 5, 9.", "Make 52 from 4, 7, 8.", "Make 10 from 2, 3, 4.", "Make 941 from 3, 7, 8, 11.")
MODEL = "countdown-tiny"
REFUSED = (408, 429)
LIMIT = 900.0
"""Seconds after which an answer counts as lost."""
LATE = 120.0
"""Seconds by which a slow sender must be turned away; the server's limit is 10, on a machine that is free."""


@dataclass
class Seen:
    """What one round's clients saw. ``longest``: seconds until the last slow sender was turned away."""

    statuses: Counter[str] = field(default_factory=Counter)
    slow: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    left: int = 0
    answers: dict[tuple[str, int, str], set[str]] = field(default_factory=dict)


def request(text: str, seed: int, sims: int, *, stream: bool = False) -> tuple[bytes, bytes]:
    """Header and body of one request."""
    asked = {"model": f"{MODEL}:gumbel-{sims}", "messages": [{"role": "user", "content": text}], "seed": seed}
    body = json.dumps({**asked, "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


@contextlib.asynccontextmanager
async def connected(port: int) -> Any:
    """A connection that is closed in the end, whatever happens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def sent(port: int, at: int, sims: int) -> socket.socket:
    """A connection with its request; every third one wants a stream."""
    head, body = request(PROBLEMS[at % len(PROBLEMS)], at % 2, sims, stream=at % 3 == 0)
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(head + body)
    connection.setblocking(False)
    return connection


async def hear(connection: socket.socket, at: int, seen: Seen) -> None:
    """The answer to what ``sent`` has sent."""
    text, seed, stream = PROBLEMS[at % len(PROBLEMS)], at % 2, at % 3 == 0
    try:
        async with asyncio.timeout(LIMIT):
            reader, writer = await asyncio.open_connection(sock=connection)
            told = await reader.read(-1)
            writer.close()
    except (OSError, TimeoutError) as error:
        seen.statuses[type(error).__name__] += 1
        return
    status = told[9:12].decode()
    if status == "200":
        content, result = _answer(told, stream)
        if result is None:
            status = "stream that ends in an error"
        elif result["stop"] not in ("max_seconds", "interrupted"):  # what was found by then depends on the clock
            seen.answers.setdefault((text, seed, "stream" if stream else "whole"), set()).add(content)
    seen.statuses[status] += 1


def _answer(told: bytes, stream: bool) -> tuple[str, dict[str, Any] | None]:
    """The text of an answer, and what colasearch says of it; of a stream without its end None."""
    _, _, rest = told.partition(b"\r\n\r\n")
    if not stream:
        whole = json.loads(rest)
        return str(whole["choices"][0]["message"]["content"]), whole["colasearch"]
    events = [json.loads(line[6:]) for line in rest.decode().splitlines() if line.startswith("data: {")]
    text = "".join(one["delta"].get("content") or "" for event in events for one in event.get("choices", ()))
    return text, next((event["colasearch"] for event in events if "colasearch" in event), None)


async def be_slow(port: int, at: int, sims: int, seen: Seen) -> None:
    """A byte a second: of the header, of the body, or of what is read."""
    kind = ("header", "body", "reading")[at % 3]
    head, body = request(PROBLEMS[0], 0, sims, stream=True)
    begun, ended = time.monotonic(), "held"
    try:
        async with asyncio.timeout(LIMIT), connected(port) as (reader, writer):
            writer.write(head + body if kind == "reading" else head[:0] if kind == "header" else head)
            slow = b"" if kind == "reading" else head if kind == "header" else body
            waiting = asyncio.ensure_future(reader.read(1))
            for byte in slow:
                writer.write(bytes([byte]))
                if (await asyncio.wait([waiting], timeout=1.0))[0]:
                    break
            told = await waiting
            for _ in range(20):
                part = await reader.read(1 if kind == "reading" else 4096)
                if not part:
                    break
                told += part
                if kind == "reading":
                    await asyncio.sleep(1.0)
            ended = told[9:12].decode() or "closed"
    except OSError:
        ended = "closed"
    except TimeoutError:
        pass
    seen.slow[f"{kind}: {ended}"] += 1
    if kind != "reading":
        seen.longest = max(seen.longest, round(time.monotonic() - begun, 1))


async def leave(port: int, at: int, sims: int, seen: Seen) -> None:
    """In the middle of the body, while waiting, or once the stream has begun."""
    head, body = request(PROBLEMS[at % len(PROBLEMS)], 0, sims, stream=at % 3 == 2)
    with contextlib.suppress(OSError):
        async with connected(port) as (reader, writer):
            writer.write(head + (body[:10] if at % 3 == 0 else body))
            await writer.drain()
            await asyncio.sleep(0.2 * (at % 5))
            if at % 3 == 2:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await reader.read(10)
    seen.left += 1


def crowd(port: int, given: argparse.Namespace) -> Seen:
    """One round."""
    seen = Seen()
    asked = [sent(port, at, given.sims) for at in range(given.requests)]

    async def all_of_them() -> None:
        await asyncio.gather(
            *(hear(connection, at, seen) for at, connection in enumerate(asked)),
            *(be_slow(port, at, given.sims, seen) for at in range(given.slow)),
            *(leave(port, at, given.sims, seen) for at in range(given.leave)),
        )

    asyncio.run(all_of_them())
    return seen


def get(port: int, path: str) -> str:
    """A page of the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def until_idle(port: int) -> None:
    """Wait until the server has nothing in hand."""
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        health = json.loads(get(port, "/health"))
        if not health["running"] and not health["waiting"]:
            time.sleep(2.0)  # connections end a moment after their answers
            return
        time.sleep(0.2)


def held(pid: int) -> dict[str, float]:
    """What a process holds."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_mib": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "handles": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


@contextlib.contextmanager
def server(given: argparse.Namespace, log: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server's process, and its port; what it says from then on goes to ``log``."""
    command = [sys.executable, "-m", "colasearch", "serve", "--model", MODEL, "--port", "0"]
    limits = ["--queue", str(given.queue), "--slots", str(given.slots), "--timeout", str(given.timeout)]
    more = ["--drain", "300", "--threads", "1"]
    process = subprocess.Popen([*command, *limits, *more], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Serving "))
        threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True).start()
        yield process, int(line.split()[-1].rsplit(":", 1)[1].split("/")[0])
    finally:
        process.kill()
        process.wait()


def drained(process: subprocess.Popen[str], port: int, given: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM with requests in hand: their statuses, the exit code."""
    seen = Seen()

    async def in_hand() -> int:
        health = json.loads(await asyncio.to_thread(get, port, "/health"))
        return int(health["running"] + health["waiting"])

    async def ask_and_end() -> None:
        count = 2 * given.slots
        asked = [asyncio.ensure_future(hear(sent(port, at, 16), at, seen)) for at in range(count)]
        while await in_hand() < count - sum(seen.statuses.values()):
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asked)

    asyncio.run(ask_and_end())
    return {"statuses": dict(seen.statuses), "answers_differ": _several(seen), "exit": process.wait(60)}


def _several(seen: Seen) -> int:
    """Requests that got several answers."""
    return sum(len(texts) > 1 for texts in seen.answers.values())


def faults(rounds: list[dict[str, Any]], end: dict[str, Any], given: argparse.Namespace) -> list[str]:
    """What is not as it should be."""
    found = []
    for number, one in enumerate(rounds, 1):
        allowed = {"200", *map(str, REFUSED)}
        if set(one["statuses"]) - allowed or sum(one["statuses"].values()) != given.requests:
            found.append(f"round {number}: statuses {one['statuses']}")
        if one["answers_differ"]:
            found.append(f"round {number}: {one['answers_differ']} requests had several answers")
        if any("held" in kind for kind in one["slow"]) or one["slow_turned_away_after"] > LATE:
            found.append(f"round {number}: slow clients {one['slow']}")
    if len(rounds) > 1:
        before, after = rounds[-2]["held"], rounds[-1]["held"]
        if after["handles"] > before["handles"] or after["threads"] > before["threads"]:
            found.append(f"handles or threads grew from {before} to {after}")
        if after["rss_mib"] > before["rss_mib"] + given.leak:
            found.append(f"memory grew from {before} to {after}")
    if end["exit"] != 143 or set(end["statuses"]) - {"200", "429"}:
        found.append(f"at SIGTERM: {end}")
    return found


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="sent at once in each round")
    parser.add_argument("--slow", type=int, default=30, help="slow clients beside them")
    parser.add_argument("--leave", type=int, default=100, help="clients that leave beside them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sims", type=int, default=2)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--queue", type=int, default=300)
    parser.add_argument("--timeout", type=float, default=300.0, help="the server's limit for a request, in seconds")
    parser.add_argument("--leak", type=float, default=4.0, help="MiB by which the last round may add to memory")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server must not stay behind
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log: list[str] = []
    with server(given, log) as (process, port):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        rounds = []
        for _ in range(given.rounds):
            begun = time.monotonic()
            seen = crowd(port, given)
            seconds = time.monotonic() - begun
            until_idle(port)
            rounds.append(
                {
                    "statuses": dict(seen.statuses),
                    "slow": dict(seen.slow),
                    "slow_turned_away_after": seen.longest,
                    "left": seen.left,
                    "answers_differ": _several(seen),
                    "seconds": round(seconds, 1),
                    "held": held(process.pid),
                }
            )
        end = drained(process, port, given)
    wrong = faults(rounds, end, given)
    wrong += [
        f"the server said: {line.rstrip()}"
        for line in log[:20]
        if not line.startswith(("shutting down", "Error: terminated"))
    ]
    print(json.dumps({"soft_limit_of_handles": soft, "rounds": rounds, "sigterm": end, "faults": wrong}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
