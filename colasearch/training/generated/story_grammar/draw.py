"""A composed problem in the making: its random choices and its words."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from colasearch.training.generated.story_grammar.parts import DAYS, HELPERS, KINDS
from colasearch.training.generated.word_lists import GROUPS, PEOPLE, THINGS, plural


@dataclass(slots=True)
class Story:
    """A problem in the making.

    Attributes:
        body: Sentences of the story.
        question: The question.
        steps: Lines of the solution.
        answer: The number asked for.
    """

    body: list[str]
    question: str
    steps: list[str]
    answer: int


@dataclass(slots=True)
class Draw:
    """Random choices of one problem, and the words that its sentences are filled with."""

    rng: random.Random
    words: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: str) -> Draw:
        """Fill in people (``n m k``, ``he his him He`` for ``n``), things (``o q``), helpers (``g``), and days."""
        draw = cls(random.Random(seed))
        rng, words = draw.rng, draw.words
        people = rng.sample(PEOPLE, 3)
        words.update(zip("nmk", (name for name, _ in people), strict=True))
        words.update(
            zip(("he", "his", "him"), ("she", "her", "her") if people[0][1] else ("he", "his", "him"), strict=True)
        )
        words["He"] = words["he"].capitalize()
        for letter, noun in zip("oq", rng.sample(THINGS, 2), strict=True):
            words[letter], words[letter + "1"] = plural(noun), noun
        words["g"] = plural(rng.choice(GROUPS))
        words["h"] = rng.choice(HELPERS)
        words["day"], words["day2"] = rng.sample(DAYS, 2)
        words["kind"], words["kind2"] = rng.choice(KINDS)
        return draw

    def num(self, low: int, high: int) -> int:
        """A number in ``[low, high]``, in half of the cases a small one."""
        high = max(low, high)
        return self.rng.randint(low, min(high, max(low, 20)) if self.rng.random() < 0.5 else high)

    def pick(self, texts: str | tuple[str, ...]) -> str:
        """One of ``texts`` (a tuple, or separated by ``|``), its words not filled in."""
        return self.rng.choice(texts.split("|") if isinstance(texts, str) else texts)

    def say(self, texts: str | tuple[str, ...], **numbers: int | str) -> str:
        """One of ``texts``, filled in."""
        return self.pick(texts).format(**self.words, **{key: str(value) for key, value in numbers.items()})

    def sentence(self, texts: str | tuple[str, ...], **numbers: int | str) -> str:
        """``say``, with a capital and a full stop."""
        return capital(self.say(texts, **numbers)) + "."


def capital(text: str) -> str:
    """``text`` with its first letter in upper case."""
    return text[:1].upper() + text[1:]
