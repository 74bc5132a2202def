r"""Countdown to learn from: problems, and worked solutions that try, often fail, and sometimes succeed.

A solution is a list of attempts, one equation a line, and a final expression::

    99-41=58
    7*58=406
    no
    99-7=92
    92-41=51
    \boxed{99-7-41}

An attempt is drawn at random or, with a given probability, is one that works. A solution that runs out of attempts
gives up without an answer, or boxes what it tried last, which is wrong. A model trained on such text finds some answers
and misses many: room for search and RL. Everything follows from (seed, number), whatever machine and Python.

What is held out is held out twice over: a held-out problem's set of numbers and its target both never occur in
training.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from colasearch.errors import InputError

SPLITS = ("train", "heldout")
HELDOUT_SHARE = 0.15
"""Of number sets, and of targets."""


@dataclass(frozen=True, slots=True)
class CountdownConfig:
    """Settings of the generator.

    Attributes:
        sizes: Fewest and most given numbers.
        largest: Largest given number; the smallest is 1.
        targets: Smallest and largest target.
        most: Largest number on the way; the arithmetic that a small model must learn grows with it.
        attempts: Most attempts in a solution.
        skill: Probability that an attempt works.
        gives_up: Probability that a solution without success ends without an answer.
    """

    sizes: tuple[int, int] = (3, 4)
    largest: int = 99
    targets: tuple[int, int] = (10, 99)
    most: int = 198
    attempts: int = 2
    skill: float = 0.3
    gives_up: float = 0.5

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        fine = 2 <= self.sizes[0] <= self.sizes[1] and 2 <= self.largest <= self.most and self.attempts >= 1
        if not fine or not 0 <= self.skill <= 1 or not 0 <= self.gives_up <= 1:
            raise InputError(
                f"{self}: sizes must be at least 2 and in order, largest at least 2 and at most `most`, attempts at "
                "least 1, skill and gives_up in [0, 1]"
            )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Numbers combined until one is left.

    Attributes:
        steps: Equations, in order.
        expression: The whole as one expression with no brackets that are not needed.
        value: Its value.
    """

    steps: tuple[str, ...]
    expression: str
    value: int


def countdown_rows(
    count: int, seed: int, split: str = "train", config: CountdownConfig | None = None
) -> Iterator[dict[str, Any]]:
    """``count`` rows with ``id``, ``problem``, ``numbers``, ``target`` and ``solution``.

    Raises:
        InputError: An unknown split, or a setting out of range.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; use train or heldout")
    config = config or CountdownConfig()
    config.check()
    made = 0
    draw = 0
    while made < count:
        draw += 1
        rng = random.Random(f"colasearch countdown training {seed} {draw}")
        numbers = [1 + _below(rng, config.largest) for _ in range(_between(rng, *config.sizes))]
        right = attempt(rng, numbers, config.most)
        if not config.targets[0] <= right.value <= config.targets[1] or right.value in numbers:
            continue
        if split_of(numbers, right.value) != split:
            continue
        yield {
            "id": f"countdown-{split}-{seed}-{made}",
            "problem": f"Make {right.value} from {', '.join(map(str, numbers))}.",
            "numbers": numbers,
            "target": right.value,
            "solution": solution(rng, numbers, right, config),
        }
        made += 1


def split_of(numbers: list[int], target: int) -> str | None:
    """``heldout`` if numbers and target are both held out, ``train`` if neither is; None (in no split) otherwise."""
    held = (_held(f"numbers {sorted(numbers)}"), _held(f"target {target}"))
    return "heldout" if all(held) else None if any(held) else "train"


def _held(name: str) -> bool:
    digest = hashlib.sha256(f"colasearch countdown {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELDOUT_SHARE


def attempt(rng: random.Random, numbers: list[int], most: int) -> Attempt:
    """Combine all ``numbers`` at random, through whole numbers from 1 to ``most``."""
    # Value, expression, and how tightly its last operation binds: 1 for + and -, 2 for * and /, 3 for a number.
    left = [(n, str(n), 3) for n in numbers]
    steps = []
    while len(left) > 1:
        a = left.pop(_below(rng, len(left)))
        b = left.pop(_below(rng, len(left)))
        if a[0] < b[0]:
            a, b = b, a
        options = [
            (sign, value)
            for sign, value in (
                ("+", a[0] + b[0]),
                ("*", a[0] * b[0]),
                ("-", a[0] - b[0]),
                ("/", a[0] // b[0] if a[0] % b[0] == 0 else 0),
            )
            if 1 <= value <= most
        ]
        sign, value = options[_below(rng, len(options))]
        binding = 1 if sign in "+-" else 2
        first = a[1] if a[2] >= binding else f"({a[1]})"
        # On the right of - and / even an equal binding needs brackets: 9-(4-2).
        second = b[1] if b[2] > binding or (b[2] == binding and sign in "+*") else f"({b[1]})"
        steps.append(f"{a[0]}{sign}{b[0]}={value}")
        left.append((value, f"{first}{sign}{second}", binding))
    return Attempt(tuple(steps), left[0][1], left[0][0])


def solution(rng: random.Random, numbers: list[int], right: Attempt, config: CountdownConfig) -> str:
    """Attempts until one works or none is left; then an expression in a box, or the end."""
    lines: list[str] = []
    for number in range(1, config.attempts + 1):
        tried = right if rng.random() < config.skill else attempt(rng, numbers, config.most)
        lines += tried.steps
        if tried.value == right.value:
            break
        if number < config.attempts or rng.random() < config.gives_up:
            lines.append("no")
            if number == config.attempts:
                return "\n".join(lines)
    return "\n".join([*lines, f"\\boxed{{{tried.expression}}}"])


def _below(rng: random.Random, count: int) -> int:
    # Of all of random's methods only random() is promised to keep its sequence.
    return int(rng.random() * count)


def _between(rng: random.Random, least: int, most: int) -> int:
    return least + _below(rng, most - least + 1)
