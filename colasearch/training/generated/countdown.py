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

Half of the problems ask for every number exactly once (``"use": "all"``), the others for each at most once; there some
attempts leave numbers out. A problem's target is drawn from those that many attempts reach, all equally likely: what
one expression gives would mostly be a sum or a difference, and targets that need a product or a quotient would be rare.

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
        sizes: How many numbers a problem has; one of these, all equally likely.
        largest: Largest given number; the smallest is 1.
        targets: Smallest and largest target.
        most: Largest number on the way; 9801 leaves out no product of two given numbers.
        last: Largest number that a failing attempt ends with: nobody hopes to make 52 by 98*97.
        exactly: Share of problems that ask for every number exactly once.
        fewer: Share of attempts that leave numbers out where a problem allows it; of those that work it is more.
        reached: How many attempts a target is drawn from.
        attempts: Most attempts in a solution.
        skill: Probability that an attempt works.
        gives_up: Probability that a solution without success ends without an answer.
    """

    sizes: tuple[int, ...] = (3, 3, 4, 4, 5)
    largest: int = 99
    targets: tuple[int, int] = (10, 99)
    most: int = 9801
    last: int = 198
    exactly: float = 0.5
    fewer: float = 0.1
    reached: int = 30
    attempts: int = 2
    skill: float = 0.3
    gives_up: float = 0.5

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        fine = self.sizes and min(self.sizes) >= 2 and 2 <= self.largest <= self.most
        fine = fine and self.targets[1] <= self.last <= self.most
        shares = (self.skill, self.gives_up, self.exactly, self.fewer)
        if not fine or min(self.attempts, self.reached) < 1 or not all(0 <= share <= 1 for share in shares):
            raise InputError(
                f"{self}: sizes must be at least 2, 2 <= largest <= most, targets at most last, last at most most, "
                "attempts and reached at least 1, skill, gives_up, exactly and fewer in [0, 1]"
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
        numbers = [1 + _below(rng, config.largest) for _ in range(config.sizes[_below(rng, len(config.sizes))])]
        use = {"use": "all"} if rng.random() < config.exactly else {}
        right = _right(rng, numbers, not use, split, config)
        if right is None:
            continue
        asked = ", using each exactly once." if use else "."
        yield {
            "id": f"countdown-{split}-{seed}-{made}",
            "problem": f"Make {right.value} from {', '.join(map(str, numbers))}{asked}",
            "numbers": numbers,
            "target": right.value,
            **use,
            "solution": solution(rng, numbers, right, config, fewer=not use),
        }
        made += 1


def _right(rng: random.Random, numbers: list[int], fewer: bool, split: str, config: CountdownConfig) -> Attempt | None:
    """An attempt that ends with a target of ``split``, all that were reached equally likely; None if none was."""
    found: dict[int, Attempt] = {}
    for _ in range(config.reached):
        tried = _tried(rng, numbers, fewer, config)
        value = tried.value
        if config.targets[0] <= value <= config.targets[1] and value not in numbers:
            found.setdefault(value, tried)
    targets = sorted(value for value in found if split_of(numbers, value) == split)
    return found[targets[_below(rng, len(targets))]] if targets else None


def _tried(rng: random.Random, numbers: list[int], fewer: bool, config: CountdownConfig) -> Attempt:
    """A random attempt; ``fewer``: it may leave numbers out."""
    if fewer and len(numbers) > 2 and rng.random() < config.fewer:
        left = list(numbers)
        for _ in range(1 + _below(rng, len(numbers) - 2)):
            left.pop(_below(rng, len(left)))
        numbers = left
    return attempt(rng, numbers, config.most)


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


def solution(rng: random.Random, numbers: list[int], right: Attempt, config: CountdownConfig, fewer: bool) -> str:
    """Attempts until one works or none is left; then an expression in a box, or the end.

    Args:
        rng: Where every draw comes from.
        numbers: What is given.
        right: The attempt that works.
        config: Settings.
        fewer: Attempts may leave numbers out.
    """
    lines: list[str] = []
    for number in range(1, config.attempts + 1):
        tried = right if rng.random() < config.skill else _tried(rng, numbers, fewer, config)
        while tried.value > config.last:
            tried = _tried(rng, numbers, fewer, config)
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
