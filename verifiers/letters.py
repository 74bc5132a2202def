r"""The letter that a text about a multiple-choice question settles on.

A capital letter counts only where it stands as an answer: in a box, behind "the answer is" or the like, in front of "is
correct", at the start of a line as a label (``B.``, ``(B)``), or alone. "A" is an article in front of a word, and "I"
is a pronoun. Letters that are ruled out do not count, and a text that leaves two of them has no answer.
"""

from __future__ import annotations

import re

_FONT = re.compile(
    r"\\(?:text|textbf|mathrm|mathbf|textit|mathit|emph|boldsymbol|rm|bf)(?![A-Za-z])\s*|[{}$*`_]|\\[()\[\]]"
)
_LETTER = r"\(?(?P<{0}>[A-J])\)?(?![A-Za-z0-9'’+=^-])"
_VERB = (
    r"(?:is|was|are|and|or|nor|but|not|fails?|holds?|works?|because|since|as|so|for|by|with|would|gives?|has|can|cannot|"
    r"does|must|should|seems|fits?|then|from|follows|too|which|where|due|according|given|based|instead|rather|can't|isn't|"
    r"in|if|when|while|on)"
)
_WORD_NEXT = re.compile(rf"\s+(?!{_VERB}\b)[a-z]")
_PRONOUN = re.compile(r"\s+[a-z']|'|’")
_MARK = re.compile(
    r"\b(?:answers?|ans|(?:correct|right|best|true)\s+(?:one|letter|statement|response)|options?|choices?|letter)\b"
    r"(?:\s+(?:to|of|for|in)\b[^.:\n]{0,60}?)?"
    r"\s*(?:\b(?:is|are|was|must\s+be|should\s+be|would\s+be|will\s+be|has\s+to\s+be|seems\s+to\s+be)\b|[:=.–—-])?\s*"
    r"|\b(?:it|this|that)\s+(?:must|has\s+to|should|can\s+only)\s+be\s+|\b(?:it'?s|it\s+is|that\s+is|that'?s)\s+(?=\(?[A-J]\b)"
    r"|\b(?:I|we|I'll|I'd|we'll)\s+(?:\w+\s+)?(?:pick|choose|select|take|go\s+(?:with|for)|went\s+with|chose|picked|say|answer|get|vote\s+for)\s+"
    r"|(?:^|[.,;\n]\s*)(?:so|thus|hence|therefore|then)\b,?\s*",
    re.I | re.M,
)
_FILLER = re.compile(
    r"(?:(?:definitely|clearly|probably|certainly|therefore|thus|likely|simply|just|indeed|now|also|still|option|choice|"
    r"letter|number|answer|the|is|correct|one)\b[\s:,-]*|[:\s-]+)*",
    re.I,
)
_FIRST = re.compile(_LETTER.format("a"))
_NEXT = re.compile(
    r"\s*(?:,?\s*(?:and|or|&)\s*|/\s*|,\s*)(?:also\s+|both\s+)?\(?[A-J]\)?(?![A-Za-z0-9'’])(?!\s+(?!and\b|or\b)[a-z])"
)
_NOT = re.compile(r"(?:not|neither|never|none|n't|cannot)\b", re.I)
_BUT = re.compile(r"\b(?:but|rather|instead)\b,?\s*(?:rather\s+)?(?:it\s+is\s+|option\s+)?" + _LETTER.format("a"))
_IS_IT = re.compile(
    r"(?<![A-Za-z0-9\\'’])"
    + _LETTER.format("a")
    + r"\s+(?:is|must\s+be|has\s+to\s+be|seems|looks)\s+(?:indeed\s+|clearly\s+|thus\s+|"
    r"therefore\s+|definitely\s+)?(?:the\s+)?(?:only\s+)?(?:correct|right|true|best|answer|one\b|it\b|solution)"
)
_LABEL = re.compile(r"^\W*?(?:\(\s*(?P<a>[A-J])\s*\)|(?P<b>[A-J])\s*[.):](?!\d))", re.M)
_ALONE = re.compile(r"^\W*\(?(?P<a>[A-J])\)?\W*$", re.M)
_LABEL_INSIDE = re.compile(r"[,;]\s*(?:\(\s*(?P<a>[A-J])\s*\)|(?P<b>[A-J])\s*[):])(?!\d)")
"""A label within a line, where the choices are written out: ``A: 3, B: 4``."""
_LOWER = re.compile(r"\W*(?P<a>[a-j])\W*")
_ANY = re.compile(r"(?<![A-Za-z0-9\\'’])" + _LETTER.format("a"))
_OUT_BEFORE = re.compile(
    r"(?:\bnot|\bnor|\bneither|\bexclud\w+|\beliminat\w+|\bruled?\s+out|\breject\w*|\bdiscard\w*|\bthan|\bagainst|\bunlike)"
    r"\s+(?:options?\s+|choices?\s+)?(?:\(?[A-J]\)?\s*(?:,\s*(?:and\s+|or\s+)?|and\s+|or\s+|nor\s+))*$",
    re.I,
)
_OUT_AFTER = re.compile(
    r"(?:\s*(?:,|and|or)\s*(?:and\s+|or\s+)?\(?[A-J]\)?)*\s+(?:fails?\b|is\s+(?:wrong|false|not|out|impossible|incorrect|too)|isn't|"
    r"are\s+(?:wrong|false|not|out|all|both|incorrect|impossible)|can(?:not|'t)|do(?:es)?\s*(?:not|n't)|was\s+(?:wrong|not))"
)


