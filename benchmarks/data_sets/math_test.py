"""MATH's whole test split, 5,000 problems (Hendrycks et al. 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item
from colasearch.verifiers import extract_answer

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """The gold answer is the last box of the solution; a level is written ``Level 5``."""
    level = re.search(r"\d", str(row.get("level", "")))
    gold = extract_answer(row["solution"])
    return make_item(
        f"math-test-{number:05d}", row["problem"], gold, subject=row.get("type"), level=level and level.group()
    )


BENCHMARK = Benchmark(
    name="math",
    title="MATH test, competition mathematics, 7 subjects, 5 levels",
    task="math",
    source=Hub("EleutherAI/hendrycks_math", "21a5633873b6a120296cce3e2df9d5550074f4a3", ("test",), convert, SUBJECTS),
    rows=5000,
    note="No copy was at hand to hash; revision and row count pin it. MIT; the problems' own rights are disputed.",
)
