"""Seeded arithmetic word problems with worked solutions: training text that this project makes itself.

Each problem is a story about one to three whole-number facts; its solution states each fact as one equation and ends in
``#### answer``. The numbers are computed, never parsed, so every equation holds. Knows nothing about tokens or files.
"""

# ruff: noqa: SIM905 - split strings keep the word lists short
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Numbers = dict[str, int]

# Name and whether the pronoun is "she".
PEOPLE = [(name, True) for name in (
    "Ada Alma Amara Anna Bea Carla Chloe Clara Daisy Dina Elena Ella Emma Eva Fatima Fiona Gina Grace Hana Holly Ines "
    "Iris Jade Jana Julia Kate Keiko Laila Lena Lily Lucy Maria Maya Mei Mina Nadia Nina Nora Olga Paula Priya Rita "
    "Rosa Ruth Sara Sofia Tara Tina Uma Vera Wendy Yara Zoe"
).split()] + [(name, False) for name in (
    "Abdul Adam Alan Andre Ben Bilal Boris Carlos Chen Dan Dev Diego Eli Emil Erik Felix Finn George Hassan Henry Hugo "
    "Ian Igor Ivan Jack James Jonas Kai Karim Kofi Lars Leo Liam Luis Marco Mark Max Milo Nate Noah Omar Oscar Otto "
    "Paul Pedro Raj Rico Sam Simon Theo Tom Victor Walter Yusuf Zane"
).split()]  # fmt: skip

_IRREGULAR = {"box": "boxes", "shelf": "shelves", "peach": "peaches", "strawberry": "strawberries",
              "cherry": "cherries", "bus": "buses", "sandwich": "sandwiches", "leaf": "leaves", "candy": "candies",
              "potato": "potatoes", "tomato": "tomatoes", "child": "children", "scarf": "scarves"}  # fmt: skip

THINGS = (
    "apple|orange|pear|peach|plum|lemon|banana|cherry|strawberry|egg|muffin|cookie|cupcake|sandwich|marble|sticker|stamp|"
    "coin|card|book|comic|magazine|pencil|pen|crayon|marker|notebook|eraser|ruler|button|bead|ribbon|shell|pebble|rock|"
    "leaf|flower|rose|tulip|candle|balloon|toy car|puzzle|doll|block|ball|kite|badge|photo|poster|postcard|letter|key|"
    "bottle|cup|plate|spoon|towel|sock|hat|scarf|shirt|nail|screw|brick|tile|ticket|candy|chocolate|cracker|potato|"
    "carrot|onion|tomato|pumpkin|melon|walnut|acorn|seed"
).split("|")  # fmt: skip
FOOD = "apple|orange|pear|peach|plum|banana|cherry|muffin|cookie|cupcake|cracker|candy|grape|walnut".split("|")
CONTAINERS = "box|bag|basket|jar|crate|packet|tray|shelf|drawer|bucket|carton|sack|pouch|chest|case".split("|")
GROUPS = "friend|child|cousin|student|neighbor|classmate|teammate|guest|player|helper".split("|")
PLACES = "shop|library|farm|school|museum|bakery|market|garage|hotel|garden club|kitchen|post office".split("|")
VEHICLES = "car|bus|train|truck|van|ferry|tram|motorbike".split("|")


def _plural(noun: str) -> str:
    return _IRREGULAR.get(noun, noun + "s")


class _Draw:
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
            result[letter], result[letter + "1"] = _plural(noun), noun
            for key, value in numbers.items():
                result[key + letter] = f"{value} {noun if value == 1 else _plural(noun)}"
        return result | {key: str(value) for key, value in numbers.items()}


# Numbers of a problem. ``r`` is the answer, ``s`` and ``t`` are what the first steps give.


def _sum(d: _Draw) -> Numbers:
    a, b = d.num(), d.num()
    return {"a": a, "b": b, "r": a + b}


def _difference(d: _Draw) -> Numbers:
    a = d.num(3)
    b = d.num(1, a - 1)
    return {"a": a, "b": b, "r": a - b}


def _product(d: _Draw) -> Numbers:
    a, b = d.num(2, 12), d.num(2, 25)
    if d.rng.random() < 0.1:
        b = d.num(20, 80)
    return {"a": a, "b": b, "r": a * b}


