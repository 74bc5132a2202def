"""Solved episodes from search: what runs of ``bench env:NAME`` played and solved, as rows to clone.

Source: expert iteration (Anthony et al. 2017): the policy learns to do at once what the search had to find.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from colasearch.errors import InputError
from colasearch.storage.records import read_records
from colasearch.storage.runs import read_manifest

PREFIX = "env:"


def solved_episodes(folders: Iterable[Path]) -> tuple[list[dict[str, Any]], int]:
    """The solved episodes of runs, one of each variation: that of greatest score, of equals the shortest.

    Args:
        folders: Runs of ``bench env:NAME``; of all their arms.

    Returns:
        Rows as ``train problems --kind env:NAME`` makes them, with the ``id`` of the episode; and of how many
        different variations an episode was played.

    Raises:
        InputError: A folder holds no run of ``bench env:NAME``.
        CorruptFileError: A file of it is damaged.
    """
    best: dict[tuple[str, str], dict[str, Any]] = {}
    played: set[tuple[str, str]] = set()
    for folder in folders:
        environment, instruction = _told(folder)
        for record in read_records(folder):
            key = environment, str(record["problem_id"])
            played.add(key)
            if record["status"] != "ok" or not record["correct"] or not record["turns"]:
                continue
            if key not in best or _worth(record) > _worth(best[key]):
                best[key] = _row(record, environment, instruction)
    return list(best.values()), len(played)


def _told(folder: Path) -> tuple[str, str]:
    """What a run's manifest says: the environment (as it was named), and what the model was told."""
    settings = read_manifest(folder).get("settings", {})
    name = str(settings.get("benchmark", ""))
    if not name.startswith(PREFIX) or "instruction" not in settings:
        raise InputError(f"{folder} holds no episodes; give the folder of a `colasearch bench env:NAME` run")
    return name.removeprefix(PREFIX), str(settings["instruction"])


def _worth(episode: dict[str, Any]) -> tuple[float, int]:
    """Of a record, or of a row."""
    return float(episode["score"]), -len(episode["turns"])


def _row(record: dict[str, Any], environment: str, instruction: str) -> dict[str, Any]:
    return {
        "id": record["problem_id"],
        "environment": environment,
        "instruction": instruction,
        "observation": record["problem"],
        "turns": record["turns"],
        "score": record["score"],
    }
