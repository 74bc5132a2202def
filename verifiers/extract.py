r"""Find the answer in a text that a model wrote.

The order is fixed: the last ``\boxed{}`` with balanced braces, then GSM8K's ``####``, then "answer is" or
"Answer:", then the last formula or number. Reasoning in ``<think>`` tags is dropped first when an answer follows it,
and the last ``<answer>`` tag wins over what surrounds it. All of it is plain string work, linear in the text.
"""

from __future__ import annotations

import re

from colasearch.verifiers.letters import letter_of
from colasearch.verifiers.spoken import AMOUNT_WORDS, POWERS
from colasearch.verifiers.tidy import visible

MAX_TEXT_CHARS = 200_000
"""Only this much of the end of a text is searched; answers stand at the end."""
MAX_ANSWER_CHARS = 4096
"""A longer answer is taken for no answer at all."""

_BOX = re.compile(r"\\f?boxed\s*(?=\{)|\\fbox\s*(?=\{)|\\boxed\s+(?=[^\s{])")
_HASHES = re.compile(r"####[ \t]*([^\n#]*)")
_ANSWER_TAG = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.S | re.I)
_ANSWER_IS = re.compile(
    r"\banswers?\b\s*\**\s*"
    r"(?:(?:to|of|for|in)\b[^.:\n]{0,80}?)?"
    r"(?::\s*\**|\bis\b\s*\**|\bare\b|\bequals\b|\b(?:should|would|must|will)\s+be\b|=)"
    r"(?:\s*(?:approximately|about|therefore|thus|simply|just|exactly|equal\s+to)\b)?\s*:?\s*\**\s*|^[ \t]*A:[ \t]*",
    re.I | re.M,
)
_DELIMITER = re.compile(r"\\[()\[\]$]|\$\$?|\n")
_CLOSER = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_NUMBER = re.compile(
    r"(?<![\w.])[-−+]?[$€£]?(?:\d{1,3}(?:,\d{3})+(?![\d])(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)(?:\s*/\s*\d+(?![\d.]))?(?:\s?\\?%)?"
)
_BOLD = re.compile(r"\*\*(?!\s*[\d(])")
_BLANKS = re.compile(r"\s{3,}")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")
_MATH_WORDS = frozenset(
    re.findall(
        r"\w+",
        "sqrt frac pi cdot times sin cos tan cot sec csc arcsin arccos arctan log ln exp and or inf infinity "
        "det mod gcd lcm min max abs degrees degree percent text mathrm left right union",
    )
)
_PROSE = frozenset(
    re.findall(
        r"\w+",
        "it is so the therefore thus hence we get are was were be been because since which that where as if then "
        "about approximately around roughly nearly only think guess believe hope know this there have has had you "
        "they he she would not no sorry total",
    )
)
_SENTENCE_END = re.compile(r"(?<=[^\s.])\.(?:\s|\*|$)|\n|(?<!\\)[;!?](?:\s|$)")
_CONNECTIVE = re.compile(r"^[\s$,.]*(?:and|or|,)?[\s$,]*$")


def _balanced(text: str, start: int) -> int | None:
    r"""Index after the brace that closes the one at ``start``; braces written ``\{`` and ``\}`` do not count."""
    depth, i = 0, start
    while i < len(text):
        char = text[i]
        if char == "\\":
            i += 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return None


def boxed(text: str) -> list[tuple[int, int, str]]:
    r"""All complete ``\boxed{}`` of ``text`` as (start, end, content), in order; outer boxes before inner ones.

    Many unclosed boxes would make the search quadratic, so only the last 64 are looked at.
    """
    found = []
    for match in list(_BOX.finditer(text))[-64:]:
        at = match.end()
        if text[at] == "{":
            end = _balanced(text, at)
            if end is not None:
                found.append((match.start(), end, text[at + 1 : end - 1].strip()))
        else:
            word = re.match(r"[^\s$,;]+", text[at:])
            if word:
                found.append((match.start(), at + word.end(), word.group().rstrip(".")))
    return found


def _last_box(text: str) -> str | None:
    boxes = [content for _, _, content in boxed(text) if content]
    if boxes:
        return boxes[-1]
    opening = list(_BOX.finditer(text))
    if opening and text[opening[-1].end()] == "{":  # the text was cut inside its box
        rest = text[opening[-1].end() + 1 :].split("\n")[0].split("$")[0].strip()
        return rest or None
    return None


