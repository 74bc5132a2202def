r"""Equations that a text states between numbers: is one of them false? Needs no gold answer.

``32 - 9 = 25`` in the middle of a solution is wrong whatever the problem, so a search may give up the text there, and
a vote may leave it out. Only what is surely a whole equation between plain numbers is judged; everything else passes:
variables, units inside an expression, powers, a number that may go on, an expression that words around it may be part
of (``half of 10 + 4 = 9``). So a text that passes is not thereby right.

``false_equation`` of a text that is still being written judges what later text cannot change: if a beginning is
refuted, so is every continuation.

Trade-offs, each in favour of passing: a result may be rounded up or down to the digits that it is given with; a percent
sign may count or not; money may change between dollars and cents; ``3 + 4 = 7 + 2 = 9``, meant as one step after
another, passes; two divisions in a row (``6 / 1/2``) are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 30
"""A longer number is not judged."""
MAX_TOKENS = 64
"""A longer side of an equation is not judged."""
LONGEST_RESULT = 40
"""Characters at a text's end in which the equals sign of a result is looked for."""

_LEXER = re.compile(
    r"(?P<number>(?:\\?[$€£]\s?)?(?:\d+(?:,\d+)*(?:\.\d+)?|\.\d+)(?:\\?%)?)"
    r"|(?P<relation>[<>!=~]=+|=[=<>]+|[<>≤≥≠≈≡])"
    r"|(?P<equals>=)"
    r"|(?P<operator>[-+*/×÷·−]|\\times\b|\\cdot\b|\\div\b)"
    r"|(?P<open>\()|(?P<close>\))"
    r"|(?P<word>[^\W\d_]+)"
    r"|(?P<end>\n|[.,;?\"'])"
    r"|(?P<other>\S)"
)
_RESULT = re.compile(r"=[^\S\n]*\\?[$€£]?[^\S\n]*(?P<shown>[\d.,]*)\Z")
_SIGNS = {"×": "*", "\\times": "*", "\\cdot": "*", "·": "*", "x": "*", "X": "*", "÷": "/", "\\div": "/", "−": "-"}
# Words that make the expression after them part of something larger: "half of 10 + 4", "twice 3 + 4", "5 minus 3 * 2".
_JOINING = frozenset({
    "and", "average", "between", "by", "difference", "double", "from", "half", "less", "mean", "minus", "mod", "more",
    "negative", "of", "or", "over", "percent", "plus", "point", "product", "quarter", "quotient", "root", "square",
    "sum", "than", "third", "thrice", "times", "to", "triple", "twice",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Number:
    value: Fraction
    decimals: int
    percent: bool


class _Unread(Exception):
    """This is no plain expression, or too large a one."""


def false_equation(text: str, *, complete: bool = True, start: int = 0) -> str | None:
    """The first false equation in ``text``, as it is written; None if there is none.

    Args:
        text: A solution, or its beginning.
        complete: Whether the text ends here. Otherwise an equation that later text could make another one passes.
        start: As ``settled`` gave it for a beginning of this text in which no equation was false: nothing before is
            looked at.
    """
    if text.find("=", start) < 0:
        return None
    tokens = _tokens(text, start)
    for at, token in enumerate(tokens):
        if token.kind != "equals":
            continue
        left, right = _left(tokens, at), _right(tokens, at, None if complete else len(text))
        if left is None or right is None:
            continue
        try:
            if not _agree(left, right):
                return " ".join(text[left[0].begin : right[-1].end].split())
        except _Unread:
            continue
    return None


def settled(text: str, start: int, final: int) -> int:
    """Where looking at what follows ``text`` may begin: the equations before are judged, and none needs what precedes.

    Args:
        text: A solution's beginning in which ``false_equation(text, complete=False, start=start)`` finds nothing.
        start: The place to begin from so far.
        final: Characters that stay as they are whatever follows; the last ones may be half a character.

    Returns:
        The beginning of a token that is part of no expression; or, within an expression longer than any that is judged,
        of one so far from its end that this can still be told. ``start`` where there is none.
    """
    tokens = _tokens(text, start)
    run = 0  # tokens of an expression from here on
    for i in range(len(tokens) - 1, -1, -1):
        token = tokens[i]
        part = token.kind in _PARTS
        run = run + 1 if part else 0
        if token.end >= final or not _ends_here(text, token):
            continue
        if (token.kind in ("word", "end") and token.text not in ("x", "X")) or run > 2 * MAX_TOKENS:
            return max(start, token.begin)
    return start


def _ends_here(text: str, token: _Token) -> bool:
    """Whether a token, and all before it, is the same whatever follows: it ends at a blank that nothing reaches over.

    Only a currency sign and its number may have a blank between them.
    """
    if token.text == "\n":
        return text[token.begin - 1 : token.begin] not in tuple("$€£")
    return token.text[-1] not in "\\$€£" and text[token.end].isspace()


def infeasible_result(text: str, *, start: int = 0) -> bool:
    """Whether ``text`` ends within an equation's result that cannot become the right number.

    What ``false_equation`` will say, a few tokens earlier, except that an equation whose right side is an expression
    (``3 + 4 = 2 + 5``) counts as infeasible: to be used for leaving out what is not worth trying, not for marking.
    """
    match = _RESULT.search(text[-LONGEST_RESULT:])
    if match is None or not match["shown"]:
        return False
    tokens = _tokens(text, start)
    at = max((i for i, token in enumerate(tokens) if token.kind == "equals"), default=None)
    left = None if at is None else _left(tokens, at)  # "a == 3" has a relation, and no equals sign
    if left is None:
        return False
    try:
        values = {_value(left, percent) for percent in (True, False)}
    except _Unread:
        return False
    if "$" in text[-LONGEST_RESULT:]:
        values |= {value * 100 for value in values} | {value / 100 for value in values}
    return not any(_begins(match["shown"], value) for value in values)


def _begins(shown: str, value: Fraction) -> bool:
    """Whether the digits ``shown`` can be the beginning of ``value``, exact or rounded up or down."""
    if value < 0:
        return False
    whole, point, decimals = shown.replace(",", "").partition(".")
    if not point:
        least = int(value)
        return any(str(number).startswith(whole) for number in {least, least + (value.denominator != 1)})
    if decimals and not decimals.isdigit():
        return True  # no number: nothing is said of it
    unit = Fraction(1, 10 ** len(decimals))
    digits = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    # Further digits add less than a unit of the last one; rounding up may have taken it one too high.
    return digits - unit < value < digits + unit or value == digits


def in_result(text: str) -> bool:
    """Whether ``text`` ends within what an equation is to give: after ``=``, or in the number after it."""
    return _RESULT.search(text[-LONGEST_RESULT:]) is not None


def _tokens(text: str, start: int) -> list[_Token]:
    found: list[_Token] = []
    for match in _LEXER.finditer(text, start):
        kind, piece = str(match.lastgroup), match.group()
        if kind == "word" and piece in ("x", "X") and found and found[-1].kind in ("number", "close"):
            kind = "operator"  # 3 x 4; in "3 x = 12" the expression then ends in an operator and is not judged
        found.append(_Token(kind, piece, match.start(), match.end()))
    return found


_PARTS = ("number", "operator", "open", "close")


def _left(tokens: Sequence[_Token], at: int) -> Sequence[_Token] | None:
    """The expression before the equals sign, if it surely begins where it seems to."""
    begin = at
    while begin and tokens[begin - 1].kind in _PARTS:
        begin -= 1
    side = tokens[begin:at]
    if not any(token.kind == "operator" for token in side[1:]):
        return None
    if begin == 0 or tokens[begin - 1].kind == "equals":
        return side
    before = tokens[begin - 1]
    if before.kind == "end":
        # "1.5" after a letter, or "...": what stands before the mark belongs to it.
        marks = before.text in ".," and before.end == side[0].begin
        return None if marks else side
    if before.text in (":", "<", ">", "$", "["):
        # "Total: 3 + 4 = 7" and "<<3+4=7>>", but not "2:30 - 1:15 = 1:15".
        return None if before.text == ":" and before.end == side[0].begin else side
    if before.kind != "word" or before.text.lower() in _JOINING or before.end == side[0].begin:
        return None
    return side if side[0].kind in ("number", "open") else None


def _right(tokens: Sequence[_Token], at: int, length: int | None) -> Sequence[_Token] | None:
    """The expression after the equals sign, if it surely ends where it seems to; ``length`` of an unfinished text."""
    end = at + 1
    while end < len(tokens) and tokens[end].kind in _PARTS:
        end += 1
    side = tokens[at + 1 : end]
    if not side:
        return None
    if end == len(tokens):
        return side if length is None else None
    after = tokens[end]
    if length is not None and after.end >= length and after.text != "\n" and not _whole_word(after):
        return None  # the next character could make it another token
    if after.kind == "end" or after.kind == "equals":
        return side
    if after.kind == "word":
        glued = after.begin == side[-1].end
        return None if glued or after.text.lower() in _JOINING else side
    return side if after.text in (">", "$", "]") else None


def _whole_word(token: _Token) -> bool:
    """Whether a word at the end of an unfinished text means the same however it goes on."""
    return token.kind == "word" and not any(word.startswith(token.text.lower()) for word in ("x", *_JOINING))


def _agree(left: Sequence[_Token], right: Sequence[_Token]) -> bool:
    first = _number(right[0]) if right[0].kind == "number" else None
    money = any(token.text[0] in "\\$€£" for token in (*left, right[0]) if token.kind == "number")
    for percent in (True, False):
        value = _value(left, percent)
        if first is not None:
            if _rounds_to(value, first.value, first.decimals):
                return True
            if first.percent and _rounds_to(value, first.value / 100, first.decimals + 2):
                return True
            if money and first.value in (value * 100, value / 100):
                return True
        if len(right) > 1:
            other = _value(right, percent)
            whole = value.denominator == 1 and other.denominator == 1
            if value == other or (not whole and 100 * abs(value - other) <= max(Fraction(1), abs(other))):
                return True
    return False


def _rounds_to(value: Fraction, shown: Fraction, decimals: int) -> bool:
    """Whether ``value`` is ``shown``, or becomes it by rounding, up or down, to so many decimals."""
    if value == shown:
        return True
    unit = Fraction(1, 10**decimals)
    return (value / unit).denominator != 1 and abs(value - shown) < unit


def _number(token: _Token) -> _Number:
    text = token.text.lstrip("\\$€£ \t").rstrip("%\\")
    whole, _, fraction = text.partition(".")
    if "," in whole:
        head, *groups = whole.split(",")
        if not 1 <= len(head) <= 3 or any(len(group) != 3 for group in groups):
            raise _Unread
    digits = whole.replace(",", "") + fraction
    if len(digits) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0"):
        raise _Unread  # 0930 is a time
    return _Number(Fraction(int(digits), 10 ** len(fraction)), len(fraction), token.text.endswith("%"))


def _value(side: Sequence[_Token], percent: bool) -> Fraction:
    """The value of an expression; with ``percent``, a percent sign divides by 100.

    Raises:
        _Unread: It is no whole expression, too large, divides by zero, or twice in a row.
    """
    if len(side) > MAX_TOKENS:
        raise _Unread
    place = 0

    def peek() -> str:
        return "" if place == len(side) else _SIGNS.get(side[place].text, side[place].text)

    def factor() -> Fraction:
        nonlocal place
        if place == len(side):
            raise _Unread
        token = side[place]
        place += 1
        if token.kind == "number":
            number = _number(token)
            return number.value / 100 if number.percent and percent else number.value
        if token.kind == "open":
            inner = total()
            if peek() != ")":
                raise _Unread
            place += 1
            return inner
        raise _Unread

    def term() -> Fraction:
        nonlocal place
        value = factor()
        before = ""
        while (sign := peek()) in ("*", "/"):
            place += 1
            other = factor()
            if sign == "/" and (not other or before == "/"):
                raise _Unread
            before = sign
            value = value * other if sign == "*" else value / other
        return value

    def total() -> Fraction:
        nonlocal place
        negative = peek() == "-"
        place += negative
        value = -term() if negative else term()
        while (sign := peek()) in ("+", "-"):
            place += 1
            other = term()
            value = value + other if sign == "+" else value - other
        return value

    value = total()
    if place != len(side):
        raise _Unread
    return value
