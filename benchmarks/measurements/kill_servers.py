"""Kill servers of an environment while episodes are played in them: nothing may be lost, and scores stay equal.

    python -m colasearch.benchmarks.measurements.kill_servers --environment scienceworld --episodes 50 --kills 20

The episodes' gold actions are played once undisturbed and once while servers are killed (SIGKILL) between two actions,
in turn the server's own process and a program that it has started (ScienceWorld's Java). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colasearch.environments import Catalogue, Start, catalogue_of, find
from colasearch.environments.servers.server import Server


def targets(server: Server) -> list[int]:
    """The server's process, and the programs that it has started; its guardian, a fork of it, is none."""

    def told(pid: int) -> bytes:
        return Path(f"/proc/{pid}/cmdline").read_bytes()

    pid = server.process.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(child for child in children if told(child) != told(pid))]


def play(
    catalogue: Catalogue, start: Start, gold: list[str], kills: set[int], count: list[int]
) -> tuple[list[Any], int]:
    """What each action of an episode led to, and how often it was played again; before some actions a kill."""
    environment = catalogue.make()
    environment.reset(start)
    seen: list[Any] = []
    for number, action in enumerate(gold):
        if number in kills:
            pids = targets(environment.inner.pool.servers[0])
            os.kill(pids[count[0] % len(pids)], signal.SIGKILL)
            count[0] += 1
        outcome = environment.step(action)
        seen.append((outcome.observation, outcome.reward, outcome.done))
    environment.close()
    return seen, environment.inner.replays


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run as the arguments say; the result is printed, too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="scienceworld")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=int, default=12, help="Longest gold path.")
    parser.add_argument("--timeout", type=float, default=60.0)
    given = parser.parse_args(arguments)
    kind, task = find(given.environment, servers=1, timeout=given.timeout)
    catalogue = catalogue_of(kind)
    chosen: list[tuple[Start, list[str]]] = []
    starts = catalogue.starts(task, "dev")  # which needs the one server for itself
    environment = catalogue.make()
    for start in starts:
        environment.reset(start)
        gold = list(environment.gold() or ())
        if 0 < len(gold) <= given.longest:
            chosen.append((start, gold))
        if len(chosen) == given.episodes:
            break
    environment.close()
    rng = random.Random(0)
    places = [(number, step) for number, (_, gold) in enumerate(chosen) for step in range(len(gold))]
    kills = set(rng.sample(places, given.kills))
    begun, count = time.monotonic(), [0]
    clean = [play(catalogue, start, gold, set(), count)[0] for start, gold in chosen]
    quiet = time.monotonic() - begun
    begun = time.monotonic()
    runs = [
        play(catalogue, start, gold, {step for n, step in kills if n == number}, count)
        for number, (start, gold) in enumerate(chosen)
    ]
    disturbed = time.monotonic() - begun
    result = {
        "environment": given.environment,
        "episodes": len(chosen),
        "actions": len(places),
        "kills": count[0],
        "replays": sum(replays for _, replays in runs),
        "lost": sum(len(seen) < len(gold) for (seen, _), (_, gold) in zip(runs, chosen, strict=True)),
        "different": sum(seen != other for (seen, _), other in zip(runs, clean, strict=True)),
        "solved": sum(abs(sum(reward for _, reward, _ in seen) - 1) < 1e-6 for seen, _ in runs),
        "seconds": round(quiet, 1),
        "seconds_with_kills": round(disturbed, 1),
    }
    kind.close()
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