_GLUE = re.compile(
    r"\\(?:text|mbox|textrm|mathrm)\s*\{\s*(?:,?\s*and|,?\s*or|,|;)?\s*\}|\\(?:begin|end)\s*\{[a-z]+\*?\}"
    r"|\\(?:q?quad|land|lor|vee|wedge|newline|hfill)(?![A-Za-z])|\\[\[\]()\\,;:! ]"
    r"|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|(?<=\n)[ \t]*(?:[-+\u2022]|\(?[0-9a-z]{1,2}[.)])(?=\s)"
    r"|[A-Za-z](?:_\{?[A-Za-z0-9]{1,4}\}?)?\s*=|[$,;.*&\s]"
)
MAX_GAP_CHARS = 80
"""Boxes that are further apart make no list."""


def joined_boxes(text: str) -> str | None:
    r"""The last boxes as one list when only "and", "or" or commas stand between them (``\boxed{1} and \boxed{2}``).

    Returns ``None`` when fewer than two boxes are so joined. Which reading is meant, the list or its last member,
    the gold answer's shape tells.
    """
    boxes = boxed(text)
    contents: list[str] = []
    right = -1
    for start, end, content in reversed(boxes):
        if right >= 0 and not _joins(text[end:right]):
            break
        contents.append(content)
        right = start
    return ", ".join(reversed(contents)) if len(contents) > 1 else None


def _joins(gap: str) -> bool:
    """Whether what stands between two boxes only makes a list of them: "and", marks, bullets, line ends, ``x_2 =``."""
    return len(gap) <= MAX_GAP_CHARS and not _GLUE.sub("", gap).strip()


def prose_words(text: str) -> list[str]:
    """Words of a text that are neither mathematics nor set as text within a formula."""
    bare = re.sub(r"\\(?:text|mathrm|textbf|mbox|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+", " ", text)
    return [w for w in _WORD.findall(bare) if w.lower() not in _MATH_WORDS]


def _prose(text: str) -> bool:
    return any(w.lower() in _PROSE for w in prose_words(text))


_NONE = re.compile(r"no (?:real |such |integer )?(?:solutions?|values?|roots?)|infinitely many(?: solutions)?", re.I)


def looks_like_answer(text: str) -> bool:
    """True when a text is an answer already: short, one line, at most a unit's worth of words beside the formula."""
    if _NONE.fullmatch(text):
        return True
    if not text or "\n" in text or len(text) > 400:
        return False
    text = text.replace(r"\$", "")
    words = prose_words(text)
    if not words:
        return True
    if _prose(text) or re.search(r",\s*(?:I\b|[A-Za-z]{4,})", text):
        return False
    has_digit = any(c.isdigit() for c in text)
    return len(words) <= (3 if has_digit else 4) and "$" not in text.strip("$") and ". " not in text


def _strip_wrapping(text: str) -> str:
    text = text.strip().strip("*").strip()
    if text.endswith("</s>"):
        text = text[:-4].rstrip()
    while text.endswith((".", ",", ";")) and not text.endswith("..."):
        text = text[:-1].rstrip()
    return text


def _hashes(text: str) -> str | None:
    for match in reversed(list(_HASHES.finditer(text))):
        rest = _strip_wrapping(match.group(1))
        # "#### 2. Compute the sum" is a heading of Markdown, not an answer.
        heading = re.match(r"(?:step\b|\d+[.)]\s+[A-Za-z])", rest, re.I)
        short = any(c.isdigit() for c in rest) or "\\" in rest or len(rest.split()) == 1
        if rest and short and not heading and looks_like_answer(rest):
            return rest
    return None


def _formulas(text: str) -> list[tuple[int, int, str]]:
    r"""Formulas between dollars, ``\(..\)`` and ``\[..\]`` as (start, end, content), in one pass over the text."""
    found: list[tuple[int, int, str]] = []
    opener: re.Match[str] | None = None
    for token in _DELIMITER.finditer(text):
        mark = token.group()
        if mark == r"\$":
            continue
        if mark == "\n":
            if opener is not None and opener.group() == "$":  # a lone dollar is money
                opener = None
        elif opener is not None and mark == _CLOSER[opener.group()]:
            content = text[opener.end() : token.start()].strip()
            if content:
                found.append((opener.start(), token.end(), content))
            opener = None
        elif mark in _CLOSER and (opener is None or mark == opener.group() or opener.group() == "$"):
            opener = token
    return found


_LONGEST_FIRST = sorted(AMOUNT_WORDS | set(POWERS) | {"factorial"}, key=len, reverse=True)
_AMOUNT_TAIL = re.compile(
    rf"(?:[\s-]|\\text\s*\{{\s*)*(?P<words>(?:{'|'.join(_LONGEST_FIRST)})"
    r"(?![A-Za-z]))|(?P<letter>[kKmMbB]|bn|mn)(?![A-Za-z0-9])"
)


