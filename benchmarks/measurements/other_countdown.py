"""Countdown problems by another road than training's: every target that the numbers reach, one of them drawn.

What a model was trained on and what it is measured on come from one generator otherwise (``training/generated``), which
draws an expression and takes what it gives. Here the numbers are drawn, all that they can make together is worked out
(each exactly once, through positive whole numbers of any size), and the target is drawn from the results in range, all
equally likely. So a target that one expression alone reaches is as frequent as one that a hundred reach::

    python -m colasearch.benchmarks.measurements.other_countdown --count 500 --seed 1 --output other.jsonl
    colasearch bench countdown --data other.jsonl --searcher puct --sims 64

It shares no code with the generator of training but what says which numbers and targets that generator leaves out:
``--held-out`` keeps to those.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from colasearch.training.generated.countdown import split_of


def results(numbers: tuple[int, ...], known: dict[tuple[int, ...], frozenset[int]] | None = None) -> frozenset[int]:
    """All positive whole numbers that ``numbers`` (sorted) make together, each used once."""
    known = {} if known is None else known
    if len(numbers) == 1:
        return frozenset(numbers)
    if numbers in known:
        return known[numbers]
    found: set[int] = set()
    places = range(len(numbers))
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in combinations(places, size):
            left = results(tuple(numbers[i] for i in chosen), known)
            right = results(tuple(numbers[i] for i in places if i not in chosen), known)
            for a in left:
                for b in right:
                    high, low = (a, b) if a > b else (b, a)
                    found |= {a + b, a * b}
                    if high != low:
                        found.add(high - low)
                    if not high % low:
                        found.add(high // low)
    known[numbers] = frozenset(found)
    return known[numbers]


def problems(
    count: int, seed: int, sizes: tuple[int, ...] = (3, 4), largest: int = 99, held_out: bool = False
) -> Iterator[dict[str, Any]]:
    """``count`` different rows with ``problem``, ``numbers``, ``target`` and ``"use": "all"``; targets are 10 to 99."""
    rng = random.Random(seed)
    seen: set[tuple[int, ...]] = set()
    while len(seen) < count:
        numbers = [rng.randint(1, largest) for _ in range(sizes[len(seen) % len(sizes)])]
        targets = sorted(t for t in results(tuple(sorted(numbers))) if 10 <= t <= 99 and t not in numbers)
        if held_out:
            targets = [t for t in targets if split_of(numbers, t) == "heldout"]
        key = tuple(sorted(numbers))
        if not targets or key in seen:
            continue
        seen.add(key)
        target = rng.choice(targets)
        listed = ", ".join(map(str, numbers))
        text = f"Make {target} from {listed}, using each exactly once."
        name = f"other-{seed}-{len(seen) - 1}"
        yield {"id": name, "problem": text, "numbers": numbers, "target": target, "use": "all"}


def main() -> None:
    """Write a file of problems."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--numbers", type=int, nargs="+", default=[3, 4], help="how many numbers, in turn")
    parser.add_argument("--held-out", action="store_true", help="numbers and targets that no training row has")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    rows = problems(given.count, given.seed, tuple(given.numbers), held_out=given.held_out)
    given.output.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
