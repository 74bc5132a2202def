"""Countdown, made on the spot: reach a target from given numbers with + - * /, each at most once.

Every problem has a solution, because its target is worked out from its numbers. The numbers come from
``random.Random.random`` alone, whose sequence Python promises to keep, so the set is the same everywhere; its SHA-256
is checked by a test.

All problems are held out from the generator that models are trained on (``training/generated/countdown.py``): neither a
problem's set of numbers nor its target occurs in any training row, whatever the seed. There are 17 such targets from
10 to 99. On the way to a target any whole number may occur, so a few problems need larger ones than training text has.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache, partial

from colasearch.benchmarks.data_sets.base import Benchmark, Item, make_item, selected_sha256
from colasearch.benchmarks.data_sets.load import DataSet
from colasearch.training.generated.countdown import split_of

COUNT = 500
RULE_SOME = "rule: each number at most once"
RULE_ALL = "rule: every number exactly once"


@cache
def make(name: str, sizes: tuple[int, int], targets: tuple[int, int]) -> tuple[Item, ...]:
    """``COUNT`` different held-out problems; made once in a process, which takes a second or two.

    Args:
        name: Seeds the numbers and names the problems.
        sizes: Fewest and most given numbers; all sizes are equally frequent.
        targets: Smallest and largest target.
    """
    rng = random.Random(f"colasearch {name} 1")
    items: list[Item] = []
    seen: set[tuple[tuple[int, ...], int]] = set()
    while len(items) < COUNT:
        size = sizes[0] + len(items) % (sizes[1] - sizes[0] + 1)
        numbers = [1 + _below(rng, 99) for _ in range(size)]
        target = _reach(rng, numbers)
        key = (tuple(sorted(numbers)), target)
        if not targets[0] <= target <= targets[1] or target in numbers or key in seen:
            continue
        if split_of(numbers, target) != "heldout":
            continue
        seen.add(key)
        data = {"numbers": numbers, "target": target}
        text = f"Make {target} from {', '.join(map(str, numbers))}."
        items.append(make_item(f"{name}-{len(items):03d}", text, None, "countdown", data, level=f"{size} numbers"))
    return tuple(items)


def with_rule(data: DataSet, exactly: bool) -> DataSet:
    """A run's problems under one rule, which its remarks name.

    Args:
        data: Problems of Countdown.
        exactly: Every number must be used exactly once, as TinyZero asks; otherwise the problems' own rule holds, which
            is at most once unless they say ``"use": "all"``.
    """
    items = [_exact(item) for item in data.items] if exactly else data.items
    rules = {RULE_ALL if item.problem.data.get("use") == "all" else RULE_SOME for item in items}
    return replace(data, items=items, selected_sha256=selected_sha256(items), remarks=(*data.remarks, *sorted(rules)))


def _exact(item: Item) -> Item:
    problem = item.problem
    if problem.data.get("use") == "all":
        return item
    text = f"{problem.text.rstrip('.')}, using each exactly once."
    problem = replace(problem, text=text, data={**problem.data, "use": "all"})
    return replace(item, labelled=replace(item.labelled, problem=problem))


def _below(rng: random.Random, count: int) -> int:
    return int(rng.random() * count)


def _reach(rng: random.Random, numbers: list[int]) -> int:
    """A number that all of ``numbers`` make together, through whole positive numbers only."""
    left = list(numbers)
    while len(left) > 1:
        a = left.pop(_below(rng, len(left)))
        b = left.pop(_below(rng, len(left)))
        options = [a + b, a * b]
        if a != b:
            options.append(abs(a - b))
        if max(a, b) % min(a, b) == 0:
            options.append(max(a, b) // min(a, b))
        left.append(options[_below(rng, len(options))])
    return left[0]


def _benchmark(name: str, sizes: tuple[int, int], targets: tuple[int, int], sha256: str) -> Benchmark:
    counted = f"{sizes[0]} or {sizes[1]}" if sizes[0] < sizes[1] else str(sizes[0])
    return Benchmark(
        name=name,
        title=f"Countdown, {counted} numbers, targets {targets[0]} to {targets[1]}",
        task="countdown",
        source=partial(make, name, sizes, targets),
        rows=COUNT,
        sha256=sha256,
        binding=True,
    )


BENCHMARK = _benchmark(
    "countdown", (3, 4), (10, 99), "62241e86f9173af6120e94b6d85569d7129813c149c52c9617df7cc705a31bec"
)
FIVE = _benchmark("countdown-5", (5, 5), (10, 99), "d3576062394c37e2cff6148cc7f61621cecc8270bd04f9d9f37da6a5acdc7494")
HARD = _benchmark(
    "countdown-hard", (5, 6), (100, 999), "fd89bed03d3b0cc973ab0b95a461b97f07f112240d6ae52ccc7733e42d17b1bc"
)
