"""Left sides of equations: what they name, and equations that only a worker could read, taken apart first.

A left side is never dropped unread. Of two equations the left sides must be the same, spelled alike or worked out to be
so; then the right sides are compared. Where the gold answer is a mere value, a left side says what the value is of.
"""

from __future__ import annotations

import re

from colasearch.verifiers.nodes import Node, symbols

_CHAINED = re.compile(r"[<>=!:]|\\(?:le|ge|ne|lt|gt|approx|equiv|in|to|sim)(?![A-Za-z])")
_FUNCTIONS_OF_ANGLES = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp"))
COLLECTIONS = ("list", "set", "group", "union", "setop", "matrix")


def sides(text: str) -> tuple[str, str] | None:
    """First and last side of a tidied text that is an equation or a chain of them; ``None`` for anything else."""
    depth, cuts = 0, []
    for i, char in enumerate(text):
        depth += (char in "{([") - (char in "})]")
        if char == "=" and depth == 0:
            if text[i - 1 : i] in ("<", ">", "!", ":", "=") or text[i + 1 : i + 2] == "=":
                return None
            cuts.append(i)
        elif char in ",;" and depth == 0:
            return None
    if not cuts or depth:
        return None
    first, last = text[: cuts[0]].strip(), text[cuts[-1] + 1 :].strip()
    return (first, last) if first and last and not _CHAINED.search(last) else None


def is_name(node: Node) -> bool:
    """Whether a left side only names what is asked for: ``x``, ``f(x)``, ``AB``, ``(x, y)``, words."""
    if node[0] in ("sym", "text"):
        return True
    if node[0] == "mul":
        return all(is_name(n) for n in node[1:])
    if node[0] == "group":
        return all(is_name(n) for n in node[3])
    return node[0] in ("unit", "neg") and is_name(node[1])


def is_applied(node: Node) -> bool:
    """Whether a tree is a letter in front of what cannot be multiplied, as in ``P(X=2)`` or ``f(2, 3)``."""
    if node[0] != "mul" or node[1][0] != "sym":
        return False
    return node[2][0] in ("group", "rel", "setop", "union") or not symbols(node[2]) or is_applied(node[2])


def names_a_value(node: Node) -> bool:
    """Whether a left side names one value, without being an equation to solve: ``x``, ``f(3)``, ``|AB|``, a maximum."""
    if node[0] == "fn":
        return node[1] not in _FUNCTIONS_OF_ANGLES
    return is_name(node) or is_applied(node)


def states_value(first: Node, last: Node) -> bool:
    """Whether an equation states the value of its left side, rather than something that is still to be solved."""
    if names_a_value(first) or not symbols(first):
        return True
    if symbols(last) or (last[0] == "num" and last[1] == 0):  # an equation brought to one side
        return False
    return len(symbols(first)) > 1 or not _has_power(first)


def _has_power(node: Node) -> bool:
    """Whether a tree has a power or root, so that its equation has other solutions than one."""
    return node[0] in ("pow", "root") or any(
        isinstance(c, tuple) and bool(c) and isinstance(c[0], str) and _has_power(c) for c in node[1:]
    )