def letter_of(text: str, box: str | None) -> str | None:
    """The letter (A to J) that a text settles on; ``None`` when there is none.

    Args:
        text: The part of the text that may hold the answer.
        box: What the last box holds; it outweighs the rest where it has a letter.
    """
    if box is not None:
        inner = _plain(box)
        return _lone(inner) or _stated(inner) or _stated(_plain(text))
    plain = _plain(text)
    return _letter_alone(plain) or _stated(plain) or _lone(plain) or _labelled(plain) or _left_over(plain)


def _plain(text: str) -> str:
    return re.sub(r"[ \t]+", " ", _FONT.sub(" ", text)).strip()


def _stands(match: re.Match[str], text: str) -> bool:
    """Whether a letter is one, and no article or pronoun."""
    if match.group().startswith("("):
        return True
    behind = text[match.end() :]
    if match["a"] == "I":
        return not _PRONOUN.match(behind)
    return match["a"] != "A" or not _WORD_NEXT.match(behind)


def _letter_alone(text: str) -> str | None:
    """A text that is nothing but a letter."""
    match = _ALONE.fullmatch(text) or _LOWER.fullmatch(text)
    return match["a"].upper() if match else None


def _labels(text: str) -> set[str]:
    """The letters that label something in a text."""
    return {m["a"] or m["b"] for pattern in (_LABEL, _LABEL_INSIDE) for m in pattern.finditer(text)}


def _lone(text: str) -> str | None:
    """A text that is a letter, with or without the wording of its choice: ``(B)``, ``B. A circle``."""
    if letter := _letter_alone(text):
        return letter
    label = _LABEL.match(text)
    if label is None or len(_labels(text)) > 1:
        return None
    return label["a"] or label["b"]


def _slot(rest: str) -> str | None:
    """The letter at the start of what follows "the answer is"; ``None`` for several, or for another word."""
    sentence = re.split(r"\n|(?<=[a-z])[.;!?](?:\s|$)", rest, maxsplit=1)[0]
    filler = _FILLER.match(sentence)
    at = filler.end() if filler else 0
    if _NOT.match(sentence, at):
        but = _BUT.search(sentence, at)
        return but["a"] if but else None
    lower = re.match(r"\(([a-j])\)|([a-j])\s*[.!]?\s*$", sentence[at:])
    if lower:
        return (lower[1] or lower[2]).upper()
    first = _FIRST.match(sentence, at)
    if first is None or not _stands(first, sentence) or _NEXT.match(sentence, first.end()):
        return None
    return None if _OUT_AFTER.match(sentence, first.end()) else first["a"]


def _stated(text: str) -> str | None:
    """The last letter that a text calls its answer."""
    found = [(m.end(), letter) for m in list(_MARK.finditer(text))[-64:] if (letter := _slot(text[m.end() :][:300]))]
    for match in list(_IS_IT.finditer(text))[-64:]:
        asked = re.match(r"[^.!\n]{0,40}\?", text[match.end() :])
        if not asked and not _OUT_BEFORE.search(text[max(0, match.start() - 60) : match.start()]):
            found.append((match.start(), match["a"]))
    return max(found)[1] if found else None


def _labelled(text: str) -> str | None:
    """A letter on a line of its own, or the only one that begins a line as a label."""
    alone = _ALONE.findall(text)
    if alone:
        return str(alone[-1])
    labels = _labels(text)
    return labels.pop() if len(labels) == 1 else None


_NAME_BEFORE = re.compile(
    r"\b(?!(?:and|either|both|not|but|nor|the|thus|then|hence|therefore|option|choice|answer|letter|pick|take|choose|select|leaves|"
    r"leaving|only|with|for|that|would|must|should|are|was|has|have|keep|say|means|gives|yields|surely|clearly)\b)[a-z]{3,}\s+$"
)
"""A noun, whose name the letter is: line B, vitamin C."""


def _left_over(text: str) -> str | None:
    """The letter of the last sentence that has one which is not ruled out, if it has only one."""
    text = _LABEL.sub(" ", text)  # several choices written out
    for sentence in reversed(re.split(r"(?<=[.!?;])\s+|\n", text[-2000:])):
        letters = set()
        for match in _ANY.finditer(sentence):
            before, behind = sentence[: match.start()], sentence[match.end() :]
            named = _NAME_BEFORE.search(before)
            if (
                _stands(match, sentence)
                and not named
                and not _OUT_BEFORE.search(before)
                and not _OUT_AFTER.match(behind)
            ):
                letters.add(match["a"])
        if letters and not sentence.rstrip().endswith("?"):
            return letters.pop() if len(letters) == 1 else None
    return None
