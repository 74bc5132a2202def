r"""Read an answer into a small syntax tree, without sympy and without running anything.

Nodes are tuples whose first member names them:

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

What the grammar does not cover raises ``Unreadable``. Depth and number of nodes are bounded, so reading is too.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from colasearch.verifiers.lexer import FUNCTIONS, Token, TooCostly, Unreadable, tokenize

Node = tuple[Any, ...]

MAX_DEPTH = 40
"""Deepest nesting that is read."""

_RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "lt": "<", "gt": ">", "approx": "~", "sim": "~",
    "equiv": "==", "in": "in", "to": "to", "rightarrow": "to",
}  # fmt: skip
_TIMES = frozenset({"cdot", "times", "ast"})
_WRAPPERS = frozenset({"overline", "vec", "hat", "bar", "angle", "triangle", "mathcal", "overrightarrow", "widehat"})
_OPEN = {"(": ")", "[": "]"}
_END = Token("end", "")
_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log", "arcsinh": "arsinh", "arccosh": "arcosh",
    "arctanh": "artanh",
}  # fmt: skip


class _Reader:
    """Recursive descent over the tokens; each method reads one level of precedence."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else _END

    def take(self) -> Token:
        token = self.peek()
        if token is _END:
            raise Unreadable("the answer ends too early")
        self.at += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        token = self.peek()
        if token.kind in ("op", "cmd", "sep") and token.text in texts:
            self.at += 1
            return token
        return None

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise Unreadable(f"{self.peek().text!r} where {text!r} should stand")

    def items(self) -> list[Node]:
        """Members of a list up to what closes it."""
        found = [self.relation()]
        while True:
            separated = False
            while self.accept(",", ";", "and", "or"):
                separated = True
            if not separated or self.peek() is _END or self.peek().text in (")", "]", r"\}"):
                return found
            found.append(self.relation())

    def relation(self) -> Node:
        self.accept("approx", "sim", "=")
        sides, operators = [self.union()], []
        while True:
            token = self.peek()
            if token.kind in ("op", "cmd") and token.text in _RELATIONS:
                self.take()
                operators.append(_RELATIONS[token.text])
                sides.append(self.union())
            else:
                break
        return ("rel", tuple(operators), tuple(sides)) if operators else sides[0]

    def union(self) -> Node:
        node = self.quantity()
        parts = [node]
        while token := self.accept("cup", "cap", "setminus", "backslash"):
            right = self.quantity()
            if token.text == "cup":
                parts.append(right)
            else:
                parts = [("setop", token.text, parts[0] if len(parts) == 1 else ("union", *parts), right)]
        return parts[0] if len(parts) == 1 else ("union", *parts)

    def quantity(self) -> Node:
        """A sum, and the unit behind it."""
        if self.peek().kind == "text":
            return self.words()
        node = self.sum()
        if self.peek().kind == "text":
            return ("unit", node, self.words()[1])
        if self.accept("pmod"):
            return ("unit", node, f"mod {_plain_name(self.argument(whole_number=True))}")
        return node

    def words(self) -> Node:
        """Words, with the powers and strokes of compound units (``cm^2``, ``km/h``)."""
        parts: list[str] = []
        if self.peek(1).text == "_" and self.peek(1).kind == "op":
            digits = self.take().text  # \text{A5}_{11}
            self.take()
            base = self.argument(whole_number=True)
            return ("based", digits, int(base[1])) if base[0] == "num" else ("sym", f"{digits}_{_plain_name(base)}")
        while True:
            token = self.peek()
            if token.kind == "text":
                parts.append(self.take().text)
            elif token.text == "^" and parts:
                self.take()
                power = self.argument()
                if power[0] != "num":
                    raise Unreadable("a word with a strange power")
                parts.append(f"^{power[1]}")
            elif token.text == "/" and parts and self.peek(1).kind in ("text", "sym"):
                self.take()
                parts.append("per " + self.take().text)
            elif token.kind == "sym" and parts and self.peek(1).kind in ("end", "text"):
                parts.append(self.take().text)
            else:
                break
        return ("text", " ".join(parts))

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooCostly(f"nested deeper than {MAX_DEPTH}")
        signed = self.accept("pm", "mp")
        terms: list[Node] = [("pm", ("num", Fraction(0), None), self.term()) if signed else self.term()]
        while sign := self.accept("+", "-", "pm", "mp"):
            right = self.term()
            if sign.text in ("pm", "mp"):
                left: Node = terms[0] if len(terms) == 1 else ("add", *terms)
                terms = [("pm", left, right if sign.text == "pm" else ("neg", right))]
            else:
                terms.append(right if sign.text == "+" else ("neg", right))
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def term(self) -> Node:
        node = self.factor()
        while True:
            token = self.peek()
            if (token.kind == "op" and token.text == "*") or (token.kind == "cmd" and token.text in _TIMES):
                self.take()
                node = ("mul", node, self.factor())
            elif (token.kind == "op" and token.text == "/") or (token.kind == "cmd" and token.text == "div"):
                self.take()
                node = ("div", node, self.factor())
            elif token.kind == "cmd" and token.text in ("bmod", "mod"):
                self.take()
                node = ("fn", "mod", node, self.factor())
            elif token.kind == "op" and token.text == ":" and node[0] == "num":
                parts = [node]
                while self.accept(":"):
                    parts.append(self.factor())
                node = ("ratio", *parts)
            elif self.starts_factor(token):
                node = self.juxtaposed(node, token)
            else:
                return node

    def juxtaposed(self, left: Node, token: Token) -> Node:
        """What stands beside ``left`` without an operator: a mixed number's fraction, or a factor."""
        whole = left[1] if left[0] == "num" and left[2] is None else None
        if left[0] == "neg" and left[1][0] == "num" and left[1][2] is None:
            whole = left[1][1]
        if token.kind == "num":
            if left[0] not in ("num", "neg", "mul", "div", "pct", "deg", "based"):
                return ("mul", left, self.factor())
            if whole is None or self.peek(1).text != "/" or self.peek(2).kind != "num":
                raise Unreadable("two numbers side by side")
            top, _, bottom = self.take(), self.take(), self.take()
            if "." in top.text + bottom.text or int(bottom.text) == 0:
                raise Unreadable("not a mixed number")
            part: Node = ("num", Fraction(int(top.text), int(bottom.text)), None)
            return _mixed(left, part)
        right = self.factor()
        if whole is not None and token.text == "frac" and _is_proper(right):
            return _mixed(left, ("num", right[1][1] / right[2][1], None))
        return ("mul", left, right)

    def starts_factor(self, token: Token) -> bool:
        if token.kind in ("num", "sym", "rest"):
            return True
        if token.kind == "cmd":
            return (
                token.text in FUNCTIONS
                or token.text in _WRAPPERS
                or token.text
                in (
                    "frac",
                    "pi",
                    "infty",
                    "binom",
                    "lfloor",
                    "lceil",
                    "begin",
                    "lvert",
                    "boxed",
                    "imath",
                    "sum",
                    "prod",
                )
            )
        if token.text == "|":
            return self.bars == 0
        return token.kind == "op" and token.text in ("(", "{", "[")

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooCostly(f"nested deeper than {MAX_DEPTH}")
        if self.accept("-"):
            node: Node = ("neg", self.factor())
        elif self.accept("+"):
            node = self.factor()
        else:
            node = self.postfix(self.atom())
        self.depth -= 1
        return node

    def postfix(self, node: Node) -> Node:
        for _ in range(MAX_DEPTH):
            if self.accept("^"):
                node = ("pow", node, self.argument(whole_number=True))
            elif self.peek().text == "_" and self.peek().kind == "op":
                node = self.subscript(node)
            elif self.accept("!"):
                node = ("fn", "factorial", node)
            elif self.accept("%", r"\%"):
                node = ("pct", node)
            elif self.accept("degree"):
                node = ("deg", node)
            elif node[0] == "num" and node[2] is not None and self.accept("ldots"):
                node = ("trunc", node[1], node[2])
            elif node[0] == "sym" and self.accept("'"):
                node = ("sym", node[1] + "'")
            else:
                return node
        raise Unreadable("too many powers on one base")

    def subscript(self, node: Node) -> Node:
        self.take()
        at = self.at
        try:
            index = self.argument(whole_number=True)
        except Unreadable:
            index = self.name_of_braces(at)
        if node[0] == "num" and index[0] == "num":
            return ("based", str(node[1]), int(index[1]))
        if node[0] == "sym" and index[0] in ("num", "sym", "mul", "add", "text"):
            return ("sym", f"{node[1]}_{_plain_name(index)}")
        raise Unreadable("a subscript on something that is no variable or number")

    def name_of_braces(self, at: int) -> Node:
        r"""What stands in braces as a mere name, as in ``m_{\max}``."""
        self.at = at
        if not self.accept("{"):
            raise Unreadable("a strange subscript")
        name = ""
        while not self.accept("}"):
            name += self.take().text
        return ("text", name)

    def argument(self, whole_number: bool = False) -> Node:
        r"""The argument of a command: a group in braces, or one token; ``\frac12`` splits the 12."""
        token = self.peek()
        if token.text == "{" and token.kind == "op":
            self.take()
            node = self.words() if self.peek().kind == "text" else self.sum()
            self.expect("}")
            return node
        if token.kind == "op" and token.text in ("-", "+"):
            self.take()
            inner = self.argument(whole_number)
            return ("neg", inner) if token.text == "-" else inner
        if token.kind == "num" and len(token.text) > 1 and not whole_number:
            if "." in token.text:
                raise Unreadable("a decimal as a bare argument")
            self.tokens[self.at] = Token("rest", token.text[1:])  # a factor: \frac123 is (1/2) 3
            return ("num", Fraction(int(token.text[0])), None)
        return self.atom()

    def atom(self) -> Node:
        token = self.take()
        if token.kind in ("num", "sci", "repeat", "rest"):
            return _number(token)
        if token.kind == "sym":
            return ("const", token.text) if token.text in ("e", "i") else ("sym", token.text)
        if token.kind == "cmd":
            return self.command(token.text)
        if token.kind == "op" and token.text in _OPEN:
            return self.bracketed(token.text)
        if token.kind == "op" and token.text == r"\{":
            if self.accept(r"\}"):
                return ("set", ())
            found = tuple(self.items())
            self.expect(r"\}")
            return ("set", found)
        if token.kind == "op" and token.text == "{":
            found_list = self.items()
            self.expect("}")
            return found_list[0] if len(found_list) == 1 else ("list", tuple(found_list))
        if token.kind == "op" and token.text == "|":
            return self.between_bars("|")
        raise Unreadable(f"{token.text!r} cannot start a value")

    def between_bars(self, closer: str) -> Node:
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect(closer)
        return ("fn", "abs", inner)

    def bracketed(self, opener: str) -> Node:
        bars, self.bars = self.bars, 0
        if self.accept(_OPEN[opener]):
            raise Unreadable("empty brackets")
        found = self.items()
        closer = self.accept(")", "]")
        self.bars = bars
        if closer is None:
            raise Unreadable(f"{opener!r} is not closed")
        if len(found) == 1:
            if closer.text != _OPEN[opener]:
                raise Unreadable("brackets do not match")
            return found[0] if found[0][0] not in ("rel", "text") else ("group", "(", ")", tuple(found))
        return ("group", opener, closer.text, tuple(found))

    def command(self, name: str) -> Node:
        name = _ALIASES.get(name, name)
        if name == "frac":
            top, bottom = self.argument(), self.argument()
            if top == ("sym", "d") and bottom[0] == "mul" and bottom[1] == top:
                raise Unreadable("a derivative")
            return ("div", top, bottom)
        if name in ("sqrt", "cbrt"):
            return self.radical(name)
        if name in ("pi", "infty"):
            return ("const", name)
        if name == "imath":
            return ("const", "i")
        if name in ("sum", "prod"):
            return self.series(name)
        if name == "binom":
            top = self.argument()
            return ("fn", "binom", top, self.argument())
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("r" + name[1:])
            return ("fn", name[1:], inner)
        if name in ("lvert", "vert"):
            return self.between_bars("rvert" if name == "lvert" else "vert")
        if name == "boxed":
            return self.argument()
        if name in _WRAPPERS:
            return ("sym", f"{name}({_plain_name(self.argument())})")
        if name == "begin":
            return self.environment()
        if name in ("emptyset", "mathbb"):
            return ("set", ()) if name == "emptyset" else self.number_set()
        if name in FUNCTIONS:
            return self.function(name)
        raise Unreadable(f"\\{name} is not known")

    def series(self, name: str) -> Node:
        """A sum or product over whole numbers; the product of factors behind it is what is added up."""
        self.expect("_")
        self.expect("{")
        variable = self.take()
        if variable.kind != "sym":
            raise Unreadable("a series without a variable")
        self.expect("=")
        low = self.sum()
        self.expect("}")
        self.expect("^")
        high = self.argument(whole_number=True)
        body = self.term()
        if variable.text in ("i", "e"):  # here it counts, and is no constant
            body = _replaced(body, ("const", variable.text), ("sym", variable.text))
        return ("series", name, variable.text, low, high, body)

    def number_set(self) -> Node:
        letter = self.argument()
        if letter == ("sym", "R"):
            infinity: Node = ("const", "infty")
            return ("group", "(", ")", (("neg", infinity), infinity))
        return ("sym", f"mathbb({_plain_name(letter)})")

    def radical(self, name: str) -> Node:
        degree: Node = ("num", Fraction(3 if name == "cbrt" else 2), None)
        if name == "sqrt" and self.accept("["):
            degree = self.sum()
            self.expect("]")
        token = self.peek()
        if token.text == "(" and token.kind == "op":
            return ("root", degree, self.atom())
        # "\\sqrt 16" is what writers of plain text mean by the root of 16; "\\sqrt2x" is as in LaTeX.
        return ("root", degree, self.argument(whole_number=token.spaced))

    def function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        for _ in range(2):
            if self.accept("^"):
                power = self.argument(whole_number=True)
            elif name == "log" and self.peek().text == "_":
                self.take()
                base = self.argument(whole_number=True)
        token = self.peek()
        args: tuple[Node, ...]
        if token.text == "(" and token.kind == "op":
            inner = self.atom()
            args = inner[3] if inner[0] == "group" else (inner,)
        elif token.text == r"\{" and name in ("min", "max"):
            args = self.atom()[1]
        elif token.text == "{" and token.kind == "op":
            args = (self.argument(),)
        else:
            args = (self.bare_argument(),)
        if base is not None:
            args = (*args, base)
        if power is not None and name in FUNCTIONS and power == ("neg", ("num", Fraction(1), None)):
            return ("fn", "arc" + name, *args)
        node: Node = ("fn", name, *args)
        return node if power is None else ("pow", node, power)

    def bare_argument(self) -> Node:
        r"""The argument of a function without brackets: factors side by side, as in ``\sin 2x``."""
        node = self.factor()
        while True:
            token = self.peek()
            simple = token.kind in ("num", "sym") or (token.kind == "cmd" and token.text in ("pi", "frac"))
            if simple:
                node = self.juxtaposed(node, token)
            elif token.text == "/" and self.peek(1).kind in ("num", "sym"):
                self.take()
                node = ("div", node, self.factor())
            else:
                return node

    def environment(self) -> Node:
        name = _braced_name(self)
        if name == "array":
            while self.take().text != "}":
                pass
        if name not in ("matrix", "pmatrix", "bmatrix", "vmatrix", "smallmatrix", "array"):
            raise Unreadable(f"the environment {name} is not known")
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.peek().text == "end":
                break
            row.append(self.sum())
            if self.accept(r"\\"):
                rows.append(tuple(row))
                row = []
            elif not self.accept("&") and self.peek().text != "end":
                raise Unreadable("a matrix with strange separators")
        self.take()
        _braced_name(self)
        if row:
            rows.append(tuple(row))
        if not rows or len({len(r) for r in rows}) != 1:
            raise Unreadable("a matrix with uneven rows")
        matrix: Node = ("matrix", tuple(rows))
        return ("fn", "det", matrix) if name == "vmatrix" else matrix