def _amount(number: re.Match[str], text: str) -> str:
    """A number found in a text, with the words behind it that scale it: ``5 million``, ``2 thirds``."""
    found, end = number.group().strip(), number.end()
    while tail := _AMOUNT_TAIL.match(text, end):
        found += f" {tail['words']}" if tail["words"] else tail["letter"]
        end = tail.end()
    return found


def _from_statement(rest: str) -> str | None:
    """The answer at the start of what follows "answer is"."""
    rest = rest[:1000].lstrip()
    formulas = _formulas(rest)
    if formulas and formulas[0][0] <= 1:
        parts, end = [formulas[0][2]], formulas[0][1]
        for start, finish, content in formulas[1:]:
            if not _CONNECTIVE.match(rest[end:start]):
                break
            parts.append(content)
            end = finish
        return ", ".join(parts)
    stop = _SENTENCE_END.search(rest)
    sentence = _strip_wrapping(_BOLD.sub("", rest[: stop.start()] if stop else rest))
    if looks_like_answer(sentence):
        return sentence
    if formulas and (stop is None or formulas[0][0] < stop.start()):
        return formulas[0][2]
    result = sentence.rpartition("=")[2].strip()
    if result and "=" in sentence and looks_like_answer(result) and not _prose(sentence):
        return result  # "is 15 gallons * 8 pints = 120 pints"
    number = _NUMBER.search(sentence)
    if number:
        return _amount(number, sentence)
    words = sentence.split()
    return sentence if 0 < len(words) <= 8 else None


def _answer_is(text: str) -> str | None:
    for match in reversed(list(_ANSWER_IS.finditer(text))[-32:]):
        answer = _from_statement(text[match.end() :])
        if answer:
            return answer
    return None


_LABEL = re.compile(r"^\W*(?:result|solution|option|choice|output)\s*\**\s*[:=]\s*\**\s*", re.I | re.M)
_OPTION_IS = re.compile(r"\b(?:option|choice|letter)\s+(?:is\s*:?\s*)?\**\s*(?=\(?[A-J]\b)", re.I)
_LAST_IS = re.compile(r"\b(?:is|are|was)\s+(?:an?\s+|the\s+)?([A-Za-z][A-Za-z' -]{0,39})[.!]?\s*$")


def _labelled(text: str) -> str | None:
    """A bare answer behind a lesser label: ``Result: 8``, ``the correct option is (C)``."""
    for pattern in (_LABEL, _OPTION_IS):
        for match in list(pattern.finditer(text))[-1:]:
            if "\n" in text[match.end() :].strip():
                continue  # only the last line is the answer's
            rest = _strip_wrapping(text[match.end() : match.end() + 200].split("\n")[0])
            if looks_like_answer(rest):
                inner = _formulas(rest)
                return inner[0][2] if len(inner) == 1 and inner[0][:2] == (0, len(rest)) else rest
    return None


def joined_formulas(text: str) -> str | None:
    """The last formulas as one list when only "and", "or" or commas stand between them; ``None`` if it is one."""
    text = body(text)
    contents: list[str] = []
    right = -1
    for start, end, content in reversed(_formulas(text)[-16:]):
        if right >= 0 and not _CONNECTIVE.match(text[end:right]):
            break
        contents.append(content)
        right = start
    return ", ".join(reversed(contents)) if len(contents) > 1 else None


def _last_formula_or_number(text: str) -> str | None:
    formulas = _formulas(text)
    formula = formulas[-1] if formulas else None
    if not formulas and (expression := _trailing_expression(text)):
        return expression
    tail = text[formula[1] :] if formula else text
    numbers = list(_NUMBER.finditer(tail))
    if numbers:
        return _amount(numbers[-1], tail)
    return formula[2] if formula else None


def body(text: str) -> str:
    """The part of a text that may hold the answer: the end of it, behind ``</think>``, inside ``<answer>``."""
    text = visible(text[-MAX_TEXT_CHARS:])
    text = _BLANKS.sub(lambda m: "\n\n" if "\n" in m.group() else " ", text)
    _, tag, after = text.rpartition("</think>")
    if tag and after.strip():
        text = after
    answers = [a for a in _ANSWER_TAG.findall(text) if a.strip()] if "<answer>" in text.lower() else []
    return str(answers[-1]) if answers else text


def stated_answer(text: str) -> str | None:
    """The answer that a text marks as such with a box, ``####`` or "answer is"; ``None`` without such a mark."""
    text = body(text)
    return _last_box(text) or _hashes(text) or _answer_is(text)


_TAIL_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}[,.:]?(?=\s)")


