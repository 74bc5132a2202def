"""What a process reward model (PRM) costs a token of search.

python benchmarks/measurements/prm_cost.py --prm FOLDER --problems 32 --sims 64 --repeats 3

The same problems are searched with the value head, with a PRM that keeps what it has read, and with one that does not:
in turns, in one process. ``examples/train_prm.py`` makes such a folder. Printed is one JSON object: by arm the seconds
a generated token, the least of the repeats, and their ratio to the head's.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from colasearch import WorldConfig, load, solve_all
from colasearch.problem import Problem
from colasearch.training.generated.countdown import countdown_rows


def searched(lm: Any, problems: list[Problem], values: tuple[str, ...], sims: int) -> tuple[float, int]:
    """Seconds and generated tokens of a search of ``problems`` with these values."""
    world = WorldConfig(values=values, max_tokens=128)
    begun = time.perf_counter()
    tokens = sum(
        one.generated_tokens
        for one in solve_all(problems, lm, searcher="puct", sims=sims, config=world, at_a_time=len(problems))
    )
    return time.perf_counter() - begun, tokens


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="countdown-tiny")
    parser.add_argument("--prm", required=True, help="folder of a process reward model")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--sims", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lm = load(given.model, device="cpu")
    rows = countdown_rows(given.problems, 11)
    problems = [
        Problem.from_text(row["problem"], "countdown", {key: row[key] for key in ("numbers", "target")}) for row in rows
    ]
    arms = {"head": (), "prm": (f"prm:{given.prm}",), "prm, keeps nothing": (f"prm:{given.prm}?memory=0",)}
    searched(lm, problems[:2], (), 4)
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in arms}
    for _ in range(given.repeats):
        for name, values in arms.items():
            found[name].append(searched(lm, problems, values, given.sims))
    cost = {name: min(seconds / tokens for seconds, tokens in runs) for name, runs in found.items()}
    report = {
        name: {
            "seconds_a_token": round(cost[name], 6),
            "ratio": round(cost[name] / cost["head"], 3),
            "tokens": runs[0][1],
        }
        for name, runs in found.items()
    }
    print(json.dumps({"problems": given.problems, "sims": given.sims, "arms": report}, indent=1))


if __name__ == "__main__":
    main()
