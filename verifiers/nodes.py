r"""The syntax tree of an answer: nested tuples whose first member names the node.

("num", Fraction, decimals or None)   ("sym", name)        ("const", "pi" | "e" | "i" | "infty")
("add", a, b, ...)  ("mul", a, b, ...)  ("div", a, b)  ("pow", a, b)  ("neg", a)  ("pm", a, b)
("fn", name, a, ...)  ("root", n, a)  ("pct", a)  ("deg", a)
("trunc", Fraction, decimals)         a decimal with dots behind it: the rest is not written
("group", open, close, (items))       brackets with a comma inside: points, intervals
("set", (items))  ("list", (items))   braces; separated by commas without brackets
("rel", (operators), (sides))         ("union", a, b, ...)  ("setop", operator, a, b)
("matrix", ((row), ...))              ("text", words)       ("based", digits, base)
("unit", node, words)                 a quantity and its unit
("series", "sum" | "prod", variable, low, high, node)
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from colasearch.verifiers.lexer import Token, Unreadable

Node = tuple[Any, ...]


def number(token: Token) -> Node:
    """The node of a number: whole, decimal, scientific or with a repeating part."""
    text = token.text
    if token.kind == "repeat":
        head, _, cycle = text.partition("\\")
        whole, _, fixed = head.strip().partition(".")
        cycle = re.sub(r"\D", "", cycle)
        start = Fraction(int((whole or "0") + fixed), 10 ** len(fixed))
        return ("num", start + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(fixed)), None)
    if token.kind == "sci":
        mantissa, _, exponent = text.lower().partition("e")
        if abs(int(exponent)) > 400:
            raise Unreadable("the exponent is too large")
        decimals = max(0, len(mantissa.partition(".")[2]) - int(exponent))
        return ("num", Fraction(mantissa) * Fraction(10) ** int(exponent), decimals or None)
    if len(text) > 1000:
        raise Unreadable("the number is too long")
    whole, _, digits = text.partition(".")
    return ("num", Fraction(int((whole or "0") + digits), 10 ** len(digits)), len(digits) or None)


def symbols(node: Node) -> frozenset[str]:
    """Names of the variables in a tree."""
    if node[0] == "sym":
        return frozenset((node[1],))
    if node[0] == "series":
        return symbols(node[3]) | symbols(node[4]) | (symbols(node[5]) - {node[2]})
    found: frozenset[str] = frozenset()
    for child in node[1:]:
        if isinstance(child, tuple) and child and isinstance(child[0], str):
            found |= symbols(child)
        elif isinstance(child, tuple):
            for grandchild in child:
                if isinstance(grandchild, tuple) and grandchild:
                    found |= symbols(grandchild if isinstance(grandchild[0], str) else ("row", *grandchild))
    return found


def replaced(node: Node, old: Node, new: Node) -> Node:
    """A tree with each ``old`` in it replaced."""
    if node == old:
        return new
    return tuple(replaced(n, old, new) if isinstance(n, tuple) else n for n in node)


def applied_name(letter: Node, argument: Node) -> str | None:
    """The name of a letter in front of a number in brackets (``f(3)``): nothing is known of f, and it is no product."""
    negative = argument[0] == "neg"
    inner = argument[1] if negative else argument
    if inner[0] == "num":
        return f"{letter[1]}({'-' if negative else ''}{inner[1]})"
    if is_whole_fraction(inner):
        return f"{letter[1]}({'-' if negative else ''}{inner[1][1] / inner[2][1]})"
    if argument[0] == "sym" and argument[1].endswith(")"):  # f(g(2))
        return f"{letter[1]}({argument[1]})"
    return None


def is_whole_fraction(node: Node) -> bool:
    """Whether a node is a fraction of written numbers that has a value."""
    return bool(node[0] == "div" and node[1][0] == node[2][0] == "num" and node[2][1] != 0)


def is_proper(node: Node) -> bool:
    """Whether a node is a fraction of plain integers, below one: what can stand in a mixed number."""
    if node[0] != "div" or node[1][0] != "num" or node[2][0] != "num":
        return False
    return bool(node[1][2] is None and node[2][2] is None and 0 <= node[1][1] < node[2][1])


def mixed(left: Node, part: Node) -> Node:
    """The mixed number of a whole one and a proper fraction; the sign of the whole is the sign of both."""
    if left[0] == "neg":
        return ("neg", ("num", left[1][1] + part[1], None))
    return ("num", left[1] + part[1], None)


def plain_name(node: Node) -> str:
    """A tree as a mere name, for subscripts and the like."""
    return str(node[1]) if node[0] in ("num", "sym", "const", "text") else "".join(plain_name(n) for n in node[1:])