def _braced_name(reader: _Reader) -> str:
    reader.expect("{")
    name = ""
    while reader.peek().text != "}":
        name += reader.take().text
    reader.take()
    return name


def _number(token: Token) -> Node:
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


def _replaced(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    return tuple(_replaced(n, old, new) if isinstance(n, tuple) else n for n in node)


def _is_proper(node: Node) -> bool:
    """Whether a node is a fraction of plain integers, below one: what can stand in a mixed number."""
    if node[0] != "div" or node[1][0] != "num" or node[2][0] != "num":
        return False
    return bool(node[1][2] is None and node[2][2] is None and 0 <= node[1][1] < node[2][1])


def _mixed(left: Node, part: Node) -> Node:
    if left[0] == "neg":
        return ("neg", ("num", left[1][1] + part[1], None))
    return ("num", left[1] + part[1], None)


def _plain_name(node: Node) -> str:
    return str(node[1]) if node[0] in ("num", "sym", "const", "text") else "".join(_plain_name(n) for n in node[1:])


def read(text: str) -> Node:
    """The syntax tree of a tidied answer; several answers separated by commas give a ``list``.

    Raises:
        Unreadable: if the answer is outside the grammar, too long or too deep.
    """
    reader = _Reader(tokenize(text))
    try:
        found = reader.items()
    except Unreadable:
        raise
    except (RecursionError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise Unreadable(str(error)) from None
    if reader.peek() is not _END:
        raise Unreadable(f"{reader.peek().text!r} was not expected")
    return found[0] if len(found) == 1 else ("list", tuple(found))