def _quotient(d: _Draw) -> Numbers:
    b, r = d.num(2, 12), d.num(2, 25)
    return {"a": b * r, "b": b, "r": r}


def _sum3(d: _Draw) -> Numbers:
    a, b, c = d.num(2, 60), d.num(2, 60), d.num(2, 60)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": a + b + c}


def _plus_minus(d: _Draw) -> Numbers:
    a, b = d.num(), d.num(2, 60)
    c = d.num(2, a + b - 1)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": a + b - c}


def _minus_plus(d: _Draw) -> Numbers:
    a = d.num(5)
    b, c = d.num(2, a - 1), d.num(2, 60)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b + c}


def _minus_minus(d: _Draw) -> Numbers:
    a = d.num(8)
    b = d.num(2, a - 3)
    c = d.num(2, a - b)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b - c}


def _product_plus(d: _Draw) -> Numbers:
    a, b, c = d.num(2, 12), d.num(2, 15), d.num(2, 50)
    return {"a": a, "b": b, "c": c, "s": a * b, "r": a * b + c}


def _product_minus(d: _Draw) -> Numbers:
    a, b = d.num(2, 12), d.num(2, 15)
    c = d.num(2, a * b - 1)
    return {"a": a, "b": b, "c": c, "s": a * b, "r": a * b - c}


def _product_quotient(d: _Draw) -> Numbers:
    c, e, b = d.num(2, 6), d.num(2, 6), d.num(2, 12)
    return {"a": c * e, "b": b, "c": c, "s": c * e * b, "r": e * b}


def _sum_quotient(d: _Draw) -> Numbers:
    c, r = d.num(2, 10), d.num(2, 15)
    a = d.num(2, c * r - 2) if c * r > 4 else 2
    return {"a": a, "b": c * r - a, "c": c, "s": c * r, "r": r}


def _difference_quotient(d: _Draw) -> Numbers:
    c, r, b = d.num(2, 10), d.num(2, 15), d.num(2, 30)
    return {"a": c * r + b, "b": b, "c": c, "s": c * r, "r": r}


def _sum_product(d: _Draw) -> Numbers:
    a, b, c = d.num(2, 20), d.num(2, 20), d.num(2, 10)
    return {"a": a, "b": b, "c": c, "s": a + b, "r": (a + b) * c}


def _difference_product(d: _Draw) -> Numbers:
    a, c = d.num(4, 30), d.num(2, 10)
    b = d.num(2, a - 2)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": (a - b) * c}


def _quotient_minus(d: _Draw) -> Numbers:
    b, s = d.num(2, 10), d.num(4, 25)
    c = d.num(2, s - 1)
    return {"a": b * s, "b": b, "c": c, "s": s, "r": s - c}


def _quotient_plus(d: _Draw) -> Numbers:
    b, s, c = d.num(2, 10), d.num(2, 25), d.num(2, 40)
    return {"a": b * s, "b": b, "c": c, "s": s, "r": s + c}


def _two_products(d: _Draw) -> Numbers:
    a, b, c, e = d.num(2, 9), d.num(2, 12), d.num(2, 9), d.num(2, 12)
    return {"a": a, "b": b, "c": c, "e": e, "s": a * b, "t": c * e, "r": a * b + c * e}


def _change(d: _Draw) -> Numbers:
    a, b = d.num(2, 9), d.num(2, 10)
    c = d.rng.choice([bill for bill in (10, 20, 50, 100) if bill > a * b])
    return {"a": a, "b": b, "c": c, "s": a * b, "r": c - a * b}


def _small_change(d: _Draw) -> Numbers:
    c = d.rng.choice([5, 10, 20, 50, 100])
    a = d.num(1, c - 1)
    return {"a": a, "c": c, "r": c - a}


def _more_total(d: _Draw) -> Numbers:
    a, b = d.num(2, 60), d.num(2, 40)
    return {"a": a, "b": b, "s": a + b, "r": a + a + b}


def _fewer_total(d: _Draw) -> Numbers:
    a = d.num(4, 60)
    b = d.num(2, a - 1)
    return {"a": a, "b": b, "s": a - b, "r": a + a - b}


def _double(d: _Draw) -> Numbers:
    a = d.num(2, 100)
    return {"a": a, "s": 2 * a, "r": 3 * a}


