"""Composed word problems: each draws its scene, its events, their order and its question on their own.

Where ``word_problems`` has a few wordings for each of many families, a story here is put together from parts, so that
two with the same arithmetic seldom have the same words; a model learns what is asked rather than a template. The
solutions keep to one plain style: a line for each step, which says what is computed and then the equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from colasearch.training.generated.story_grammar import counts, groups
from colasearch.training.generated.story_grammar.draw import Draw, Story

FAMILIES: tuple[tuple[int, Callable[[Draw], Story]], ...] = (
    (6, counts.changes),
    (2, counts.what_changed),
    (3, counts.parts),
    (3, counts.comparison),
    (6, groups.packs),
    (2, groups.shares),
    (3, groups.money),
    (2, groups.pace),
    (2, groups.drill),
)
"""How often each, and what makes it."""


def stories(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Composed word problems of one to three steps, with worked solutions.

    Args:
        count: How many; row ``i`` depends on ``seed`` and ``i`` alone, so a larger count only appends.
        seed: Equal seeds give equal rows.

    Yields:
        Rows with ``id``, ``problem``, ``answer`` (a whole number, not negative) and ``solution`` (one equation a line,
        the last one giving the answer, then ``#### answer``).
    """
    makers = [make for weight, make in FAMILIES for _ in range(weight)]
    for number in range(count):
        draw = Draw.of(f"story {seed}:{number}")
        story = draw.rng.choice(makers)(draw)
        lines = [*story.steps, f"#### {story.answer}"]
        yield {
            "id": f"story-{seed}-{number}",
            "problem": " ".join([*story.body, story.question]),
            "answer": str(story.answer),
            "solution": "\n".join(lines),
        }
