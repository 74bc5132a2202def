"""The game of 24: 1,362 sets of four numbers, each to be used exactly once to make 24."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item

RULES = {"target": 24, "use": "all"}


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item | None:
    """Sets that cannot make 24 are left out."""
    if not row.get("solvable", True):
        return None
    numbers = [int(n) for n in row["numbers"]]
    text = f"Make 24 from {', '.join(map(str, numbers))}, using each exactly once."
    return make_item(f"game24-{number + 1}", text, None, "countdown", {"numbers": numbers, **RULES})


BENCHMARK = Benchmark(
    name="game24",
    title="Game of 24, four numbers each",
    task="countdown",
    source=Hub("nlile/24-game", None, ("train",), convert),
    rows=1362,
    sha256="d2a92414d091f3b2c1b0a01b73ffcdd0b33f5ad58ac10a4cb87cf03cd9b3f2d6",
    binding=True,
    defaults=RULES,
    note="The hub's revision is not known; the number sets themselves are checked, against those of the list that "
    "tree-of-thought-llm uses (maitrix-org/llm-reasoners, commit f94e5ac).",
)
