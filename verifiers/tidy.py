r"""Bring an answer's many spellings to one: fonts, spacing commands, units, money, trailing words.

Only spelling is changed here, never mathematics: what comes out is what the author meant to write. All patterns are
linear in the length of the text.
"""

from __future__ import annotations

import re

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
        "’": "'", "\u200b": "", "％": "%", "，": ",", "（": "(", "）": ")", "…": r"\ldots ",
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
    (re.compile(r"(?<=[\d)%])\s+[xX]\s+(?=[\d(.$])"), r" \\times "),
)  # fmt: skip

_THIN_THOUSANDS = re.compile(r"(?<=\d)(?:\\[,;: ]|\{,\})\s*(?=\d{3}(?!\d))")

_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_WHOLE_OVER = re.compile(r"^([^{}]*)\\over(?![A-Za-z])([^{}]*)$")
_NUMBER_WORDS = {
    word: str(n)
    for n, word in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
            "seventeen eighteen nineteen twenty",
        )
    )
}
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SPOKEN = re.compile(
    r"(?P<sign>minus |negative )?(?:(?P<word>[a-z]+)|(?P<digits>\d+(?:[.,]\d+)*))"
    r"(?: (?P<scale>hundred|thousand|million|billion|trillion))?(?: ?\((?P<again>[a-z]+|-?\d+)\))?",
    re.I,
)
_LEAD_IN = re.compile(r"\\text\s*\{[^{}]*(?:\bis|\bare|=|:)\s*\}\s*(?=\S)")
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


def _spoken(answer: str) -> str:
    """``five``, ``minus 3``, ``1.5 million`` and ``three (3)`` in digits; anything else as it is."""
    match = _SPOKEN.fullmatch(answer) if len(answer) < 60 else None
    if match is None:
        return answer
    number = match["digits"] or _NUMBER_WORDS.get(match["word"].lower())
    if number is None:
        return answer
    if match["again"] and match["again"] not in (number, *(w for w, n in _NUMBER_WORDS.items() if n == number)):
        return answer
    if match["scale"]:
        number = rf"{number} \cdot 10^{{{_SCALES[match['scale'].lower()]}}}"
    return f"-{number}" if match["sign"] else number


def tidy(answer: str) -> str:
    """One spelling of an answer's symbols, spaces and fonts; linear in its length."""
    answer = unwrap(answer)
    answer = answer.replace(r"\!", "")
    answer = _THIN_THOUSANDS.sub(",", answer)
    answer = _DOLLAR_LIST.sub(r" \1 ", answer).replace(r"\$", "").replace("$", "")
    answer = answer.translate(_CHARACTERS)
    answer = _SPACES.sub(" ", answer)
    answer = _FONT.sub(r"\\text", answer)
    for pattern, replacement in _REPLACEMENTS:
        answer = pattern.sub(replacement, answer)
    answer = _WHOLE_OVER.sub(r"\\frac{\1}{\2}", re.sub(r"\s+", " ", answer).strip())
    answer = _spoken(_LEAD_IN.sub("", answer, count=1) if answer.startswith(r"\text") else answer)
    return answer.replace(" ", ",") if _SPACED_THOUSANDS.fullmatch(answer) else answer
