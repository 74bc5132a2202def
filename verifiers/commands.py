r"""Commands of the grammar: fractions, roots, functions, series, matrices."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from colasearch.verifiers.lexer import FUNCTIONS, Undefined, Unreadable
from colasearch.verifiers.nodes import Node, plain_name, replaced, symbols

if TYPE_CHECKING:
    from colasearch.verifiers.grammar import Reader

WRAPPERS = frozenset({"overline", "vec", "hat", "bar", "angle", "triangle", "mathcal", "overrightarrow", "widehat"})
"""Commands that only decorate a name."""
_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log", "arcsinh": "arsinh", "arccosh": "arcosh",
    "arctanh": "artanh",
}  # fmt: skip
_SPELLED = {"binomial": "binom"}
"""Functions that LaTeX writes as commands and plain text with brackets."""


def command(reader: Reader, name: str) -> Node:
    """What a command stands for, with the arguments behind it.

    Raises:
        Unreadable: if the command is not known or its arguments do not fit.
    """
    name = _ALIASES.get(name, name)
    if name == "frac":
        top, bottom = reader.argument(), reader.argument()
        if top == ("sym", "d") and bottom[0] == "mul" and bottom[1] == top:
            raise Unreadable("a derivative")
        return ("div", top, bottom)
    if name in ("sqrt", "cbrt"):
        return _radical(reader, name)
    if name in ("pi", "infty"):
        return ("const", name)
    if name == "imath":
        return ("const", "i")
    if name in ("sum", "prod"):
        return _series(reader, name)
    if name == "binom":
        top = reader.argument()
        return ("fn", "binom", top, reader.argument())
    if name in ("lfloor", "lceil"):
        inner = reader.sum()
        reader.expect("r" + name[1:])
        return ("fn", name[1:], inner)
    if name in ("lvert", "vert"):
        return reader.between_bars("rvert" if name == "lvert" else "vert")
    if name == "boxed":
        return reader.argument()
    if name in WRAPPERS:
        return ("sym", f"{name}({plain_name(reader.argument())})")
    if name == "begin":
        return _environment(reader)
    if name in ("emptyset", "mathbb"):
        return ("set", ()) if name == "emptyset" else _number_set(reader)
    if name in FUNCTIONS:
        return _function(reader, name)
    raise Unreadable(f"\\{name} is not known")


def _series(reader: Reader, name: str) -> Node:
    """A sum or product over whole numbers; the product of factors behind it is what is added up."""
    reader.expect("_")
    reader.expect("{")
    variable = reader.take()
    if variable.kind != "sym":
        raise Unreadable("a series without a variable")
    reader.expect("=")
    low = reader.sum()
    reader.expect("}")
    reader.expect("^")
    high = reader.argument(whole_number=True)
    body = reader.term()
    if any(name.endswith(f"_{variable.text}") for name in symbols(body)):
        raise Undefined("the terms of the series are not known")
    if variable.text in ("i", "e"):  # here it counts, and is no constant
        body = replaced(body, ("const", variable.text), ("sym", variable.text))
    return ("series", name, variable.text, low, high, body)


def _number_set(reader: Reader) -> Node:
    letter = reader.argument()
    if letter == ("sym", "R"):
        infinity: Node = ("const", "infty")
        return ("group", "(", ")", (("neg", infinity), infinity))
    return ("sym", f"mathbb({plain_name(letter)})")


def _radical(reader: Reader, name: str) -> Node:
    degree: Node = ("num", Fraction(3 if name == "cbrt" else 2), None)
    if name == "sqrt" and reader.accept("["):
        degree = reader.sum()
        reader.expect("]")
    token = reader.peek()
    if token.text == "(" and token.kind == "op":
        return ("root", degree, reader.atom())
    # "\\sqrt 16" is what writers of plain text mean by the root of 16; "\\sqrt2x" is as in LaTeX.
    return ("root", degree, reader.argument(whole_number=token.spaced))


def _function(reader: Reader, name: str) -> Node:
    power: Node | None = None
    base: Node | None = None
    for _ in range(2):
        if reader.accept("^"):
            power = reader.argument(whole_number=True)
        elif name == "log" and reader.peek().text == "_":
            reader.take()
            base = reader.argument(whole_number=True)
    token = reader.peek()
    args: tuple[Node, ...]
    if token.text == "(" and token.kind == "op":
        inner = reader.atom()
        args = inner[3] if inner[0] == "group" else (inner,)
    elif token.text == r"\{" and name in ("min", "max"):
        args = reader.atom()[1]
    elif token.text == "{" and token.kind == "op":
        args = (reader.argument(),)
    else:
        args = (_bare_argument(reader),)
    if base is not None:
        args = (*args, base)
    if name in ("Rational", "Integer"):
        return _rational(args)
    name = _SPELLED.get(name, name)
    if power is not None and name in FUNCTIONS and power == ("neg", ("num", Fraction(1), None)):
        return ("fn", "arc" + name, *args)
    node: Node = ("fn", name, *args)
    return node if power is None else ("pow", node, power)


def _rational(args: tuple[Node, ...]) -> Node:
    """SymPy's ``Rational(3, 4)`` and ``Integer(3)``."""
    if len(args) not in (1, 2):
        raise Unreadable("a rational number has one part or two")
    return args[0] if len(args) == 1 else ("div", args[0], args[1])


def _bare_argument(reader: Reader) -> Node:
    r"""The argument of a function without brackets: factors side by side, as in ``\sin 2x``."""
    node = reader.factor()
    while True:
        token = reader.peek()
        simple = token.kind in ("num", "sym") or (token.kind == "cmd" and token.text in ("pi", "frac"))
        if simple:
            node = reader.juxtaposed(node, token)
        elif token.text == "/" and reader.peek(1).kind in ("num", "sym"):
            reader.take()
            node = ("div", node, reader.factor())
        else:
            return node


def _environment(reader: Reader) -> Node:
    name = _braced_name(reader)
    if name == "array":
        while reader.take().text != "}":
            pass
    if name not in ("matrix", "pmatrix", "bmatrix", "vmatrix", "smallmatrix", "array"):
        raise Unreadable(f"the environment {name} is not known")
    rows: list[tuple[Node, ...]] = []
    row: list[Node] = []
    while True:
        if reader.peek().text == "end":
            break
        row.append(reader.sum())
        if reader.accept(r"\\"):
            rows.append(tuple(row))
            row = []
        elif not reader.accept("&") and reader.peek().text != "end":
            raise Unreadable("a matrix with strange separators")
    reader.take()
    _braced_name(reader)
    if row:
        rows.append(tuple(row))
    if not rows or len({len(r) for r in rows}) != 1:
        raise Unreadable("a matrix with uneven rows")
    matrix: Node = ("matrix", tuple(rows))
    return ("fn", "det", matrix) if name == "vmatrix" else matrix


def _braced_name(reader: Reader) -> str:
    reader.expect("{")
    name = ""
    while reader.peek().text != "}":
        name += reader.take().text
    reader.take()
    return name
