"""Read an answer for comparison: tidied, squashed, and as a syntax tree with its arithmetic of sets carried out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from colasearch.verifiers.grammar import read
from colasearch.verifiers.lexer import TooCostly, Unreadable
from colasearch.verifiers.matrices import has_matrix, worked_out
from colasearch.verifiers.nodes import Node
from colasearch.verifiers.plain import parse_plain
from colasearch.verifiers.tidy import tidy

MAX_ANSWER_CHARS = 4096
"""A longer answer is not read."""
_NOTHING = re.compile(r"no(?:real)?(?:solutions?|roots?)|(?:the)?emptyset", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as read.

    Attributes:
        text: The tidied text.
        squashed: The text without spaces and fonts, for comparison letter by letter.
        node: Its syntax tree; ``None`` if it is outside the grammar.
        costly: It is inside the grammar, but working it out would cost too much.
    """

    text: str
    squashed: str
    node: Node | None
    costly: bool = False


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
    text = tidy(answer)
    plain = parse_plain(text)
    if plain is not None:
        number: Node = ("num", plain.value, plain.decimals)
        return Answer(text, squash(text), ("pct", number) if plain.percent else number)
    if _NOTHING.fullmatch(squash(text)):
        return Answer(text, squash(text), ("set", ()))
    try:
        node = _simplified(read(text))
    except Unreadable as error:
        return Answer(text, squash(text), None, isinstance(error, TooCostly))
    return Answer(text, squash(text), node)


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
