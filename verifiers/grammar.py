r"""Read an answer into a small syntax tree, without sympy and without running anything.

``colasearch.verifiers.nodes`` has the list of nodes. What the grammar does not cover raises ``Unreadable``. Depth and
number of nodes are bounded, so reading is too.
"""

from __future__ import annotations

import re
from fractions import Fraction

from colasearch.verifiers.commands import WRAPPERS, command
from colasearch.verifiers.lexer import FUNCTIONS, Token, TooCostly, Undefined, Unreadable, tokenize
from colasearch.verifiers.nodes import Node, applied_name, is_proper, mixed, number, plain_name, symbols
from colasearch.verifiers.spoken import AMOUNT_WORDS, POWERS

MAX_DEPTH = 40
"""Deepest nesting that is read."""

_RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "lt": "<", "gt": ">", "approx": "~", "sim": "~",
    "equiv": "==", "in": "in", "to": "to", "rightarrow": "to",
}  # fmt: skip
_TIMES = frozenset({"cdot", "times", "ast"})
_VECTORS = ("vec(", "overrightarrow(", "cross(")
_OPEN = {"(": ")", "[": "]"}
_END = Token("end", "")


def _product(left: Node, right: Node, sign: str) -> Node:
    """A product; of two vectors it is a name of its own, which depends on the sign and, for a cross, on the order."""
    if not any(name.startswith(_VECTORS) for name in symbols(left)) or not any(
        name.startswith(_VECTORS) for name in symbols(right)
    ):
        return ("mul", left, right)
    if left[0] == "neg":
        return ("neg", _product(left[1], right, sign))
    if left[0] != "sym" or right[0] != "sym":
        raise Undefined("products of vectors that are not worked out")
    first, second = sorted((left[1], right[1]))
    if sign != "times":
        return ("sym", f"dot({first},{second})")
    cross: Node = ("sym", f"cross({first},{second})")
    return cross if left[1] == first else ("neg", cross)


def _with_unit(node: Node, words: str) -> Node:
    """A quantity with its unit; operations and scales in words are no units."""
    bare = re.findall(r"[a-z]+", words.lower().partition("per ")[0])
    if words.lower() in POWERS:
        return ("pow", node, ("num", Fraction(POWERS[words.lower()]), None))
    if words.lower() == "factorial":
        return ("fn", "factorial", node)
    if AMOUNT_WORDS.intersection(bare) or bare[:1] in (["squared"], ["cubed"]):
        raise Undefined(f"{words!r} is part of an amount that is not worked out")
    return ("unit", node, words)


class Reader:
    """Recursive descent over the tokens; each method reads one level of precedence."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token ``ahead`` places on, without taking it; an end token behind the last."""
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else _END

    def take(self) -> Token:
        """Take the next token."""
        token = self.peek()
        if token is _END:
            raise Unreadable("the answer ends too early")
        self.at += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        """Take the next token if it is one of these; ``None`` if not."""
        token = self.peek()
        if token.kind in ("op", "cmd", "sep") and token.text in texts:
            self.at += 1
            return token
        return None

    def expect(self, text: str) -> None:
        """Take the next token, which must be this one."""
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
        """Sides joined by signs of relation."""
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
        """Quantities joined by signs of set arithmetic."""
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
            return _with_unit(node, self.words()[1])
        if self.accept("pmod"):
            return ("unit", node, f"mod {plain_name(self.argument(whole_number=True))}")
        return node

    def words(self) -> Node:
        """Words, with the powers and strokes of compound units (``cm^2``, ``km/h``)."""
        parts: list[str] = []
        if self.peek(1).text == "_" and self.peek(1).kind == "op":
            digits = self.take().text  # \text{A5}_{11}
            self.take()
            base = self.argument(whole_number=True)
            return ("based", digits, int(base[1])) if base[0] == "num" else ("sym", f"{digits}_{plain_name(base)}")
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
        """Terms joined by plus, minus and plus-minus."""
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
        """Factors joined by signs of multiplication and division, or side by side."""
        node = self.factor()
        while True:
            token = self.peek()
            if (token.kind == "op" and token.text == "*") or (token.kind == "cmd" and token.text in _TIMES):
                self.take()
                node = _product(node, self.factor(), token.text)
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
            return mixed(left, part)
        right = self.factor()
        if left[0] == "sym" and token.text == "(" and (name := applied_name(left, right)):
            return ("sym", name)
        if whole is not None and token.text == "frac" and is_proper(right):
            return mixed(left, ("num", right[1][1] / right[2][1], None))
        return ("mul", left, right)

    def starts_factor(self, token: Token) -> bool:
        """Whether a token can begin a factor that stands beside another."""
        if token.kind in ("num", "sym", "rest"):
            return True
        if token.kind == "cmd":
            return (
                token.text in FUNCTIONS
                or token.text in WRAPPERS
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
        return token.kind == "op" and token.text in ("(", "{", "[", r"\{")

    def factor(self) -> Node:
        """An atom with its sign and what stands behind it."""
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
        """Powers, subscripts, factorials, percent and degree signs behind an atom."""
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
        """The index of a variable, or the base of a number."""
        self.take()
        at = self.at
        try:
            index = self.argument(whole_number=True)
        except Unreadable:
            index = self.name_of_braces(at)
        if node[0] == "num" and index[0] == "num":
            return ("based", str(node[1]), int(index[1]))
        if node[0] == "sym" and index[0] in ("num", "sym", "mul", "add", "text"):
            return ("sym", f"{node[1]}_{plain_name(index)}")
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
        """A number, variable, command or bracket."""
        token = self.take()
        if token.kind in ("num", "sci", "repeat", "rest"):
            return number(token)
        if token.kind == "sym":
            return ("const", token.text) if token.text in ("e", "i") else ("sym", token.text)
        if token.kind == "cmd":
            return command(self, token.text)
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
        """The absolute value of what stands before the closing bar."""
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect(closer)
        return ("fn", "abs", inner)

    def bracketed(self, opener: str) -> Node:
        """A group in brackets: one value, a point or an interval."""
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
            if opener == "[" and found[0][0] == "sym":  # nobody brackets a single letter: the floor, as Gauss wrote it
                return ("fn", "floor", found[0])
            return found[0] if found[0][0] not in ("rel", "text") else ("group", "(", ")", tuple(found))
        return ("group", opener, closer.text, tuple(found))


def read(text: str) -> Node:
    """The syntax tree of a tidied answer; several answers separated by commas give a ``list``.

    Raises:
        Unreadable: if the answer is outside the grammar, too long or too deep.
    """
    reader = Reader(tokenize(text))
    try:
        found = reader.items()
    except Unreadable:
        raise
    except (RecursionError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise Unreadable(str(error)) from None
    if reader.peek() is not _END:
        raise Unreadable(f"{reader.peek().text!r} was not expected")
    return found[0] if len(found) == 1 else ("list", tuple(found))
