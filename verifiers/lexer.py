r"""Cut a tidied answer into tokens.

A token is (kind, text): ``num`` a number, ``cmd`` a LaTeX command or a known name without its backslash, ``sym`` a
variable, ``text`` words, ``sep`` a separator of a list, ``op`` any other character or pair. Knows nothing of grammar.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_TOKENS = 600
"""An answer with more tokens is compared as it is written only."""
MAX_BITS = 1 << 15
"""Largest exact integer that is computed, in bits (about 9,800 digits)."""


class Token(NamedTuple):
    """One token; ``spaced`` tells that white space stands in front of it."""

    kind: str
    text: str
    spaced: bool = False


class Unreadable(ValueError):
    """The answer is outside the grammar; math-verify may still read it."""


class TooCostly(Unreadable):
    """Computing the value would cost too much; the answer can only be compared as it is written."""


class Undefined(Unreadable):
    """The answer can be read and has no value (a division by zero, twice a point): nothing else can find one."""


FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc asin acos atan sinh cosh tanh coth sech "
        "csch arsinh arcosh artanh arcsinh arccosh arctanh ln log lg exp sqrt cbrt abs min max gcd lcm det floor ceil "
        "binomial Rational Integer factorial",
    )
)
_CONSTANTS = {"pi": "pi", "infinity": "infty", "inf": "infty", "oo": "infty", "infty": "infty"}
GREEK = frozenset(
    re.findall(
        r"\w+",
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
        "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar",
    )
)
_LEXEME = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<text>\\text\s*\{(?P<body>[^{}]*)\})"
    r"|(?P<repeat>\d*\.\d*(?:\\overline\s*\{\s*\d+\s*\}|\\dot\s*\{?\d\}?(?:\d*\\dot\s*\{?\d\}?)?))"
    # 2e+3 may be Euler's number plus three; with a decimal point or a padded exponent it is scientific notation.
    r"|(?P<sci>\d+\.\d*[eE][+-]?\d+|\d+[eE]\d+|\d+E[+-]\d+|\d+e[+-]\d{2,})"
    r"|(?P<num>\d{1,3}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?|\d+\.\d+|\d+\.(?![.\d])|\.\d+|\d+)"
    r"|(?P<cmd>\\[A-Za-z]+)"
    r"|(?P<esc>\\[{}|%$&#_\\])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<op>\*\*|<=|>=|!=|==|:=|->|=|.)",
    re.S,
)
_TWO = {"**": "^", "<=": "\\le", ">=": "\\ge", "!=": "\\ne", "==": "=", ":=": "="}
UNITS = frozenset(
    re.findall(
        r"[\w']+",
        "am pm cm mm km dm ft mi yd kg mg lb lbs oz hr hrs min mins sec secs ml mL mph kmh kph rpm sq cu deg rad "
        "radians "
        "degrees degree inch inches foot feet yard yards mile miles meter meters metre metres centimeter centimeters "
        "kilometer kilometers gram grams kilogram kilograms pound pounds hour hours minute minutes second seconds day "
        "days week weeks month months year years dollar dollars cent cents euro euros unit units square cubic percent "
        "people students apples books cookies ways liters liter litres gallons gallon pages points times",
    )
)


def _split_word(word: str, after_quantity: bool) -> list[tuple[str, str]]:
    """Tokens of a run of letters: names that LaTeX writes with a backslash, units, words, or single variables."""
    if word in FUNCTIONS:
        return [("cmd", word)]
    if word in _CONSTANTS:
        return [("cmd", _CONSTANTS[word])]
    if word in GREEK:
        return [("sym", word)]
    if word in ("and", "or"):
        return [("sep", word)]
    if after_quantity and word in UNITS:
        return [("text", word)]
    if len(word) == 1:
        return [("sym", word)]
    if word == "pm":
        return [("text", word)]
    for name in ("arcsin", "arccos", "arctan", "sqrt", "sin", "cos", "tan", "log", "ln", "pi", "exp"):
        rest = word[len(name) :]
        if word.startswith(name) and len(rest) == 1:
            return [("cmd", name), ("sym", rest)]
    if len(word) >= 4 or (len(word) == 3 and word.islower() and word not in ("abc", "xyz", "pqr")):
        return [("text", word)]
    return [("sym", letter) for letter in word]


def tokenize(text: str) -> list[Token]:
    """Tokens of a tidied answer.

    Raises:
        TooCostly: if there are more than ``MAX_TOKENS``.
    """
    tokens: list[Token] = []
    spaced = False
    depth = 0
    for match in _LEXEME.finditer(text):
        kind, raw = match.lastgroup or "op", match.group()
        if kind == "body":
            kind = "text"
        if kind == "space":
            spaced = True
            continue
        if kind == "text":
            words = match.group("body").strip(" .,")
            lower = words.lower()
            if lower in ("and", "or"):
                tokens.append(Token("sep", lower, spaced))
            elif words in FUNCTIONS and not (words in ("min", "sec") and tokens):
                tokens.append(Token("cmd", words, spaced))
            elif lower == "i" or (len(words) == 1 and words.isalpha() and words.islower() and not tokens):
                tokens.append(Token("sym", words, spaced))
            elif words:
                tokens.append(Token("text", words, spaced))
        elif kind == "num" and "," in raw:
            if depth:  # (1,234) is a pair
                for part in re.findall(r"[^,]+|,", raw):
                    tokens.append(Token("op" if part == "," else "num", part, spaced))
            else:
                tokens.append(Token("num", raw.replace(",", ""), spaced))
        elif kind == "cmd":
            tokens.append(Token("sym" if raw[1:] in GREEK else "cmd", raw[1:], spaced))
        elif kind == "word":
            after = bool(tokens) and (tokens[-1].kind in ("num", "text") or tokens[-1].text in (")", "}"))
            for part_kind, part in _split_word(raw, after):
                tokens.append(Token(part_kind, part, spaced))
                spaced = False
        elif kind == "esc":
            tokens.append(Token("op", raw, spaced))
            depth += (raw == r"\{") - (raw == r"\}")
        elif raw == "!=" and not spaced and tokens and tokens[-1].kind == "num":  # 5!=120
            tokens += (Token("op", "!"), Token("op", "="))
        elif kind == "op" and raw in _TWO:
            two = _TWO[raw]
            tokens.append(Token("cmd", two[1:], spaced) if two[0] == "\\" else Token("op", two, spaced))
        else:
            tokens.append(Token(kind, raw, spaced))
            depth += (raw in "([") - (raw in ")]") if kind == "op" else 0
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooCostly(f"more than {MAX_TOKENS} tokens")
    return tokens