def _half(d: _Draw) -> Numbers:
    s = d.num(2, 50)
    return {"a": 2 * s, "s": s, "r": 3 * s}


def _half_left_minus(d: _Draw) -> Numbers:
    s = d.num(4, 50)
    b = d.num(1, s - 1)
    return {"a": 2 * s, "b": b, "s": s, "r": s - b}


def _times(d: _Draw) -> Numbers:
    a, b = d.num(2, 25), d.num(3, 9)
    return {"a": a, "b": b, "s": a * b, "r": a * b + a, "y": a * b - a}


def _weeks(d: _Draw) -> Numbers:
    a, b = d.num(2, 9), d.num(2, 12)
    return {"a": a, "b": b, "s": 7 * a, "r": 7 * a * b}


def _clock(d: _Draw) -> Numbers:
    a, b = d.num(1, 8) + 1, d.num(5, 55)
    return {"a": a, "b": b, "s": 60 * a, "r": 60 * a + b}


def _dozens(d: _Draw) -> Numbers:
    a = d.num(2, 10)
    c = d.num(2, 12 * a - 1)
    return {"a": a, "c": c, "s": 12 * a, "r": 12 * a - c}


def _ages(d: _Draw) -> Numbers:
    a, b, c = d.num(6, 40), d.num(2, 5), d.num(2, 20)
    return {"a": a, "b": b, "c": c, "s": a - b, "r": a - b + c}


def _rectangle(d: _Draw) -> Numbers:
    a, b = d.num(2, 40), d.num(2, 40)
    return {"a": a, "b": b, "s": a + b, "r": 2 * (a + b)}


def _sum_minus_minus(d: _Draw) -> Numbers:
    a, b = d.num(6, 80), d.num(4, 60)
    c = d.num(2, a + b - 4)
    e = d.num(2, a + b - c)
    return {"a": a, "b": b, "c": c, "e": e, "s": a + b, "t": a + b - c, "r": a + b - c - e}


