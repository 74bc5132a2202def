r"""Bring an answer's many spellings to one: fonts, spacing commands, units, money, trailing words.

Only spelling is changed here, never mathematics: what comes out is what the author meant to write. All patterns are
linear in the length of the text.
"""

from __future__ import annotations

import re

from colasearch.verifiers.spoken import spoken
from colasearch.verifiers.units import LETTER_UNITS

_SPACES = re.compile(
    r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])"
    r"|\\(?:left|right|middle|bigl?|bigr|Bigl?|Bigr|biggl?|biggr|Biggl?|Biggr)(?![A-Za-z])\.?"
    r"|\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|hfill|boldsymbol|bm|mathstrut)(?![A-Za-z])"
    r"|\\[hv]?phantom\s*(?:\{[^{}]*\}|\S)|\\(?:hspace|vspace)\*?\{[^{}]*\}|~"
)
_FONT = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathsf|mathnormal|rm|bf|textbf|textit|textrm|textnormal|texttt|mbox|hbox|emph)(?![A-Za-z])\s*(?=\{)"
)
_CHARACTERS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
        "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ",
        "∈": r"\in ", "√": r"\sqrt ", "°": r"^{\circ}", "′": "'", "±": r"\pm ", "∅": r"\emptyset ", "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ",
        "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
        "⅔": r"\frac{2}{3}", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "“": "", "”": "", "‘": "'",
        "’": "'", "…": r"\ldots ",
    }
)  # fmt: skip
_REPLACEMENTS = (
    (re.compile(r"\\(?:[dtcsx]|nice|display)frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\\||\\[lr][vV]ert(?![A-Za-z])"), "|"),
    (re.compile(r"(?<=\d)\s*\.\.\.+"), r"\\ldots "),
    (re.compile(r"\\operatorname\*?\s*\{\s*([a-z]+)\s*\}"), r"\\\1 "),
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\text\s*\{([-+\d.,/:% ]*\d[-+\d.,/:% ]*(?:[ap]m)?)\}"), r" \1 "),
    (re.compile(r"\\leq(?:slant)?(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\geq(?:slant)?(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\neq(?![A-Za-z])"), r"\\ne "),
    (re.compile(r"\\l[dv]ots(?![A-Za-z])|\\cdots(?![A-Za-z])|\\dots[cmb]?(?![A-Za-z])"), r"\\ldots "),
    (re.compile(r"\\(?:lbrace|rbrace)(?![A-Za-z])"), lambda m: r"\{" if m.group()[1] == "l" else r"\}"),
    (re.compile(r"\\(?:lbrack|rbrack)(?![A-Za-z])"), lambda m: "[" if m.group()[1] == "l" else "]"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\(?:text)?degrees?(?![A-Za-z])"), r"\\degree "),
    (re.compile(r"\\[lr]angle(?![A-Za-z])"), lambda m: "(" if m.group()[1] == "l" else ")"),
    (re.compile(r"(?<=\d)\s*([AaPp])\.?\s?[Mm]\b\.?"), lambda m: f" {m.group(1).lower()}m"),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\mathbb\s*\{?\s*([A-Z])\s*\}?"), r"\\mathbb{\1}"),
    (re.compile(r"\\text\s+\{"), r"\\text{"),
    (re.compile(r"\\(?:text)?color\s*\{[^{}]*\}|\\(?:underline|uline|mathop|mathbin)(?![A-Za-z])"), " "),
    (re.compile(r"\b(?:USD|EUR|GBP|Rs\.?)\s*(?=\d)|(?<=\d)\s*(?:USD|EUR|GBP)\b"), " "),
    (re.compile(r"\{\s*,\s*\}"), ","),
    (re.compile(r"\(\s*(?:\\text\s*\{\s*mod\s*\}|\\?mod(?![A-Za-z]))\s*([A-Za-z0-9^+*-]+)\s*\)"), r"\\pmod{\1} "),
    (re.compile(r"(?<=[\d)%])\s+[xX]\s+(?=[\d(.$])"), r" \\times "),
)  # fmt: skip

_KERNED_COMMA = re.compile(r"(?<=\d)\s*,\s*(?:\\!\s*)+(?=\d{3}(?!\d))")
_THIN_THOUSANDS = re.compile(r"(?<=\d)(?:\\[,;: ]|\{,\})\s*(?=\d{3}(?!\d))")

_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_WHOLE_OVER = re.compile(r"^([^{}]*)\\over(?![A-Za-z])([^{}]*)$")
_LEAD_IN = re.compile(r"\\text\s*\{(?P<name>[^{}]*?)(?:\bis|\bare|=|:)\s*\}\s*(?=\S)")
_NO_NAME = re.compile(
    r"\b(?:final|the|answers?|result|value|so|thus|hence|therefore|then|we|get|have|it|that|this|of|is|are|an?|my|our|"
    r"correct|solutions?|total|which|simplified|form)\b|[^\w\s]",
    re.I,
)
_DOLLAR_LIST = re.compile(r"(?<!\\)\$\s*(,|;|and|or|,\s*and)\s*\$")

_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("__", "__"), ("`", "`"))


