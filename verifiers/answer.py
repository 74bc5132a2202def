"""Read an answer for comparison: tidied, squashed, and as a syntax tree with its arithmetic of sets carried out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from colasearch.verifiers.grammar import read
from colasearch.verifiers.lexer import TooCostly, Undefined, Unreadable
from colasearch.verifiers.matrices import has_matrix, worked_out
from colasearch.verifiers.nodes import Node
from colasearch.verifiers.plain import parse_plain
from colasearch.verifiers.spoken import LETTER_SCALES
from colasearch.verifiers.tidy import tidy

MAX_ANSWER_CHARS = 4096
"""A longer answer is not read."""
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_MODULUS = re.compile(r"\\[pb]?mod(?![A-Za-z])\s*(\{[^{}]*\}|[A-Za-z0-9]+)")
_DOMAIN = re.compile(
    r"(?:[,;(]|\\text\s*\{\s*,?\s*(?:where|for|with|and)[^{}]*\}|(?:where|for|with)(?![A-Za-z]))[\s(]*(?:\\text\s*\{[^{}]*\}\s*)?"
    r"(?P<name>[A-Za-z])\s*\\in\s*(?P<set>\\mathbb\{[A-Z]\}(?:[_^]\{?[^{}\s]{1,4}\}?)?)[\s)]*"
    r"(?:\\text\s*\{\s*(?:any|an)?\s*integers?\s*\})?$"
)
_SCALED = re.compile(r"(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)(?P<letter>bn|mn|[kKmMbB]|\{[A-Za-z]\})")
_AND_PART = re.compile(
    r"(?P<whole>-?\d+)\s*(?:and|\\text\s*\{\s*and\s*\})\s*(?P<part>\d+\s*/\s*\d+|\\frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\})"
)
_NOTHING = re.compile(r"no(?:real)?(?:solutions?|roots?)|(?:the)?emptyset", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    r"""An answer as read.

    Attributes:
        text: The tidied text.
        squashed: The text without spaces and fonts, for comparison letter by letter.
        node: Its syntax tree; ``None`` if it is outside the grammar.
        costly: It is inside the grammar, but has no value that can be worked out, here or in a worker.
        amount: What it says where a number is asked for, if that is another reading (``5M``, ``3 and 1/2``).
        moduli: What its remainders are taken by.
        domain: What a variable runs over, as said behind the answer (``k \in \mathbb{Z}``).
    """

    text: str
    squashed: str
    node: Node | None
    costly: bool = False
    amount: Node | None = None
    moduli: frozenset[str] = frozenset()
    domain: str = ""


def squash(text: str) -> str:
    """A tidied text without spaces, fonts and outer full stops."""
    text = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d) (?=\d)", "_", text)  # 1 2 is not 12
    text = re.sub(r"\s+|\\text(?![A-Za-z])", "", text).strip(".")
    return re.sub(r"\{([A-Za-z0-9])\}", r"\1", text)


@lru_cache(maxsize=8192)
def parse(answer: str) -> Answer:
    """Read an answer; never raises."""
    if len(answer) > MAX_ANSWER_CHARS:
        return Answer(answer, answer, None)
    if _DIGITS.fullmatch(answer):  # the commonest answer of all needs no tidying
        return Answer(answer, answer, ("num", Fraction(int(answer)), None))
    text = tidy(answer)
    plain = parse_plain(text)
    if plain is not None:
        number: Node = ("num", plain.value, plain.decimals)
        return Answer(text, squash(text), ("pct", number) if plain.percent else number)
    if _NOTHING.fullmatch(squash(text)):
        return Answer(text, squash(text), ("set", ()))
    whole = squash(text)
    text, domain = _without_domain(text)
    moduli = frozenset(squash(m.strip("{} ")) for m in _MODULUS.findall(text))
    node, costly = _node(text)
    return Answer(text, whole, node, costly, _amount(text), moduli, domain)


def _node(text: str) -> tuple[Node | None, bool]:
    """The syntax tree of a tidied text, or ``None`` and whether nothing else can find a value either."""
    try:
        return _simplified(read(text)), False
    except Unreadable as error:
        return None, isinstance(error, TooCostly | Undefined)


def _without_domain(text: str) -> tuple[str, str]:
    r"""A text without what it says at its end about a variable in it: ``n = 3k, k \in \mathbb{N}``."""
    match = _DOMAIN.search(text)
    if match is None or not re.search(
        rf"(?<![A-Za-z\\]){match['name']}(?![A-Za-z])|\d{match['name']}", text[: match.start()]
    ):
        return text, ""
    return text[: match.start()].rstrip(" ,;"), squash(match["set"])


def _amount(text: str) -> Node | None:
    """The number that ``5M``, ``12k`` or ``3 and 1/2`` is where a number is asked for; ``None`` for other texts."""
    scaled = _SCALED.fullmatch(text)
    if scaled is not None:
        letter = scaled["letter"].strip("{}")
        scale = LETTER_SCALES.get(letter)
        return _node(f"{scaled['number']} \\cdot {scale}")[0] if scale and scaled["number"] else ("sym", letter)
    both = _AND_PART.fullmatch(text)
    return _node(f"{both['whole']} {both['part']}")[0] if both else None


def _simplified(node: Node) -> Node:
    """Write out plus-minus as two values."""
    if node[0] in ("list", "set"):
        flat: list[Node] = []
        for item in node[1]:
            simple = _simplified(item)
            flat.extend(simple[1] if simple[0] == "list" else [simple])
        return (node[0], tuple(flat))
    if node[0] == "rel" and node[1] == ("=",):
        right = _simplified(node[2][1])
        if right[0] == "list":
            return ("list", tuple(("rel", ("=",), (node[2][0], value)) for value in right[1]))
    if has_matrix(node):
        return worked_out(node)
    if _has_plus_minus(node):
        plus, minus = _choose(node, 1), _choose(node, -1)
        return ("list", (plus, minus))
    return node


def _has_plus_minus(node: Node) -> bool:
    if node[0] == "pm":
        return True
    if node[0] == "group":
        return any(_has_plus_minus(n) for n in node[3])
    return node[0] in ("add", "mul", "div", "neg", "pow", "fn", "root") and any(
        isinstance(n, tuple) and _has_plus_minus(n) for n in node[1:]
    )


def _choose(node: Node, sign: int) -> Node:
    if node[0] == "pm":
        right = _choose(node[2], sign)
        return ("add", _choose(node[1], sign), right if sign > 0 else ("neg", right))
    if node[0] == "group":
        return (*node[:3], tuple(_choose(n, sign) for n in node[3]))
    if node[0] in ("add", "mul", "div", "neg", "pow", "fn", "root"):
        return (node[0], *(_choose(n, sign) if isinstance(n, tuple) else n for n in node[1:]))
    return node
