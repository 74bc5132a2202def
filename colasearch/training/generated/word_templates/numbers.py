"""The numbers and words of a templated problem.

Each function draws the numbers of one kind: ``r`` is the answer, ``s`` and ``t`` are what the first steps give.
"""

# ruff: noqa: D103 - they differ in their arithmetic alone, and that stands in their last line

from __future__ import annotations

import random

from colasearch.training.generated.word_lists import (
    CONTAINERS,
    FOOD,
    GROUPS,
    PEOPLE,
    PLACES,
    THINGS,
    VEHICLES,
    plural,
)

Numbers = dict[str, int]


class Draw:
    """Random choices of one problem."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)

    def num(self, low: int = 2, high: int = 100) -> int:
        """A number in ``[low, high]``, in about half of the cases a small one."""
        return self.rng.randint(low, min(high, max(low, 20)) if self.rng.random() < 0.5 else high)

    def fields(self, numbers: Numbers) -> dict[str, str]:
        """Names, nouns and counted nouns for the wording.

        ``n m k`` are people (``he his him`` follow ``n``); ``o q`` things, ``p`` a container, ``f`` a food, ``g`` a
        group member, ``v`` a vehicle (plural; with ``1`` appended singular); ``ao`` is number ``a`` with thing ``o``.
        """
        people = self.rng.sample(PEOPLE, 3)
        result = {letter: name for letter, (name, _) in zip("nmk", people, strict=True)}
        pronouns = ("she", "her", "her") if people[0][1] else ("he", "his", "him")
        result.update(zip(("he", "his", "him"), pronouns, strict=True))
        result["He"] = pronouns[0].capitalize()
        result["x"] = self.rng.choice(PLACES)
        things = self.rng.sample(THINGS, 2)
        nouns = {"o": things[0], "q": things[1]}
        for letter, group in (("p", CONTAINERS), ("f", FOOD), ("g", GROUPS), ("v", VEHICLES)):
            nouns[letter] = self.rng.choice(group)
        for letter, noun in nouns.items():
            result[letter], result[letter + "1"] = plural(noun), noun
            for key, value in numbers.items():
                result[key + letter] = f"{value} {noun if value == 1 else plural(noun)}"
        return result | {key: str(value) for key, value in numbers.items()}


def addition(d: Draw) -> Numbers:
    a, b = d.num(), d.num()
    return {"a": a, "b": b, "r": a + b}


def difference(d: Draw) -> Numbers:
    a = d.num(3)
    b = d.num(1, a - 1)
    return {"a": a, "b": b, "r": a - b}


def product(d: Draw) -> Numbers:
    a, b = d.num(2, 12), d.num(2, 25)
    if d.rng.random() < 0.1:
        b = d.num(20, 80)
    return {"a": a, "b": b, "r": a * b}


def quotient(d: Draw) -> Numbers:
    b, r = d.num(2, 12), d.num(2, 25)
    return {"a": b * r, "b": b, "r": r}


def sum3(d: Draw) -> Numbers:
    a, b, c = d.num(2, 60), d.num(2, 60), d.num(2, 60)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": a + b + c}


def plus_minus(d: Draw) -> Numbers:
    a, b = d.num(), d.num(2, 60)
    c = d.num(2, a + b - 1)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": a + b - c}


def minus_plus(d: Draw) -> Numbers:
    a = d.num(5)
    b, c = d.num(2, a - 1), d.num(2, 60)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b + c}


def minus_minus(d: Draw) -> Numbers:
    a = d.num(8)
    b = d.num(2, a - 3)
    c = d.num(2, a - b)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b - c}


def product_plus(d: Draw) -> Numbers:
    a, b, c = d.num(2, 12), d.num(2, 15), d.num(2, 50)
    return {"a": a, "b": b, "c": c, "s": a * b, "r": a * b + c}


def product_minus(d: Draw) -> Numbers:
    a, b = d.num(2, 12), d.num(2, 15)
    c = d.num(2, a * b - 1)
    return {"a": a, "b": b, "c": c, "s": a * b, "r": a * b - c}


def product_quotient(d: Draw) -> Numbers:
    c, e, b = d.num(2, 6), d.num(2, 6), d.num(2, 12)
    return {"a": c * e, "b": b, "c": c, "s": c * e * b, "r": e * b}


def sum_quotient(d: Draw) -> Numbers:
    c, r = d.num(2, 10), d.num(2, 15)
    a = d.num(2, c * r - 2) if c * r > 4 else 2
    return {"a": a, "b": c * r - a, "c": c, "s": c * r, "r": r}


def difference_quotient(d: Draw) -> Numbers:
    c, r, b = d.num(2, 10), d.num(2, 15), d.num(2, 30)
    return {"a": c * r + b, "b": b, "c": c, "s": c * r, "r": r}


def sum_product(d: Draw) -> Numbers:
    a, b, c = d.num(2, 20), d.num(2, 20), d.num(2, 10)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": (a + b) * c}


def difference_product(d: Draw) -> Numbers:
    a, c = d.num(4, 30), d.num(2, 10)
    b = d.num(2, a - 2)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": (a - b) * c}


def quotient_minus(d: Draw) -> Numbers:
    b, s = d.num(2, 10), d.num(4, 25)
    c = d.num(2, s - 1)
    return {"a": b * s, "b": b, "c": c, "s": s, "r": s - c}


def quotient_plus(d: Draw) -> Numbers:
    b, s, c = d.num(2, 10), d.num(2, 25), d.num(2, 40)
    return {"a": b * s, "b": b, "c": c, "s": s, "r": s + c}


def two_products(d: Draw) -> Numbers:
    a, b, c, e = d.num(2, 9), d.num(2, 12), d.num(2, 9), d.num(2, 12)
    return {"a": a, "b": b, "c": c, "e": e, "s": a * b, "t": c * e, "r": a * b + c * e}


def change(d: Draw) -> Numbers:
    a, b = d.num(2, 9), d.num(2, 10)
    c = d.rng.choice([bill for bill in (10, 20, 50, 100) if bill > a * b])
    return {"a": a, "b": b, "c": c, "s": a * b, "r": c - a * b}


def small_change(d: Draw) -> Numbers:
    c = d.rng.choice([5, 10, 20, 50, 100])
    a = d.num(1, c - 1)
    return {"a": a, "c": c, "r": c - a}


def more_total(d: Draw) -> Numbers:
    a, b = d.num(2, 60), d.num(2, 40)
    return {"a": a, "b": b, "s": a + b, "r": a + a + b}


def fewer_total(d: Draw) -> Numbers:
    a = d.num(4, 60)
    b = d.num(2, a - 1)
    return {"a": a, "b": b, "s": a - b, "r": a + a - b}


def double(d: Draw) -> Numbers:
    a = d.num(2, 100)
    return {"a": a, "s": 2 * a, "r": 3 * a}


def half(d: Draw) -> Numbers:
    s = d.num(2, 50)
    return {"a": 2 * s, "s": s, "r": 3 * s}


def half_left_minus(d: Draw) -> Numbers:
    s = d.num(4, 50)
    b = d.num(1, s - 1)
    return {"a": 2 * s, "b": b, "s": s, "r": s - b}


def times(d: Draw) -> Numbers:
    a, b = d.num(2, 25), d.num(3, 9)
    return {"a": a, "b": b, "s": a * b, "r": a * b + a, "y": a * b - a}


def weeks(d: Draw) -> Numbers:
    a, b = d.num(2, 9), d.num(2, 12)
    return {"a": a, "b": b, "s": 7 * a, "r": 7 * a * b}


def clock(d: Draw) -> Numbers:
    a, b = d.num(1, 8) + 1, d.num(5, 55)
    return {"a": a, "b": b, "s": 60 * a, "r": 60 * a + b}


def dozens(d: Draw) -> Numbers:
    a = d.num(2, 10)
    c = d.num(2, 12 * a - 1)
    return {"a": a, "c": c, "s": 12 * a, "r": 12 * a - c}


def ages(d: Draw) -> Numbers:
    a, b, c = d.num(6, 40), d.num(2, 5), d.num(2, 20)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b + c}


def rectangle(d: Draw) -> Numbers:
    a, b = d.num(2, 40), d.num(2, 40)
    return {"a": a, "b": b, "s": a + b, "r": 2 * (a + b)}


def sum_minus_minus(d: Draw) -> Numbers:
    a, b = d.num(6, 80), d.num(4, 60)
    c = d.num(2, a + b - 4)
    e = d.num(2, a + b - c)
    return {"a": a, "b": b, "c": c, "e": e, "s": a + b, "t": a + b - c, "r": a + b - c - e}


def product_minus_quotient(d: Draw) -> Numbers:
    e, r, a, b = d.num(2, 6), d.num(2, 9), d.num(2, 10), 0
    b = -(-(e * r + 1) // a)  # the smallest b with more than e * r things in a groups of b
    return {"a": a, "b": b, "c": a * b - e * r, "e": e, "s": a * b, "t": e * r, "r": r}
