r"""Equality of a gold answer and a predicted one, decided in this process in bounded time.

``compare`` says equal, different, or undecided; the last is left to math-verify in a worker process. The rules for
what has several readings follow math-verify's, and are asymmetric as its are: the gold answer says what is asked for.

- ``x = 5`` answers a gold 5, and 5 a gold ``x = 5``; ``y = 5`` does not answer ``x = 5``.
- A percent sign may be a unit or a hundredth: ``10\%`` answers 10 and 0.1.
- Units are ignored, unless both sides give one and they differ.
- Lists without brackets are unordered; points are ordered; brackets of intervals count.
- A gold inequality may be answered by the interval that it describes, not the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from colasearch.verifiers.answer import MAX_ANSWER_CHARS, Answer, parse
from colasearch.verifiers.evaluate import sample_points
from colasearch.verifiers.lexer import TooCostly, Undefined, Unreadable
from colasearch.verifiers.nodes import Node, symbols
from colasearch.verifiers.scalar import equal_scalars, fingerprint, proportional
from colasearch.verifiers.sides import COLLECTIONS, is_name, names_a_value, sides, states_value
from colasearch.verifiers.units import conflicting_units, without_letter_units

MAX_LIST = 64
"""A longer list is compared in its written order only."""


def compare(gold: str, pred: str) -> bool | None:
    """Whether ``pred`` answers ``gold``; ``None`` when that is for math-verify to decide. Never raises."""
    g, p = parse(gold), parse(pred)
    if not p.squashed:
        return False
    if g.squashed == p.squashed:
        return True
    if len(g.text) > MAX_ANSWER_CHARS or len(p.text) > MAX_ANSWER_CHARS:
        return False
    if not _same_frame(g, p):
        return False
    if g.node is None or p.node is None:
        return False if g.costly or p.costly else _unread(g, p)
    try:
        if p.amount is not None and _is_number(g.node):
            return same(g.node, p.amount)
        if g.amount is not None and _is_number(p.node):
            return same(g.amount, p.node)
        return same(g.node, p.node)
    except (TooCostly, Undefined):
        return alike(g.node, p.node)
    except (ValueError, ArithmeticError, TypeError, LookupError, RecursionError):
        return None  # unreadable, or beyond what this grammar foresees: a worker may know better


def _same_frame(gold: Answer, pred: Answer) -> bool:
    """Whether moduli and what variables run over agree where both say so; ``n = 1`` is no congruence."""
    if gold.domain and pred.domain and gold.domain != pred.domain:
        return False
    if gold.moduli == pred.moduli:
        return True
    if gold.moduli and pred.moduli:
        return False
    other = pred if gold.moduli else gold
    congruence = gold if gold.moduli else pred
    return r"\equiv" not in congruence.text or ("=" not in other.text and r"\equiv" not in other.text)


def _is_number(node: Node) -> bool:
    """Whether a tree is a mere number, with or without a unit."""
    return node[0] not in (*COLLECTIONS, "rel", "text") and not symbols(node)


def for_worker(gold: str, pred: str) -> tuple[str, str]:
    """What is left for a worker of two answers that ``compare`` cannot decide: right sides, the left ones done."""
    texts = []
    for answer in (gold, pred):
        cut = sides(parse(answer).text)
        texts.append(cut[1] if cut else answer)
    return texts[0], texts[1]


def _unread(gold: Answer, pred: Answer) -> bool | None:
    """Two answers of which one is outside the grammar: their sides one by one where they are equations."""
    g, p = sides(gold.text), sides(pred.text)
    if g is None and p is None:
        return None
    if g is not None and p is not None and not _same_left(g[0], p[0]):
        return False
    if g is not None and p is None and (node := parse(g[0]).node) is not None and not names_a_value(node):
        return False
    if g is None and p is not None and not _left_may_go(*p):
        return False
    return compare(g[1] if g else gold.text, p[1] if p else pred.text)


def _same_left(gold: str, pred: str) -> bool:
    """Whether two left sides are spelled alike or worked out to be the same."""
    g, p = parse(gold), parse(pred)
    if g.squashed == p.squashed:
        return True
    return g.node is not None and p.node is not None and compare(gold, pred) is True


def _left_may_go(left: str, right: str) -> bool:
    """Whether a left side says what the right one is the value of; sums that are zero are equations to be solved."""
    first, last = parse(left).node, parse(right).node
    if first is not None and last is not None:
        return states_value(first, last)
    return last is None or last[0] != "num" or last[1] != 0 or not re.search(r"[-+]", left)


def alike(gold: Node, pred: Node) -> bool:
    """Equality of what has no value, or one too large to compute: the same operation on equal operands."""
    if gold[0] != pred[0] or len(gold) != len(pred):
        return False
    for a, b in zip(gold[1:], pred[1:], strict=True):
        if isinstance(a, tuple) and isinstance(b, tuple) and a and b and isinstance(a[0], str):
            try:
                if not (isinstance(b[0], str) and same(a, b)):
                    return False
            except (TooCostly, Undefined):
                if not alike(a, b):
                    return False
            except Unreadable:
                return False
        elif a != b:
            return False
    return True


_CHOICES = frozenset("ABCDE")


def same(gold: Node, pred: Node) -> bool:
    """Whether two trees are equal as answers.

    Raises:
        TooCostly: if a value is too large to compute.
        Unreadable: if they cannot be compared here.
    """
    if gold[0] == "unit" or pred[0] == "unit":
        return _same_with_units(gold, pred)
    if gold[0] == "rel" or pred[0] == "rel":
        return _same_relations(gold, pred)
    if gold[0] == "text" or pred[0] == "text":
        words = spelled(gold)
        return words is not None and words == spelled(pred)
    if gold[0] == "neg" and gold[1][0] == "based" and pred[0] == "neg":
        gold, pred = gold[1], pred[1]
    if gold[0] == "based" or pred[0] == "based":
        return _same_based(gold, pred)
    if gold[0] == "ratio" and pred[0] == "ratio" and len(gold) == len(pred):
        return all(same(a, b) for a, b in zip(gold[1:], pred[1:], strict=True)) or (
            len(gold) == 3 and equal_scalars(gold, pred)
        )
    if gold[0] in COLLECTIONS or pred[0] in COLLECTIONS:
        return _same_collections(gold, pred)
    if gold[0] == pred[0] == "sym" and gold[1].upper() == pred[1].upper() and gold[1].upper() in _CHOICES:
        return True
    return _same_scalars(gold, pred)


def spelled(node: Node) -> str | None:
    """The letters of words, or of variables side by side that may be a word (B, even); ``None`` for the rest."""
    if node[0] in ("text", "sym"):
        return re.sub(r"[^a-z0-9]+", "", node[1].lower())
    if node[0] == "const" and node[1] in ("e", "i"):
        return str(node[1])
    if node[0] == "group" and len(node[3]) == 1:
        return spelled(node[3][0])
    if node[0] == "mul":
        parts = [spelled(n) for n in node[1:]]
        return None if None in parts else "".join(p for p in parts if p)
    return None


def _same_with_units(gold: Node, pred: Node) -> bool:
    unit_g = gold[2] if gold[0] == "unit" else None
    unit_p = pred[2] if pred[0] == "unit" else None
    if unit_g and unit_p and conflicting_units(unit_g, unit_p):
        return False
    return same(gold[1] if unit_g is not None else gold, pred[1] if unit_p is not None else pred)


def _same_based(gold: Node, pred: Node) -> bool:
    """Numbers with a base: the digits count, so that 1011_2 is not answered by 11."""
    if gold[0] == "based" and pred[0] == "based":
        return bool(gold[1:] == pred[1:])
    digits, other = (gold[1], pred) if gold[0] == "based" else (pred[1], gold)
    return bool(other[0] == "num" and str(other[1]) == digits)


def _percent(node: Node) -> tuple[Node, bool]:
    if node[0] == "pct":
        return node[1], True
    if node[0] == "neg" and node[1][0] == "pct":
        return ("neg", node[1][1]), True
    return node, False


def _same_scalars(gold: Node, pred: Node) -> bool:
    g, g_percent = _percent(gold)
    p, p_percent = _percent(pred)
    if equal_scalars(g, p):
        return True
    if _drops_letter_unit(g, p) or _drops_letter_unit(p, g):
        return True
    hundred: Node = ("num", Fraction(100), None)
    if g_percent and not p_percent:
        return equal_scalars(("div", g, hundred), p)
    if p_percent and not g_percent:
        return equal_scalars(g, ("div", p, hundred))
    return False


def _drops_letter_unit(quantity: Node, number: Node) -> bool:
    """Whether one side is the other with units of one letter, which read as variables (``5 m/s``)."""
    value, unit = without_letter_units(quantity)
    return bool(unit) and not symbols(number) and not symbols(value) and equal_scalars(value, number)


def _same_collections(gold: Node, pred: Node) -> bool:
    kinds = (gold[0], pred[0])
    if kinds == ("group", "group"):
        if len(gold[3]) != len(pred[3]):
            return False
        points = {("(", ")"), ("[", "]")}  # of three or more coordinates, with either kind of bracket
        if gold[1:3] != pred[1:3] and (len(gold[3]) == 2 or not {gold[1:3], pred[1:3]} <= points):
            return False
        return _ordered(gold[3], pred[3])
    if kinds in (("list", "list"), ("list", "set"), ("set", "list"), ("set", "set")):
        return _unordered(gold[1], pred[1])
    if kinds == ("list", "group") or kinds == ("group", "list"):
        group = gold if gold[0] == "group" else pred
        members = (gold[3] if gold[0] == "group" else gold[1], pred[3] if pred[0] == "group" else pred[1])
        return group[1:3] == ("(", ")") and _ordered(*members)
    if kinds == ("matrix", "matrix"):
        if [len(r) for r in gold[1]] != [len(r) for r in pred[1]]:
            return False
        return all(_ordered(a, b) for a, b in zip(gold[1], pred[1], strict=True))
    if kinds == ("union", "union"):
        return _unordered(gold[1:], pred[1:])
    if kinds == ("setop", "setop"):
        return bool(gold[1] == pred[1]) and same(gold[2], pred[2]) and same(gold[3], pred[3])
    if gold[0] in ("set", "list") and len(gold[1]) == 1:
        return same(gold[1][0], pred)
    if pred[0] in ("set", "list") and len(pred[1]) == 1:
        return same(gold, pred[1][0])
    if pred[0] == "list" and gold[0] not in COLLECTIONS:  # one value said in several ways: 3/2 or 1.5
        return all(same(gold, n) for n in pred[1])
    if gold[0] == "list" and pred[0] == "union":
        intervals = [_interval(n) if n[0] == "rel" else n for n in gold[1]]
        return all(n is not None for n in intervals) and _unordered([n for n in intervals if n], pred[1:])
    if "union" in kinds or "setop" in kinds:
        raise Unreadable("sets that need working out")
    return False


def _ordered(gold: Sequence[Node], pred: Sequence[Node]) -> bool:
    return len(gold) == len(pred) and all(same(a, b) for a, b in zip(gold, pred, strict=True))


def _unordered(gold: Sequence[Node], pred: Sequence[Node]) -> bool:
    if len(gold) != len(pred):
        return False
    if len(gold) > MAX_LIST:
        return _ordered(gold, pred)
    left = list(pred)
    for item in gold:
        for i, other in enumerate(left):
            if same(item, other):
                del left[i]
                break
        else:
            return False
    return True


_ASCENDING = {"<": "<", "<=": "<=", ">": "<", ">=": "<="}


def is_equation(node: Node) -> bool:
    """Whether a tree is an equation or a chain of them."""
    return node[0] == "rel" and all(op in ("=", "~", "==") for op in node[1])


def _same_relations(gold: Node, pred: Node) -> bool:
    if gold[0] == "rel" == pred[0] and gold[1] == pred[1] == ("in",):
        return _name(gold[2][0]) == _name(pred[2][0]) and same(gold[2][1], pred[2][1])
    if gold[0] == "rel" and gold[1] == ("in",):
        gold = gold[2][1]
    if pred[0] == "rel" and pred[1] == ("in",):
        pred = pred[2][1]
    if gold[0] != "rel" and pred[0] != "rel":
        return same(gold, pred)
    if gold[0] != "rel":
        return _answers_value(gold, pred)
    if pred[0] != "rel":
        if is_equation(gold):
            first = gold[2][0]
            if not names_a_value(first) and (symbols(first) or first[0] in COLLECTIONS):
                return False
            return same(gold[2][-1], pred) or (gold[1][-1] == "~" and same(gold[2][-2], pred))
        interval = _interval(gold)
        return interval is not None and pred[0] in COLLECTIONS and same(interval, pred)
    if is_equation(gold) and is_equation(pred):
        return _same_equations(gold, pred)
    return _same_inequalities(gold, pred)


def _answers_value(gold: Node, pred: Node) -> bool:
    """A predicted relation against a gold value: its last side counts if the first is a name or a computation."""
    if not is_equation(pred):
        return False
    first = pred[2][0]
    if first[0] in COLLECTIONS and not is_name(first):
        return False
    if symbols(first) - symbols(gold) and not states_value(first, pred[2][-1]):
        return False
    if same(gold, pred[2][-1]):
        return True
    if len(pred[2]) == 2 and is_name(pred[2][1]) and not symbols(first):  # "20 = A"
        return same(gold, first)
    # "22/7 = 3.14..." rounded at its end: the side before the sign of approximation is exact.
    return pred[1][-1] == "~" and same(gold, pred[2][-2])


def _same_equations(gold: Node, pred: Node) -> bool:
    first_g, last_g, first_p, last_p = gold[2][0], gold[2][-1], pred[2][0], pred[2][-1]
    if first_g == first_p or (is_name(first_g) and is_name(first_p) and _name(first_g) == _name(first_p)):
        return same(last_g, last_p)
    if not symbols(gold) and not symbols(pred):  # 2/3 ~ 0.67 says its two sides, nothing can be solved
        sides_p = (first_p, last_p)
        return all(same(g, p) for g, p in zip((first_g, last_g), sides_p, strict=True)) or all(
            same(g, p) for g, p in zip((last_g, first_g), sides_p, strict=True)
        )
    try:
        difference_g: Node = ("add", first_g, ("neg", last_g))
        difference_p: Node = ("add", first_p, ("neg", last_p))
        points = sample_points(difference_g, difference_p)
        a, b = fingerprint(difference_g, points), fingerprint(difference_p, points)
    except TooCostly:
        raise
    except Unreadable:
        return same(first_g, first_p) and same(last_g, last_p)
    if symbols(gold[2][0]) | symbols(last_g) != symbols(first_p) | symbols(last_p) or all(v == 0 for v in a):
        return all(same(x, y) for x, y in ((first_g, first_p), (last_g, last_p)))
    return proportional(a, b, positive=False)


def _name(node: Node) -> str:
    """A name for comparison; an arrow over a letter is left to the writer."""
    return re.sub(r"(?:vec|overrightarrow)\((\w+)\)", r"\1", repr(node))


def _ascending(node: Node) -> Node | None:
    """An inequality or chain of them, read from its smaller end; ``None`` if its signs point both ways."""
    operators, sides = node[1], node[2]
    if all(op in ("<", "<=") for op in operators):
        return node
    if all(op in (">", ">=") for op in operators):
        return ("rel", tuple(_ASCENDING[op] for op in reversed(operators)), tuple(reversed(sides)))
    return None


def _interval(node: Node) -> Node | None:
    """The interval that an inequality in one variable describes."""
    chain = _ascending(node)
    if chain is None:
        return None
    operators, sides = chain[1], chain[2]
    infinity: Node = ("const", "infty")
    if len(sides) == 3 and sides[1][0] == "sym":
        low, high = sides[0], sides[2]
        closed = operators
    elif len(sides) == 2 and sides[0][0] == "sym":
        low, high, closed = ("neg", infinity), sides[1], ("<", operators[0])
    elif len(sides) == 2 and sides[1][0] == "sym":
        low, high, closed = sides[0], infinity, (operators[0], "<")
    else:
        return None
    return ("group", "[" if closed[0] == "<=" else "(", "]" if closed[1] == "<=" else ")", (low, high))


def _same_inequalities(gold: Node, pred: Node) -> bool:
    if gold[1] == ("!=",) or pred[1] == ("!=",):
        return gold[1] == pred[1] and _same_equations(gold, pred)
    g, p = _ascending(gold), _ascending(pred)
    if g is None or p is None or g[1] != p[1]:
        return bool(gold[1] == pred[1]) and _ordered(gold[2], pred[2])
    if len(g[1]) == 1:
        difference_g: Node = ("add", g[2][1], ("neg", g[2][0]))
        difference_p: Node = ("add", p[2][1], ("neg", p[2][0]))
        points = sample_points(difference_g, difference_p)
        return proportional(fingerprint(difference_g, points), fingerprint(difference_p, points), positive=True)
    return _ordered(g[2], p[2])