def _product_minus_quotient(d: _Draw) -> Numbers:
    e, r, a, b = d.num(2, 6), d.num(2, 9), d.num(2, 10), 0
    b = -(-(e * r + 1) // a)  # the smallest b with more than e * r things in a groups of b
    return {"a": a, "b": b, "c": a * b - e * r, "e": e, "s": a * b, "t": e * r, "r": r}


@dataclass(frozen=True, slots=True)
class _Template:
    """A family of problems: how its numbers are drawn, and wordings of story, question and solution."""

    numbers: Callable[[_Draw], Numbers]
    problems: tuple[str, ...]
    solutions: tuple[str, ...]
    answer: str = "r"


_T = _Template
TEMPLATES: tuple[_Template, ...] = (
    # One step: addition.
    _T(_sum, ("{n} had {ao}. Then {m} gave {him} {bo}. How many {o} does {n} have in all?",
              "{n} owns {ao} and gets {b} more as a gift from {m}. What is the number of {o} that {n} owns now?",
              "After {m} gave {n} {bo}, {n} put them with the {ao} that {he} already had. How many is that?"),
       ("{n} has {a} + {b} = {ro}.", "With the gift, {n} has {a} + {b} = {ro}.")),
    _T(_sum, ("{n} picked {ao} in the morning and {bo} in the afternoon. How many {o} did {he} pick that day?",
              "On Monday {n} sold {ao}. On Tuesday {he} sold {bo}. How many {o} did {n} sell in the two days?",
              "A {x} got {ao} last week and {bo} this week. How many {o} did it get over both weeks?"),
       ("In total it is {a} + {b} = {ro}.", "The total is {a} + {b} = {ro}.")),
    _T(_sum, ("There are {ao} in one {p1} and {bo} in another {p1}. How many {o} are in the two {p}?",
              "One {p1} holds {ao}. A second {p1} holds {bo}. How many {o} do the {p} hold together?"),
       ("Together the {p} hold {a} + {b} = {ro}.", "There are {a} + {b} = {ro} in both {p}.")),
    _T(_sum, ("{n} has {ao} and {bq}. How many things does {n} have in total?",
              "On a table there are {ao} and {bq}. How many items are on the table?"),
       ("That makes {a} + {b} = {r} items.", "{a} + {b} = {r} items in total.")),
    _T(_sum, ("{m} has {ao}. {n} has {b} more {o} than {m}. How many {o} does {n} have?",
              "{n} found {b} more {o} than {m}, and {m} found {ao}. How many {o} did {n} find?"),
       ("{n} has {b} more than {a}, which is {a} + {b} = {ro}.", "{n}'s number is {a} + {b} = {ro}.")),
    _T(_sum, ("{n} spent ${a} on {o} and ${b} on {q}. How much did {he} spend in dollars?",
              "A lamp costs ${a} and a chair costs ${b}. How many dollars do the two cost together?"),
       ("The cost is ${a} + ${b} = ${r}.", "Together that is ${a} + ${b} = ${r}.")),
    _T(_sum, ("{n} is {a} years old. How old will {he} be in {b} years?",
              "{n} turned {a} this year. What will {his} age be {b} years from now?"),
       ("In {b} years {n} will be {a} + {b} = {r} years old.",)),
    # One step: subtraction.
    _T(_difference, ("{n} had {ao}. {He} gave {bo} to {m}. How many {o} does {n} still have?",
                     "From {his} {ao}, {n} lost {b} on the way home. How many {o} remain?",
                     "{n} bought {ao} and used {b} of them. How many {o} are unused?"),
       ("{n} still has {a} - {b} = {ro}.", "What is left is {a} - {b} = {ro}.")),
    _T(_difference, ("{n} brought {af}. {m} ate {bf}. How many {f} were not eaten?",
                     "There were {af} on a plate, and {n} ate {b}. How many {f} are on the plate now?"),
       ("There are {a} - {b} = {rf} left.", "{a} - {b} = {rf} remain.")),
    _T(_difference, ("{n} has {ao}. {m} has {bo}. How many more {o} does {n} have than {m}?",
                     "{n} collected {ao} while {m} collected {bo}. By how many is {n} ahead?",
                     "If {m} has {bo} and {n} has {a}, how many fewer does {m} have?"),
       ("The difference is {a} - {b} = {ro}.", "{n} has {a} - {b} = {r} more.")),
    _T(_difference, ("{m} has {ao}. {n} has {b} fewer {o} than {m}. How many {o} does {n} have?",
                     "{n} made {b} fewer {o} than {m}. {m} made {a}. How many {o} did {n} make?"),
       ("{n} has {b} fewer than {a}, which is {a} - {b} = {ro}.", "{n}'s number is {a} - {b} = {ro}.")),
    _T(_difference, ("{n} wants {ao} and has {b} so far. How many more {o} does {he} need?",
                     "A book has {a} pages. {n} has read {b} of them. How many pages are left to read?"),
       ("{n} still needs {a} - {b} = {r}.", "The rest is {a} - {b} = {r}.")),
    _T(_difference, ("Of the {a} people on a {v1}, {b} got off. How many people stayed on the {v1}?",
                     "A {x} had {a} visitors in the morning. By noon {b} of them had left. How many were still there?"),
       ("{a} - {b} = {r} people were still there.", "The number of people is {a} - {b} = {r}.")),
    _T(_difference, ("{n} and {m} have {ao} together. {m} has {b} of them. How many {o} belong to {n}?",
                     "A {p1} contains {a} things, and {b} of them are {q}. How many are not {q}?"),
       ("The others are {a} - {b} = {r}.", "Taking away {b} gives {a} - {b} = {r}.")),
    _T(_small_change, ("{n} pays for a meal of ${a} with a ${c} bill. How many dollars of change does {he} get?",
                       "{n} had ${c} and spent ${a} at the {x}. How much money is left, in dollars?"),
       ("{n} has ${c} - ${a} = ${r} left.", "The rest is ${c} - ${a} = ${r}.")),
    # One step: multiplication.
    _T(_product, ("{n} has {ap}. Each {p1} holds {bo}. How many {o} does {n} have?",
                  "Every {p1} at the {x} contains {bo}. How many {o} are in {ap}?",
                  "{n} filled {ap} with {bo} each. How many {o} did {he} use?"),
       ("The {p} hold {a} * {b} = {ro}.", "There are {a} * {b} = {ro}.")),
    _T(_product, ("Chairs stand in {a} rows of {b}. How many chairs are there?",
                  "A garden has {a} rows with {b} plants in every row. How many plants grow there?",
                  "A wall is covered by {a} rows and {b} columns of tiles. How many tiles cover the wall?"),
       ("The number is {a} * {b} = {r}.", "{a} rows of {b} make {a} * {b} = {r}.")),
    _T(_product, ("One {o1} costs ${b}. How many dollars do {ao} cost?",
                  "{n} buys {ao} at ${b} each. How much does {he} pay in dollars?",
                  "Tickets are ${b} each. What do {a} tickets cost, in dollars?"),
       ("The price is {a} * ${b} = ${r}.", "{n} pays {a} * ${b} = ${r}.")),
    _T(_product, ("A {v1} goes {b} miles an hour. How many miles does it go in {a} hours?",
                  "{n} rides {b} kilometers each day. How many kilometers is that in {a} days?",
                  "A {v1} moves at a speed of {b} km per hour for {a} hours. How far does it get, in km?"),
       ("The distance is {a} * {b} = {r}.", "In all that is {a} * {b} = {r}.")),
    _T(_product, ("{n} works {b} hours a day. How many hours does {he} work in {a} days?",
                  "{n} reads {b} pages every evening. How many pages does {he} read in {a} evenings?",
                  "A machine makes {bo} a minute. How many {o} does it make in {a} minutes?"),
       ("That is {a} * {b} = {r}.", "The result is {a} * {b} = {r}.")),
    _T(_times, ("{m} has {ao}. {n} has {b} times as many. How many {o} does {n} have?",
                "{n} has {b} times the number of {o} that {m} has. {m} has {a}. How many does {n} have?"),
       ("{n} has {b} * {a} = {so}.",), "s"),
    _T(_double, ("{m} has {ao} and {n} has twice as many. How many {o} does {n} have?",
                 "{n} doubled {his} {ao}. How many {o} does {n} have now?"),
       ("{n} has 2 * {a} = {so}.",), "s"),
    # One step: division.
    _T(_quotient, ("{n} shares {ao} equally among {bg}. How many {o} does each of them get?",
                   "{bg} split {ao} evenly. How many {o} are there for each?",
                   "If {ao} are divided into {b} equal parts, how many {o} are in one part?"),
       ("Each gets {a} / {b} = {ro}.", "One share is {a} / {b} = {ro}.")),
    _T(_quotient, ("{n} puts {ao} into {p} of {b}. How many {p} does {he} fill?",
                   "{n} needs one {p1} for every {bo}. How many {p} does {he} need for {ao}?"),
       ("{n} needs {a} / {b} = {rp}.", "That is {a} / {b} = {rp}.")),
    _T(_quotient, ("{n} paid ${a} for {bo} of the same price. How many dollars was one {o1}?",
                   "A {v1} covered {a} miles in {b} hours at a steady speed. How many miles did it go each hour?",
                   "{n} typed {a} lines in {b} minutes, the same number each minute. How many lines a minute?"),
       ("It is {a} / {b} = {r} for one.", "Dividing gives {a} / {b} = {r}.")),
    _T(_half, ("{n} gave away half of {his} {ao}. How many {o} did {he} keep?",
               "{m} has {ao} and {n} has half as many. How many {o} does {n} have?"),
       ("Half of {a} is {a} / 2 = {s}.", "{n} has {a} / 2 = {so}."), "s"),
    # Two steps.
    _T(_sum3, ("{n} has {ao}, {m} has {b} and {k} has {c}. How many {o} do they have together?",
               "{n}, {m} and {k} picked {a}, {b} and {co}. How many {o} did the three pick?",
               "A {x} sold {ao} on Friday, {b} on Saturday and {c} on Sunday. How many {o} is that?"),
       ("The first two make {a} + {b} = {s}.\nWith the third it is {s} + {c} = {ro}.",
        "{a} + {b} = {s}, and {s} + {c} = {ro}.")),
    _T(_sum3, ("{n} has {ao}. {m} has {bo} and finds {c} more. How many {o} do both have now?",
               "{n} owns {ao}. {m} owns {b} and is given {c} by {k}. How many {o} do {n} and {m} own in total?"),
       ("{m} has {b} + {c} = {u}.\nTogether they have {a} + {u} = {ro}.",)),
    _T(_sum3, ("{n} put {ao} into a {p1}, then {b} more, and after lunch another {c}. How many {o} are in the {p1}?",
               "A club began with {a} members. {b} joined in spring and {c} in summer. How many members has it now?"),
       ("First it is {a} + {b} = {s}.\nThen it is {s} + {c} = {r}.",)),
    _T(_plus_minus, ("{n} had {ao}. {He} bought {b} more and then gave {c} to {m}. How many {o} has {n} now?",
                     "There were {ao} in a {p1}. {n} added {b}, and {m} took out {c}. How many {o} are in the {p1}?",
                     "{n} saved ${a} in May and ${b} in June and spent ${c} in July. How many dollars are left?"),
       ("After the first change there are {a} + {b} = {s}.\nThen {s} - {c} = {r} are left.",
        "{a} + {b} = {s}.\nAfterwards it is {s} - {c} = {r}.")),
    _T(_minus_plus, ("{n} had {ao}, lost {b}, and later got {c} from {m}. How many {o} does {n} have at the end?",
                     "A {v1} carried {a} people. At a stop {b} got off and {c} got on. How many people are on it now?",
                     "A {x} with {ao} sold {b} and then received {c}. How many {o} does it have?"),
       ("First there are {a} - {b} = {s} left.\nThen it is {s} + {c} = {r}.",
        "{a} - {b} = {s}, and {s} + {c} = {r}.")),
    _T(_minus_minus, ("{n} had {ao}. {He} gave {b} to {m} and {c} to {k}. How many {o} are left for {n}?",
                      "Of {ao}, {b} broke and {c} were sold. How many {o} remain?",
                      "{n} has ${a}. {He} pays ${b} for lunch and ${c} for the {v1}. How many dollars has {he} left?"),
       ("After the first there are {a} - {b} = {s} left.\nIn the end {s} - {c} = {r} are left.",
        "{a} - {b} = {s}.\n{s} - {c} = {r}.")),
    _T(_product_plus, ("{n} has {ap} of {bo} and {c} loose {o}. How many {o} does {he} have?",
                       "{n} earns ${b} an hour. {He} worked {a} hours and got a tip of ${c}. How many dollars is that?",
                       "A hall has {a} rows of {b} seats and {c} extra seats. How many seats does it have?"),
       ("The first part is {a} * {b} = {s}.\nWith the rest it is {s} + {c} = {r}.",
        "{a} * {b} = {s}.\nAdding {c} gives {s} + {c} = {r}.")),
    _T(_product_minus, ("{n} bought {ap} with {bo} in each and gave away {co}. How many {o} does {he} have left?",
                        "A {x} had {a} shelves with {bo} each. It sold {co}. How many {o} are still there?",
                        "{n} planted {a} rows of {b} trees, but {c} died. How many trees are alive?"),
       ("At first there were {a} * {b} = {s}.\nThen {s} - {c} = {r} are left.",
        "{a} * {b} = {s}.\nTaking away {c} leaves {s} - {c} = {r}.")),
    _T(_change, ("{n} buys {ao} for ${b} each and pays with ${c}. How many dollars does {he} get back?",
                 "One {o1} costs ${b}. {n} has ${c} and buys {a} of them. How many dollars does {he} have left?"),
       ("The {o} cost {a} * ${b} = ${s}.\n{n} gets back ${c} - ${s} = ${r}.",
        "{n} spends {a} * ${b} = ${s}.\nWhat is left is ${c} - ${s} = ${r}.")),
    _T(_product_quotient, ("{n} has {ap} of {bo} and shares them equally among {cg}. How many {o} does each get?",
                           "{a} packs of {b} pens are divided evenly among {c} classes. How many pens per class?"),
       ("There are {a} * {b} = {s} to share.\nEach gets {s} / {c} = {r}.",)),
    _T(_sum_quotient, ("{n} has {ao} and {m} has {b}. They put them together and fill {cp} equally. "
                       "How many {o} are in each {p1}?",
                       "{a} boys and {b} girls form {c} teams of equal size. How many children are in a team?"),
       ("In all there are {a} + {b} = {s}.\nIn each there are {s} / {c} = {r}.",)),
    _T(_difference_quotient, ("{n} has {ao}. {He} keeps {b} and shares the others equally among {cg}. "
                              "How many {o} does each of the {g} get?",
                              "From {ao}, {b} were bad. The good ones were packed into {cp} equally. "
                              "How many {o} went into each {p1}?"),
       ("There are {a} - {b} = {s} to divide.\nEach gets {s} / {c} = {ro}.",)),
    _T(_sum_product, ("Each day {n} walks {a} minutes to school and {b} minutes home by a longer way. "
                      "How many minutes does {he} walk in {c} days?",
                      "A meal costs ${a} and a drink costs ${b}. {c} people have one of each. "
                      "How many dollars do they pay in total?",
                      "Each {p1} holds {ao} and {bq}. How many things are in {cp}?"),
       ("For one it is {a} + {b} = {s}.\nFor {c} it is {c} * {s} = {r}.",)),
    _T(_difference_product, ("{n} earns ${a} a day and spends ${b} of it. How many dollars does {he} save in {c} days?",
                             "One {o1} is sold for ${a} less a discount of ${b}. How many dollars do {co} cost?"),
       ("For one it is ${a} - ${b} = ${s}.\nFor {c} it is {c} * ${s} = ${r}.",)),
    _T(_quotient_minus, ("{n} and {his} friends, {b} people in all, share {ao} equally. {n} passes on {c} of "
                         "{his} share. How many {o} has {n} left?",
                         "{a} pages are split evenly over {b} days. Today {n} has read {c} pages. "
                         "How many pages are left for today?"),
       ("One share is {a} / {b} = {s}.\nLeft are {s} - {c} = {r}.",)),
    _T(_quotient_plus, ("{n} gets one of {b} equal shares of {ao}. {He} already had {co}. How many {o} has {he} now?",
                        "{a} children go in {b} buses, the same number in each. {n}'s bus also has {c} adults. "
                        "How many people are in {n}'s bus?"),
       ("One part is {a} / {b} = {s}.\nTogether it is {s} + {c} = {r}.",)),
    _T(_more_total, ("{n} has {ao}. {m} has {b} more than {n}. How many {o} do {n} and {m} have together?",
                     "{n} sold {ao}, and {m} sold {b} more than {n} did. How many {o} did they sell in total?"),
       ("{m} has {a} + {b} = {so}.\nTogether they have {a} + {s} = {ro}.",)),
    _T(_fewer_total, ("{n} has {ao}. {m} has {b} fewer than {n}. How many {o} do they have in total?",
                      "{n} caught {a} fish and {m} caught {b} less. How many fish did the two catch?"),
       ("{m} has {a} - {b} = {s}.\nTogether they have {a} + {s} = {r}.",)),
    _T(_double, ("{n} has {ao}. {m} has twice as many as {n}. How many {o} do they have together?",
                 "{n} ran {a} minutes on Monday and twice as long on Tuesday. How many minutes did {he} run?"),
       ("The second number is 2 * {a} = {s}.\nThe total is {a} + {s} = {r}.",)),
    _T(_half, ("{n} has {ao}. {m} has half as many. How many {o} do the two have?",
               "A {x} sold {ao} in April and half as many in May. How many {o} did it sell in the two months?"),
       ("Half of {a} is {a} / 2 = {s}.\nThe total is {a} + {s} = {r}.",)),
    _T(_half_left_minus, ("{n} had {ao}. {He} sold half of them and gave {b} to {m}. How many {o} are left?",
                          "Half of {a} pupils went home, and later {b} more left. How many pupils are still there?"),
       ("Half of {a} is {a} / 2 = {s}, so {s} are left.\nThen {s} - {b} = {r} are left.",)),
    _T(_times, ("{m} has {ao} and {n} has {b} times as many. How many {o} do they have together?",
                "{n} is {b} times as old as {m}, who is {a}. What is the sum of their ages?"),
       ("{n}'s number is {b} * {a} = {s}.\nTogether it is {s} + {a} = {r}.",)),
    _T(_times, ("{m} has {ao} and {n} has {b} times as many. How many more {o} does {n} have?",),
       ("{n} has {b} * {a} = {so}.\nThat is {s} - {a} = {y} more.",), "y"),
    _T(_weeks, ("{n} drinks {b} glasses of water a day. How many glasses does {he} drink in {a} weeks?",
                "A hen farm gets {b} eggs each day. How many eggs does it get in {a} weeks?"),
       ("{a} weeks have {a} * 7 = {s} days.\nIn {s} days it is {s} * {b} = {r}.",)),
    _T(_weeks, ("How many days are {a} weeks?", "{n} is away for {a} weeks. How many days is that?"),
       ("A week has 7 days, so it is {a} * 7 = {s} days.",), "s"),
    _T(_clock, ("A film lasts {a} hours and {b} minutes. How many minutes is that?",
                "{n} studied for {a} hours and then {b} minutes more. For how many minutes did {he} study?"),
       ("{a} hours are {a} * 60 = {s} minutes.\nIn all it is {s} + {b} = {r} minutes.",)),
    _T(_dozens, ("{n} bought {a} dozen eggs and used {c} of them. How many eggs are left?",
                 "A baker made {a} dozen rolls and sold {c}. How many rolls did not sell?"),
       ("{a} dozen is {a} * 12 = {s}.\nLeft are {s} - {c} = {r}.",)),
    _T(_ages, ("{n} is {a} years old. {m} is {b} years younger. How old will {m} be in {c} years?",),
       ("{m} is {a} - {b} = {s} years old now.\nIn {c} years {m} will be {s} + {c} = {r}.",)),
    _T(_rectangle, ("A field is {a} meters long and {b} meters wide. How many meters is the fence around it?",
                    "What is the perimeter of a rectangle with sides {a} cm and {b} cm, in cm?"),
       ("One long and one short side make {a} + {b} = {s}.\nAll the way around it is 2 * {s} = {r}.",)),
    # Three steps.
    _T(_two_products, ("{n} buys {ao} at ${b} each and {cq} at ${e} each. How many dollars does {he} spend?",
                       "A ticket for an adult costs ${b} and one for a child costs ${e}. "
                       "How many dollars do {a} adults and {c} children pay?"),
       ("The first part costs {a} * ${b} = ${s}.\nThe second part costs {c} * ${e} = ${t}.\n"
        "The total is ${s} + ${t} = ${r}.",)),
    _T(_two_products, ("{n} has {ap} with {bo} in each, and {m} has {cp} with {eo} in each. "
                       "How many {o} do they have together?",
                       "{n} ran {b} miles on each of {a} days and {e} miles on each of {c} days. How far is it?"),
       ("First, {a} * {b} = {s}.\nSecond, {c} * {e} = {t}.\nTogether it is {s} + {t} = {r}.",)),
    _T(_sum_minus_minus, ("{n} had {ao} and found {b} more. {He} gave {c} to {m} and {e} to {k}. "
                          "How many {o} has {n} left?",
                          "A {x} has {ao} and gets {b}. It sells {c} one day and {e} the next. How many {o} remain?"),
       ("With the new ones there are {a} + {b} = {s}.\nThen there are {s} - {c} = {t}.\nIn the end {t} - {e} = {r}.",)),
    _T(_product_minus_quotient, ("{n} has {ap} of {bo}. {He} keeps {co} and shares the others equally among {eg}. "
                                 "How many {o} does each of the {g} get?",),
       ("{n} has {a} * {b} = {so}.\nTo share there are {s} - {c} = {to}.\nEach gets {t} / {e} = {ro}.",)),
)  # fmt: skip


def _one(number: int, seed: int) -> dict[str, str]:
    draw = _Draw(f"{seed}:{number}")
    template = draw.rng.choice(TEMPLATES)
    numbers = template.numbers(draw)
    if {"b", "c"} <= numbers.keys():
        numbers["u"] = numbers["b"] + numbers["c"]
    fields = draw.fields(numbers)
    problem = draw.rng.choice(template.problems).format(**fields)
    solution = draw.rng.choice(template.solutions).format(**fields)
    answer = fields[template.answer]
    solution = solution[0].upper() + solution[1:]
    return {"id": f"words-{seed}-{number}", "problem": problem, "answer": answer,
            "solution": f"{solution}\n#### {answer}"}  # fmt: skip


def word_problems(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Arithmetic word problems of one to three steps, with worked solutions.

    Args:
        count: How many; row ``i`` depends on ``seed`` and ``i`` alone, so a larger count only appends.
        seed: Equal seeds give equal rows.

    Yields:
        Rows with ``id``, ``problem``, ``answer`` (a non-negative whole number) and ``solution`` (one equation or two a
        line, the last one giving the answer, then ``#### answer``).
    """
    for number in range(count):
        yield _one(number, seed)