def _closes_at_end(answer: str) -> bool:
    """Whether the brace that a text begins with is closed by its last one."""
    depth = 0
    for i, char in enumerate(answer.replace(r"\{", "  ").replace(r"\}", "  ")):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return i == len(answer) - 1
    return False


def unwrap(answer: str) -> str:
    """Take off what stands around a whole answer: dollar signs, ``**``, a box, a final full stop."""
    answer = answer.strip()
    for _ in range(8):
        before = answer
        if answer.endswith((".", ",", ";")) and not answer.endswith(("...", r"\.", r"\,", r"\;")):
            answer = answer[:-1].rstrip()
        if answer.startswith("{") and answer.endswith("}") and _closes_at_end(answer):
            answer = answer[1:-1].strip()
        for left, right in _WRAPPERS:
            inner = answer[len(left) : -len(right)]
            if (
                len(answer) >= len(left) + len(right)
                and answer.startswith(left)
                and answer.endswith(right)
                and left not in inner
                and right not in inner
            ):
                answer = inner.strip()
        if answer == before:
            break
    return answer


INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
    "\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that cannot be seen: joiners, marks of direction, soft hyphens, byte order marks, variation selectors."""
_INVISIBLE_OPERATORS = (
    (re.compile("(?<=[0-9])\u2062(?=[0-9])"), "*"),
    (re.compile("(?<=[0-9])\u2063(?=[0-9])"), ","),
    (re.compile("(?<=[0-9])\u2064(?=[0-9])"), "+"),
)  # between digits these cannot be left out
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def visible(text: str) -> str:
    """A text without characters that cannot be seen, and with full-width ones in ASCII; at once if all is ASCII."""
    if text.isascii():
        return text
    for pattern, replacement in _INVISIBLE_OPERATORS:
        text = pattern.sub(replacement, text)
    return INVISIBLE.sub("", text).translate(_FULL_WIDTH)


_LETTER = r"(?:\{\s*(?P<a>[A-Za-z])\s*\}|(?P<b>[A-Za-z])(?![A-Za-z]))"
_UPRIGHT = re.compile(
    r"(?P<before>[\d})](?P<gap>\s*))?\\(?:mathrm|mathit|mathsf|mathnormal|rm|operatorname\*?)(?![A-Za-z])\s*" + _LETTER
)
_RM_GROUP = re.compile(r"\{\s*\\rm\s+([A-Za-z])\s*\}")
_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm|pmb)(?![A-Za-z])\s*" + _LETTER)


def _upright(match: re.Match[str]) -> str:
    r"""An upright letter is a variable (``2\mathrm{e}``), behind a number and a blank a unit (``5\,\mathrm{m}``)."""
    letter = match["a"] or match["b"]
    if match["gap"] and match["before"][0].isdigit() and letter in LETTER_UNITS:
        return rf"{match['before']}\text{{{letter}}}"
    return f"{match['before']}{{{letter}}} " if match["before"] else f" {letter} "


def _bold_letters(answer: str) -> str:
    r"""Bold letters as vectors where vectors are multiplied: ``\mathbf{a} \times \mathbf{b}``."""
    if not re.search(r"\\(?:times|cdot)(?![A-Za-z])", answer):
        return answer
    return _BOLD.sub(lambda m: rf"\vec{{{m['a'] or m['b']}}}", answer)


def _named(match: re.Match[str]) -> str:
    r"""Words in front of a value name what it is (``\text{maximum: }2``), or do not (``\text{the answer is }2``)."""
    name = " ".join(_NO_NAME.sub(" ", match["name"]).split())
    return rf"\text{{{name}}} = " if name else ""


def tidy(answer: str) -> str:
    """One spelling of an answer's symbols, spaces and fonts; linear in its length."""
    answer = unwrap(visible(answer))
    answer = _KERNED_COMMA.sub(",", answer).replace(r"\!", "")
    answer = _THIN_THOUSANDS.sub(",", answer)
    answer = _DOLLAR_LIST.sub(r" \1 ", answer).replace(r"\$", "").replace("$", "")
    answer = answer.translate(_CHARACTERS)
    answer = _SPACES.sub(" ", _bold_letters(answer))
    answer = _UPRIGHT.sub(_upright, _RM_GROUP.sub(r"\\mathrm{\1}", answer))
    answer = _FONT.sub(r"\\text", answer)
    for pattern, replacement in _REPLACEMENTS:
        answer = pattern.sub(replacement, answer)
    answer = _WHOLE_OVER.sub(r"\\frac{\1}{\2}", re.sub(r"\s+", " ", answer).strip())
    answer = spoken(_LEAD_IN.sub(_named, answer, count=1) if answer.startswith(r"\text") else answer)
    return answer.replace(" ", ",") if _SPACED_THOUSANDS.fullmatch(answer) else answer
