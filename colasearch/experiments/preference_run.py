"""Runs the preference experiment: its files, its stages, then the summary and the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colasearch.errors import PrerequisiteError
from colasearch.experiments.recipes.preference import DATA, Preference, data_files, stages
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, records_by_name, run_stages
from colasearch.storage.files import write_atomic
from colasearch.storage.runs import RunFolder, manifest_of


def run_preference(
    how: Preference,
    size: str,
    output: Path,
    *,
    resume: bool = False,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) the experiment in ``output``; returns its summary.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, or it was made with other numbers.
        PrerequisiteError: Another process is running it, or peft is missing.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    from colasearch.experiments.reports.preference_report import write_report
    from colasearch.experiments.reports.preference_results import summarise

    plan = stages(how)
    if find_spec("peft") is None:
        raise PrerequisiteError(
            "RL on tokens trains low-rank changes, which needs peft; pip install '.[lora]' before the experiment, not "
            "after its first hour"
        )
    files = data_files(how)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    settings = json.loads(json.dumps({"experiment": "preference", "size": size, **asdict(how)}))
    with RunFolder(
        output, manifest_of("experiment", settings, hashes, {}), resume=resume, key=KEY, records=RECORDS_NAME
    ) as folder:
        (output / DATA).mkdir(exist_ok=True)
        for name, text in files.items():
            write_atomic(output / name, text)
        run_stages(folder, plan, say, jobs)
        folders = {stage.name: output / stage.folder for stage in plan}
        summary = summarise(how, size, folders, records_by_name(folder.records), output)
        folder.write_summary(summary)
        write_report(output, summary, folder.manifest, plan)
    return summary
