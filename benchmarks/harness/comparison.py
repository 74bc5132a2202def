"""Two runs of one benchmark compared, arm by arm, on the problems that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colasearch.benchmarks.harness.summary import GREEDY_SIMS, compare_arms, is_right, proportion
from colasearch.errors import InputError
from colasearch.storage.records import read_records
from colasearch.storage.runs import read_manifest


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder as it is compared.

    Attributes:
        path: The folder.
        manifest: Its manifest.
        records: Its records.
    """

    path: Path
    manifest: dict[str, Any]
    records: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read a folder.

        Raises:
            InputError: It is no run folder of ``bench``.
            CorruptFileError: It is damaged.
        """
        manifest = read_manifest(path)
        if manifest.get("kind") != "bench":
            raise InputError(f"{path} is a run of `{manifest.get('kind')}`; only runs of `bench` can be compared")
        return cls(path, manifest, read_records(path))

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its results depend on."""
        settings: Mapping[str, Any] = self.manifest["settings"]
        return settings

    def arm(self, name: str, sims: int | None) -> list[dict[str, Any]]:
        """The records of an arm, at its largest number of simulations unless another is asked for."""
        count = GREEDY_SIMS if name == "greedy" else (sims or max(self.settings["sims"]))
        return [r for r in self.records if r["arm"] == name and r["sims"] == count]


def check_comparable(first: Run, second: Run) -> None:
    """Refuse runs whose problems are not the same.

    Raises:
        InputError: Other benchmarks, other data, or no common problem.
    """
    for what in ("benchmark",):
        a, b = first.settings[what], second.settings[what]
        if a != b:
            raise InputError(f"{first.path} is a run of {a} and {second.path} of {b}; compare runs of one benchmark")
    a, b = first.manifest["hashes"]["data"], second.manifest["hashes"]["data"]
    if a != b:
        raise InputError(
            f"{first.path} and {second.path} had different problems (SHA-256 of the data {a[:16]}... and {b[:16]}...); "
            "compare runs on the same data"
        )
    if not {r["problem_id"] for r in first.records} & {r["problem_id"] for r in second.records}:
        raise InputError(f"{first.path} and {second.path} have no problem in common; compare runs with like --limit")


def compare(first: Run, second: Run, sims: int | None = None) -> dict[str, Any]:
    """What ``colasearch compare --json`` prints.

    Returns:
        ``{"schema": 1, "benchmark", "first", "second", "differences": [...], "rows": [{"first_arm", "second_arm", "n",
        "first", "second", "difference", "ci95", "p_value", "separate", "only_first", "only_second",
        "token_ratio"}]}``: the two chosen searchers first, then each arm that both runs have. ``differences`` are
        the settings that differ.


    Raises:
        InputError: The runs cannot be compared.
    """
    check_comparable(first, second)
    pairs = [(first.settings["searcher"], second.settings["searcher"])]
    pairs += [(arm, arm) for arm in first.settings["arms"] if arm in second.settings["arms"]]
    rows = []
    for mine, theirs in dict.fromkeys(pairs):
        a, b = first.arm(mine, sims), second.arm(theirs, sims)
        common = {r["problem_id"] for r in a if r["status"] == "ok"} & {
            r["problem_id"] for r in b if r["status"] == "ok"
        }
        a = [r for r in a if r["problem_id"] in common]
        b = [r for r in b if r["problem_id"] in common]
        rows.append(
            {
                "first_arm": mine,
                "second_arm": theirs,
                "first": proportion(sum(map(is_right, a)), len(a)),
                "second": proportion(sum(map(is_right, b)), len(b)),
                **compare_arms(a, b, int(first.settings["seed"])),
            }
        )
    keys = sorted({*first.settings, *second.settings})
    changed = [
        f"{key.replace('_', '-')}: {first.settings.get(key)!r} and {second.settings.get(key)!r}"
        for key in keys
        if first.settings.get(key) != second.settings.get(key)
    ]
    models = ("base", "latents")
    if any(first.manifest["hashes"].get(m) != second.manifest["hashes"].get(m) for m in models):
        changed.append("the model's weights (SHA-256)")
    return {
        "schema": 1,
        "benchmark": first.settings["benchmark"],
        "first": str(first.path),
        "second": str(second.path),
        "differences": changed,
        "rows": rows,
    }
