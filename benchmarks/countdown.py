"""Countdown, made on the spot: reach a target from given numbers with + - * /, each at most once.

Every problem has a solution, because its target is worked out from its numbers. The numbers come from
``random.Random.random`` alone, whose sequence Python promises to keep, so the set is the same everywhere; its SHA-256
is checked by a test.
"""

from __future__ import annotations

import random
from functools import partial

from colasearch.benchmarks.data import Benchmark, Item, make_item

COUNT = 500


def make(name: str, sizes: tuple[int, int], targets: tuple[int, int]) -> list[Item]:
    """``COUNT`` different problems.

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
        seen.add(key)
        data = {"numbers": numbers, "target": target}
        text = f"Make {target} from {', '.join(map(str, numbers))}."
        items.append(make_item(f"{name}-{len(items):03d}", text, None, "countdown", data, level=f"{size} numbers"))
    return items


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


BENCHMARK = Benchmark(
    name="countdown",
    title="Countdown, 3 or 4 numbers, targets 10 to 99",
    task="countdown",
    source=partial(make, "countdown", (3, 4), (10, 99)),
    rows=COUNT,
    sha256="54afcb9629ef63b628df146ce77ded4ee76f85f2c24f102b83005d937b875d31",
    binding=True,
)
HARD = Benchmark(
    name="countdown-hard",
    title="Countdown, 5 or 6 numbers, targets 100 to 999",
    task="countdown",
    source=partial(make, "countdown-hard", (5, 6), (100, 999)),
    rows=COUNT,
    sha256="e9fb39cbf295524753eaf85f9c3d3b8e5d26e3c11095d2af40a9512544d318fe",
    binding=True,
)
