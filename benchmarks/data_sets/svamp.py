"""SVAMP: 1,000 one-step word problems with varied wording (Patel et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """Body and question are one text; an answer such as 51.0 is the number 51."""
    body, question = str(row["Body"]).strip(), str(row["Question"]).strip()
    joint = " " if body.endswith((".", "?", "!")) else ". "
    gold = str(row["Answer"]).removesuffix(".0")
    return make_item(f"svamp-{row['ID']}", f"{body}{joint}{question}", gold, subject=row.get("Type"))


BENCHMARK = Benchmark(
    name="svamp",
    title="SVAMP, one-step word problems",
    task="math",
    source=Hub("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", ("train", "test"), convert),
    rows=1000,
    sha256="3d95e013967d202f678e19bed21275e5f6916e2725fa180afa6667d9b5d18b3f",
    loose=True,
    note="All 1,000 problems, as in the paper: the hub's splits (700 and 300) are put together. Hash of SVAMP.json "
    "(commit 689d7cc) without blanks and full stops, since copies join body and question differently. MIT.",
)
