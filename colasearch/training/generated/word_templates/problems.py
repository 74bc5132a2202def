"""Seeded arithmetic word problems with worked solutions: training text that this project makes itself.

Each problem is a story about one to three whole-number facts; its solution states each fact as one equation and ends in
``#### answer``. The numbers are computed, never parsed, so every equation holds. Knows nothing about tokens or files.
"""

from __future__ import annotations

from collections.abc import Iterator

from colasearch.training.generated.word_templates.numbers import Draw
from colasearch.training.generated.word_templates.templates import TEMPLATES


def _one(number: int, seed: int) -> dict[str, str]:
    draw = Draw(f"{seed}:{number}")
    template = draw.rng.choice(TEMPLATES)
    numbers = template.numbers(draw)
    if {"b", "c"} <= numbers.keys():
        numbers["u"] = numbers["b"] + numbers["c"]
    fields = draw.fields(numbers)
    problem = draw.rng.choice(template.problems).format(**fields)
    solution = draw.rng.choice(template.solutions).format(**fields)
    answer = fields[template.answer]
    solution = solution[0].upper() + solution[1:]
    return {"id": f"words-{seed}-{number}", "problem": problem, "answer": answer,
            "solution": f"{solution}\n#### {answer}"}  # fmt: skip


def word_problems(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Arithmetic word problems of one to three steps, with worked solutions.

    Args:
        count: How many; row ``i`` depends on ``seed`` and ``i`` alone, so a larger count only appends.
        seed: Equal seeds give equal rows.

    Yields:
        Rows with ``id``, ``problem``, ``answer`` (a non-negative whole number) and ``solution`` (one equation or two a
        line, the last one giving the answer, then ``#### answer``).
    """
    for number in range(count):
        yield _one(number, seed)
