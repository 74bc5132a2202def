"""OlympiadBench, the part that is text only, in English and of mathematics, with answers that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """Several final answers are one list."""
    gold = row["final_answer"]
    text = gold if isinstance(gold, str) else ", ".join(str(part) for part in gold or ())
    return make_item(f"olympiadbench-{row['id']}", row["question"], text, subject=row.get("subfield"))


BENCHMARK = Benchmark(
    name="olympiadbench",
    title="OlympiadBench, text only, English, mathematics (OE_TO_maths_en_COMP)",
    task="math",
    source=Hub(
        "Hothan/OlympiadBench",
        "91184b52131e7fc9455fef848035173aea8cc01a",
        ("train",),
        convert,
        ("OE_TO_maths_en_COMP",),
    ),
    rows=674,
    note="Revision and row count pin it. The copy in QwenLM/Qwen2.5-Math has 675 rows, so no hash is taken from there; "
    "give it as --data to be comparable with papers that used it.",
)
