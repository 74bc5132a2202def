"""Work for a while, and see whether memory or file handles grow: requests to ``colasearch serve`` and solves in turn.

    python -m colasearch.benchmarks.measurements.soak --minutes 25

A server and this process, both with the model, each take one problem after the other: drawn numbers, targets and
searchers, every seventh text without a problem in it, every fifth request a stream that is left in its midst. Each
minute a line says what both hold. In the end a JSON object has the slope of the memory of each, in MiB an hour with
its 95 % interval (least squares over the minutes after ``--warm``, on which caches fill; the interval takes the
minutes for independent, which memory is not quite), and the most file handles and threads in each half.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import statistics
import sys
import time
from typing import Any

from colasearch import load, solve
from colasearch.benchmarks.harness.intervals import Z95
from colasearch.benchmarks.measurements.serve_crowd import MODEL, held, server
from colasearch.errors import InputError

SEARCHERS = ("gumbel", "puct", "best_of_n", "beam", "greedy")


def drawn(rng: random.Random) -> tuple[str, str, int]:
    """A problem's text, a searcher, and a seed."""
    numbers = ", ".join(str(rng.randint(1, 25)) for _ in range(3))
    text = f"Make {rng.randint(10, 99)} from {numbers}." if rng.randrange(7) else "x" * rng.randint(1, 400)
    return text, rng.choice(SEARCHERS), rng.randrange(1 << 20)


def ask(port: int, rng: random.Random, sims: int) -> None:
    """One request; every fifth is a stream whose client leaves."""
    text, searcher, seed = drawn(rng)
    leaves = not rng.randrange(5)
    message = {"model": f"{MODEL}:{searcher.replace('_', '-')}-{sims}", "seed": seed, "stream": leaves,
               "messages": [{"role": "user", "content": text}]}  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(message), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read(1 if leaves else None)


def slope(minutes: list[float], values: list[float]) -> dict[str, float]:
    """Growth in an hour by least squares, and half the width of its 95 % interval."""
    rise, start = statistics.linear_regression(minutes, values)
    rest = [y - start - rise * x for x, y in zip(minutes, values, strict=True)]
    middle = statistics.fmean(minutes)
    spread = sum((x - middle) ** 2 for x in minutes)
    error = (sum(r * r for r in rest) / (len(rest) - 2) / spread) ** 0.5
    return {"mib_an_hour": round(60 * rise, 2), "plus_minus": round(60 * Z95 * error, 2)}


def result(rows: list[dict[str, Any]], warm: float) -> dict[str, Any]:
    """What the minutes say together."""
    late = [row for row in rows if row["minute"] > warm]
    out: dict[str, Any] = {key: rows[-1][key] for key in ("minute", "requests", "solves")}
    for who in ("server", "self"):
        out[who] = {"rss": slope([row["minute"] for row in late], [row[who]["rss_mib"] for row in late])}
        for what in ("handles", "threads"):
            counts = [row[who][what] for row in late]
            out[who][what] = [max(counts[: len(counts) // 2]), max(counts[len(counts) // 2 :])]
    return out


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--warm", type=float, default=5.0, help="minutes that are not counted")
    parser.add_argument("--sims", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.queue, given.slots, given.timeout = 64, 16, 300.0
    if given.minutes < given.warm + 4:
        sys.exit(f"--minutes is {given.minutes:g}; at least four must come after the {given.warm:g} of --warm")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server must not stay behind
    rng, model = random.Random(given.seed), load(MODEL)
    rows: list[dict[str, Any]] = []
    requests = solves = 0
    with server(given, []) as (process, port):
        begun = time.monotonic()
        while len(rows) < given.minutes:
            while time.monotonic() - begun < 60 * (len(rows) + 1):
                ask(port, rng, given.sims)
                text, searcher, seed = drawn(rng)
                with contextlib.suppress(InputError):
                    solve(text, model, searcher=searcher, sims=given.sims, seed=seed)
                requests, solves = requests + 1, solves + 1
            minute = round((time.monotonic() - begun) / 60, 2)
            row = {"minute": minute, "requests": requests, "solves": solves, "server": held(process.pid)}
            rows.append({**row, "self": held(os.getpid())})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(result(rows, given.warm)))


if __name__ == "__main__":
    main()
