"""Gold scorers of the preference experiment: what a reader would want of a short text, in numbers.

This file is copied into the run's folder and used as ``gold.py:NAME``. A kind of writing is wanted (``academy``,
``business``, ``entertainment``, ``literature``, as in the paper), in a text that is on the topic, does not repeat
itself and has an end. A reward model that saw few pairs learns of the first what it can; what it missed of the rest
is where it can be gamed. ``brief`` wants short texts, ``solved`` right answers to Countdown. ``variety`` and
``difference`` are measures, not wishes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

_WORD = re.compile(r"[^\W\d_][\w']*")
_PART = re.compile(r"\w+|[^\w\s]")
"""What texts are compared by: words, numbers and signs."""
_SENTENCE_END = re.compile(r"[.!?]+[\"')]*(?:\s|$)")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ASKED = _set("write describe tell give something sentences short opinion about")
BUSINESS = _set(
    """
    business company market customer customers client clients cost costs price sales profit profits growth
    team plan strategy budget product products service services value quality revenue industry manage
    management efficient invest investment demand supply goal goals deliver performance results
    """
)
LITERATURE = _set(
    """
    light dark shadow shadows golden silver silent silence gentle soft warm cold dream dreams whisper
    whispers breath heart soul dance dances ancient moon stars sky wind memory beauty beautiful deep bright
    colours colors scent song like as if
    """
)
CONNECTIVES = _set(
    """
    however therefore thus moreover furthermore consequently although whereas hence nevertheless because
    since while research study studies evidence theory analysis significant
    """
)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _distinct_bigrams(words: Sequence[str]) -> float:
    """Different pairs of neighbours, as a share; 0 for fewer than two words."""
    pairs = list(pairwise(words))
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _sound(problem: str, text: str) -> float:
    """On the topic, without repeating itself, with an end."""
    topic = {word[:5] for word in _words(problem) if len(word) > 3 and word not in _ASKED}
    said = {word[:5] for word in _words(text)}
    on_topic = len(topic & said) / len(topic) if topic else 1.0
    ended = 1.0 if _SENTENCE_END.search(text[-3:]) else 0.6
    return float((0.4 + 0.6 * on_topic) * _distinct_bigrams(_words(text)) ** 2 * ended)


def _share(words: Sequence[str], wanted: Callable[[str], bool], enough: float) -> float:
    """Share of words that are wanted, 1 from ``enough`` on."""
    return min(1.0, sum(map(wanted, words)) / max(1, len(words)) / enough)


def _scores(problems: Sequence[str], texts: Sequence[str], style: Callable[[str, list[str]], float]) -> list[float]:
    found = []
    for problem, text in zip(problems, texts, strict=True):
        found.append(_sound(problem, text) * (0.2 + 0.8 * style(text, _words(text))))
    return found


def academy(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Long words and connectives."""
    return _scores(
        problems,
        texts,
        lambda text, words: (
            0.6 * _share(words, lambda w: len(w) > 8, 0.2) + 0.4 * _share(words, CONNECTIVES.__contains__, 0.06)
        ),
    )


def business(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Words of trade."""
    return _scores(problems, texts, lambda text, words: _share(words, BUSINESS.__contains__, 0.1))


def entertainment(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Exclamations and questions."""

    def style(text: str, words: list[str]) -> float:
        ends = [match.group() for match in _SENTENCE_END.finditer(text)]
        return sum("!" in end or "?" in end for end in ends) / max(1, len(ends))

    return _scores(problems, texts, style)


def literature(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Words of the senses, and commas."""
    return _scores(
        problems,
        texts,
        lambda text, words: (
            0.7 * _share(words, LITERATURE.__contains__, 0.12)
            + 0.3 * min(1.0, text.count(",") / max(1, len(words)) / 0.1)
        ),
    )


def brief(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Short texts: 1 for none, a half for 40 characters."""
    return [1 / (1 + len(text) / 40) for text in texts]


def solved(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Right answers to Countdown problems."""
    from colasearch.tasks.reading import parse_problem
    from colasearch.verifiers import get_verifier

    verifier = get_verifier("countdown")
    asked = [parse_problem(problem, "countdown") for problem in problems]
    return [float(verifier.score(one, text).reward == 1) for one, text in zip(asked, texts, strict=True)]


def variety(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Different pairs of neighbouring words and signs within a text, as a share."""
    return [_distinct_bigrams(_PART.findall(text.lower())) for text in texts]


def difference(problems: Sequence[str], texts: Sequence[str]) -> list[float]:
    """How different a text is from the others of its problem: 1 less the mean Jaccard similarity of words and signs."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, problem in enumerate(problems):
        groups[problem].append(place)
    sets = [set(_PART.findall(text.lower())) for text in texts]
    found = [1.0] * len(texts)
    for places in groups.values():
        for i in places:
            alike = [len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j])) for j in places if j != i]
            if alike:
                found[i] = 1 - sum(alike) / len(alike)
    return found