def _trailing_expression(text: str) -> str | None:
    """A formula without dollar signs at the end of the last line, behind its last word of prose."""
    lines = [line for line in text[-2000:].split("\n") if line.strip()]
    if not lines:
        return None
    line = _strip_wrapping(lines[-1])
    start = 0
    for word in _TAIL_WORD.finditer(line):
        if word.group().strip(",.:").lower() not in _MATH_WORDS:
            start = word.end()
    tail = line[start:].strip(" :,")
    formula = any(c.isdigit() or c == "\\" for c in tail) and re.search(r"\\[A-Za-z]|[=^/*+(√π²³∞×·°±½¼¾]", tail)
    return tail if formula and "$" not in tail and not prose_words(tail) else None


def _without_stray_braces(answer: str) -> str:
    """An answer that no mark ends, without the braces at its end that nothing in it opened: ``218}``."""
    while answer.endswith("}") and answer.count("}") > answer.count("{"):
        answer = answer[:-1].rstrip().removesuffix("\\")
    return answer


def extract_math(text: str) -> str | None:
    """The answer of a text about mathematics, as written; ``None`` when there is none."""
    text = body(text)
    answer = _last_box(text) or _hashes(text) or _answer_is(text) or _labelled(text)
    if answer is None:
        whole = _strip_wrapping(text.replace("\n", " ") if "\\begin{" in text else text)
        if looks_like_answer(whole):
            inner = _formulas(whole)
            answer = inner[0][2] if len(inner) == 1 and inner[0][:2] == (0, len(whole)) else whole
        else:
            answer = _last_formula_or_number(text)
        if answer is None and (words := _LAST_IS.search(text[-200:])):
            answer = words.group(1)
        answer = _without_stray_braces(answer) if answer else None
    if answer is None or not answer.strip() or len(answer) > MAX_ANSWER_CHARS:
        return None
    return answer.strip()


def extract_choice(text: str) -> str | None:
    """The letter (A to J) that a text settles on; ``None`` when there is none."""
    text = body(text)
    return letter_of(text, _last_box(text))


_EXPRESSION = re.compile(r"[0-9(+\-−*/×÷·) .\t]*[0-9)][0-9(+\-−*/×÷·) .\t]*")
_OPERATORS: dict[str, str | int | None] = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "➖": "-", "﹢": "+", "➕": "+", "×": "*",
    "·": "*", "⋅": "*", "∙": "*", "∗": "*", "✕": "*", "✖": "*", "⨯": "*", "÷": "/", "➗": "/", "∕": "/", "⁄": "/",
    "[": "(", "]": ")", "{": "(", "}": ")",
}  # fmt: skip
_BESIDE = re.compile(r"(?<=\d)(?=\()|(?<=\))\s*(?=\()|(?<=\))(?=\d)")
"""Where 5(3), (2)(3) and (2)3 are products."""
_COUNTDOWN_TEX = (
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\left|\\right|\\[,;!:]|\\displaystyle|\$"), ""),
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])"), "*"),
)


def plain_arithmetic(text: str) -> str:
    """LaTeX's and typewriter's spellings of + − × ÷ and fractions as ``+ - * /``; inner fractions first."""
    text = visible(text)
    for pattern, replacement in _COUNTDOWN_TEX:
        for _ in range(8 if "frac" in pattern.pattern else 1):
            text, changed = pattern.subn(replacement, text)
            if not changed:
                break
    text = text.translate(str.maketrans(_OPERATORS))
    return _BESIDE.sub("*", text)


def extract_countdown(text: str) -> str | None:
    """The last arithmetic expression of a text, in ``+ - * /`` and brackets; ``None`` when there is none."""
    text = body(text)[-MAX_ANSWER_CHARS * 4 :]
    answer = _last_box(text) or text
    lines = [line for line in plain_arithmetic(answer).split("\n") if line.strip()]
    bare = lines[-1].strip().strip("*`").strip().rstrip(".") if len(lines) == 1 or answer is not text else ""
    if bare and re.fullmatch(r"[\d+\-*/()\s.=]+", bare):
        return bare
    for line in reversed(lines):
        # In "(1+2)*3 = 9" the expression stands to the left; a run without an operator is no expression.
        runs = [m.group().strip(" .\t") for m in _EXPRESSION.finditer(line)]
        runs = [r for r in runs if re.search(r"\d\s*\)*\s*[+\-*/]\s*\(*\s*-?\s*\d", r)]
        if runs:
            return runs[-1].strip()
    return answer.strip() if answer is not text and len(answer) <= MAX_ANSWER_CHARS else None


def extract_answer(text: str, task: str = "math") -> str | None:
    """The answer of ``text`` as its author wrote it, or ``None``; never raises, linear in the length of the text.

    Args:
        text: What a model wrote: reasoning and answer, or a bare answer.
        task: ``countdown`` asks for the last arithmetic expression, ``choice`` for a letter, every other task for a
            mathematical answer.
    """
    if task == "countdown":
        return extract_countdown(text)
    if task == "choice":
        return extract_choice(text)
    return extract_math(text)
