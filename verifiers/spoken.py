r"""Amounts partly in words, brought to formulas: ``5 million dollars``, ``two thirds of the cake``, ``$18/day``.

Scale words (million, dozen), fraction words (thirds, a half) and operations (squared, factorial) are part of the value
and never a unit. What is left behind the value is its unit, set as ``\text{...}``. A text that does not fit from end to
end stays as it is.
"""

from __future__ import annotations

import re

from colasearch.verifiers.lexer import FUNCTIONS, GREEK, UNITS
from colasearch.verifiers.units import is_unit

MAX_CHARS = 120
"""A longer answer is no amount in words."""

_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
_TENS = re.findall(
    r"\w+",
    "twenty thirty forty fifty sixty seventy eighty ninety",
)
_CARDINALS = {word: n for n, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_SCALES = {
    "hundred": 100, "hundreds": 100, "thousand": 10**3, "thousands": 10**3, "million": 10**6, "millions": 10**6,
    "mil": 10**6, "mill": 10**6, "mn": 10**6, "billion": 10**9, "billions": 10**9, "bn": 10**9, "trillion": 10**12,
    "trillions": 10**12, "quadrillion": 10**15, "quintillion": 10**18, "dozen": 12, "dozens": 12,
    "doz": 12, "lakh": 10**5,
    "lakhs": 10**5, "crore": 10**7, "crores": 10**7,
}  # fmt: skip
LETTER_SCALES = {"bn": 10**9, "mn": 10**6, "k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "b": 10**9, "B": 10**9}
"""Letters that scale a number when they stand right behind it."""
_PARTS = {
    "half": 2, "third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "fifteenth": 15, "sixteenth": 16, "twentieth": 20, "hundredth": 100,
    "thousandth": 1000, "millionth": 10**6, "billionth": 10**9,
}  # fmt: skip
_PLURALS = {f"{word}s": n for word, n in _PARTS.items() if word != "half"} | {"halves": 2, "halfs": 2}
POWERS = {"squared": 2, "cubed": 3}
_ABOUT = frozenset(
    re.findall(
        r"\w+",
        "about approximately approx around roughly nearly almost exactly just only",
    )
)

_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_FRACTION = r"\\frac\s*(?:\{\s*\d+\s*\}|\d)\s*(?:\{\s*\d+\s*\}|\d)|\d+\s*/\s*\d+"
_NUMERAL = re.compile(
    rf"(?:(?:{_FRACTION})|(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?(?:\s+(?:{_FRACTION})|\\frac\s*"
    rf"(?:\{{\s*\d+\s*\}}|\d)\s*(?:\{{\s*\d+\s*\}}|\d))?|\.\d+)(?![\d.,^_!])"
)
_ONE_FRACTION = re.compile(_FRACTION)
_UNIT_WORDS = re.compile(
    r"[A-Za-z][A-Za-z' .-]*(?:\^\s*\{?\s*[23]\s*\}?)?(?:\s*/\s*[A-Za-z][A-Za-z .-]*(?:\^\s*\{?\s*[23]\s*\}?)?)?\.?"
)
_RATE = re.compile(
    r"(?P<unit>[A-Za-z][A-Za-z' -]*?)?\s*(?:/\s*|\b(?:per|an?|each|every)\s+)"
    r"(?P<per>(?:(?:square|cubic|sq|cu)\.?\s+)?[A-Za-z]+)(?:\s*\^\s*\{?\s*(?P<power>[23])\s*\}?)?"
)  # fmt: skip


class _Words:
    """A text of words and numerals, taken from its left end."""

    def __init__(self, text: str) -> None:
        self.rest = text.strip()

    def word(self) -> str:
        """The next word in lower case; empty in front of anything else."""
        match = re.match(r"[A-Za-z]+", self.rest)
        return match.group().lower() if match else ""

    def skip(self, word: str) -> None:
        """Take a word, and the blank, hyphen or comma behind it."""
        self.rest = re.sub(r"^(?:\s*-(?=[A-Za-z])|\s+)", "", self.rest[len(word) :])

    def take(self, *words: str) -> bool:
        """Take the next word if it is one of these."""
        word = self.word()
        if word and word in words:
            self.skip(word)
            return True
        return False

    def next_after(self, word: str) -> str:
        """The word behind the next one, which is ``word``."""
        ahead = _Words(self.rest)
        ahead.skip(word)
        return ahead.word()


def spoken(answer: str) -> str:
    """An amount in words as a formula with its unit; any other answer as it is."""
    if len(answer) > MAX_CHARS or not any(c.isalpha() for c in answer):
        return answer
    left, equals, right = answer.rpartition("=")
    if equals:  # x = 2 million
        return f"{left}= {spoken(right.strip())}" if left[-1:] not in tuple("<>!:=") else answer
    words = _Words(re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", answer)))
    worked = False
    while words.take(*_ABOUT):
        worked = True
    sign = "-" if words.take("minus", "negative") else ""
    if words.rest[:1] in ("-", "+"):
        if sign:
            return answer
        sign, words.rest = words.rest[0].replace("+", ""), words.rest[1:].lstrip()
    in_words = bool(words.word())
    value = _cardinal(words) if in_words else _numeral(words)
    if value is None:
        return answer
    before = words.rest
    value = _scaled(words, value)
    if re.fullmatch(r"\((?:[a-z]+|\d+)\)", words.rest, re.I):  # three (3)
        again = words.rest[1:-1].lower()
        words.rest = "" if str(_CARDINALS.get(again, again)) == value else words.rest
    worked |= in_words or words.rest != before
    unit = _unit(words.rest, worked)
    return answer if unit is None or not (worked or unit) else f"{sign}{value}{unit}"


def _numeral(words: _Words) -> str | None:
    """A number in digits at the start, as it is written."""
    match = _NUMERAL.match(words.rest)
    if match is None:
        return None
    after = words.rest[match.end() :]
    words.rest = after.lstrip()
    if words.rest.startswith("-") and re.match(r"-\s?[A-Za-z]{3}", words.rest):  # a 5-million project
        words.rest = words.rest[1:].lstrip()
    return re.sub(r"(\d),(?=\d{3})", r"\1", match.group()).strip()


def _cardinal(words: _Words) -> str | None:
    """A number in words at the start, or what a bare scale or part counts as: ``a dozen``, ``half``."""
    word = words.word()
    if word == "half":
        return "1"
    total = group = 0
    found = False
    if word in ("a", "an") and words.next_after(word) in _PARTS | _SCALES:
        words.skip(word)
        group, found = 1, True
    while True:
        word = words.word()
        if word in _CARDINALS and (not found or group % 100 == 0 or (group % 10 == 0 and _CARDINALS[word] < 10)):
            group += _CARDINALS[word]
        elif found and word in ("hundred", "thousand", "million", "billion", "trillion") and group:
            if word == "hundred":
                group *= 100
            else:
                total, group = total + group * _SCALES[word], 0
        elif not (found and word == "and" and words.next_after("and") in _CARDINALS and (total or group >= 100)):
            break
        found = True
        words.skip(word)
    if words.word() in _CARDINALS:  # seven eight
        return None
    return str(total + group) if found else None


def _scaled(words: _Words, value: str) -> str:
    """The value with the parts, scales and operations behind it."""
    value = _part(words, value)
    if words.word() == "and":
        value = _and_a_part(words, value)
    while words.word() in _SCALES:
        word = words.word()
        value = rf"{_bracketed(value)} \cdot {_SCALES[word]}"
        words.skip(word)
    if words.rest.lower() in POWERS:
        value = f"({value})^{{{POWERS[words.word()]}}}"
        words.rest = ""
    elif words.rest.lower() == "factorial":
        value, words.rest = f"({value})!", ""
    return value


def _part(words: _Words, value: str) -> str:
    """A fraction word behind a number: ``3 quarters``, ``one third``; a singular one only behind 1."""
    word = words.word()
    parts = _PARTS if value == "1" else _PLURALS
    if word not in parts or not re.fullmatch(r"[\d.]+", value):
        return value
    words.skip(word)
    words.take("of")
    words.take("a", "an", "the")  # half an hour, a quarter of a million
    return rf"\frac{{{value}}}{{{parts[word]}}}"


def _and_a_part(words: _Words, value: str) -> str:
    """``two and a half``, ``3 and three quarters``: a part in words behind a whole number."""
    ahead = _Words(words.rest)
    ahead.skip("and")
    counted = _cardinal(ahead) if ahead.word() else _numeral(ahead)
    if counted is None or not re.fullmatch(r"\d+", value):
        return value
    part = _part(ahead, counted)
    if part == counted:
        return value
    words.rest = ahead.rest
    return rf"({value} + {part})"


def _bracketed(value: str) -> str:
    return value if re.fullmatch(r"[\d.]+|\(.*\)", value) else f"({value})"


def _unit(rest: str, worked: bool) -> str | None:
    """What stands behind a value as its unit; ``None`` if it is more than a unit.

    Args:
        rest: The text behind the value.
        worked: The value was in words, so that whatever words follow are its unit.
    """
    rest = rest.strip().rstrip(".").strip()
    if not rest:
        return ""
    rest = re.sub(r"^of\s+(?:an?\s+|the\s+)?(?=[A-Za-z])", "", rest) if worked else rest
    rate = _RATE.fullmatch(rest)
    if rate is not None and _is_denominator(rate["per"]) and (rate["unit"] or "").strip() not in FUNCTIONS:
        unit = f"{rate['unit'] or ''} per {rate['per']}" + (f"^{rate['power']}" if rate["power"] else "")
        return rf" \text{{{unit.strip()}}}"
    if not worked or not _UNIT_WORDS.fullmatch(rest):
        return None
    words = re.findall(r"[a-z]+", rest.lower())
    if any(w in _CARDINALS or w in _SCALES or w in _PARTS or w in POWERS or w in _BREAKS for w in words):
        return None
    return rf" \text{{{rest}}}"


AMOUNT_WORDS = (
    frozenset(_SCALES) | frozenset(_PLURALS) | frozenset(_PARTS) | frozenset(("rds", "ths", "rd", "th", "nd"))
)
"""Words that are part of a value and never a unit."""
_BREAKS = frozenset(
    re.findall(
        r"\w+",
        "and or plus minus divided over less more than not but to factorial",
    )
)
"""Words behind which an amount goes on, or becomes another one."""


def _is_denominator(word: str) -> bool:
    last = word.split()[-1].lower()
    if is_unit(last) and len(last) > 1:
        return True
    return len(last) >= 3 and (last in UNITS or (last not in FUNCTIONS and last not in GREEK and len(last) >= 4))
