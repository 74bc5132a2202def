"""Sets whose rows need no more than their columns named: competitions and courses with short answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item

NOT_HASHED = "No copy was at hand to hash; revision and row count pin it."


def _as_written(answer: Any) -> str:
    return str(answer)


def _whole_number(answer: Any) -> str:
    """``033`` is the number 33; leading zeros are how the AIME writes it."""
    return str(int(answer))


def _no_fraction(answer: Any) -> str:
    """Answers are stored as floats; 27.0 is the number 27."""
    return str(answer).removesuffix(".0")


def _set(
    name: str,
    title: str,
    repo: str,
    revision: str,
    split: str,
    rows: int,
    *,
    identity: str,
    text: str,
    gold: Callable[[Any], str] = _as_written,
    sha256: str | None = None,
    note: str,
) -> Benchmark:
    """A benchmark of such a set; ``repo``, ``revision`` and ``split`` say where the hub has it.

    ``identity`` is the format of an id, of the row's columns and its ``number``; ``text`` is the column of the problem;
    ``gold`` makes the gold answer of the column ``answer``. The others are as in ``Benchmark``.
    """

    def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
        return make_item(f"{name}-{identity.format(number=number, **row)}", row[text], gold(row["answer"]))

    source = Hub(repo, revision, (split,), convert)
    return Benchmark(name=name, title=title, task="math", source=source, rows=rows, sha256=sha256, note=note)


SETS = {
    one.name: one
    for one in (
        _set(
            "aime24",
            "AIME 2024, I and II",
            "HuggingFaceH4/aime_2024",
            "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            "train",
            30,
            identity="{id}",
            text="problem",
            gold=_whole_number,
            sha256="842979743daf2fc34b1bf9e8e85a8eeb741eb0d30266a17753f1fce64fc589b4",
            note="Hash of the copy in QwenLM/Qwen2.5-Math (commit a45202b); that the hub's wording is the same was not "
            "checked. Problems: (c) MAA.",
        ),
        _set(
            "aime25",
            "AIME 2025, I and II",
            "math-ai/aime25",
            "563bb8404243c5f09de6ec262f2db674fe5bce9b",
            "test",
            30,
            identity="{number:02d}",
            text="problem",
            note=f"{NOT_HASHED} Problems: (c) MAA.",
        ),
        _set(
            "amc23",
            "AMC 12 of 2023",
            "math-ai/amc23",
            "80815d37005feb82cd7f8fbc6901d5d3eff43057",
            "test",
            40,
            identity="{id}",
            text="question",
            gold=_no_fraction,
            note=f"{NOT_HASHED} Problems: (c) MAA.",
        ),
        _set(
            "minerva",
            "Minerva OCW courses, undergraduate science",
            "math-ai/minervamath",
            "ee46ddc498933b1977577953250ca5c66be64f96",
            "test",
            272,
            identity="{number:03d}",
            text="question",
            note=f"{NOT_HASHED} Text from MIT OCW (CC BY-NC-SA).",
        ),
    )
}
