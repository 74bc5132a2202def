"""Runs the agents experiment: its stages, then the summary, the report and the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colasearch.errors import PrerequisiteError
from colasearch.experiments.countdown_run import MODEL_NAME, copy_model
from colasearch.experiments.recipes.agents import VALUE, Agents, stages
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, records_by_name, reuse_stages, run_stages
from colasearch.storage.runs import RunFolder, manifest_of


def run_agents(
    how: Agents,
    size: str,
    output: Path,
    *,
    resume: bool = False,
    reuse: Path | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) the experiment in ``output``; returns its summary.

    ``reuse`` is the folder of a run with other numbers, whose stages are taken where they are the same.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, or it was made with other numbers.
        PrerequisiteError: Another process is running it, or peft is missing.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    from colasearch.experiments.reports.agents_report import write_report
    from colasearch.experiments.reports.agents_results import summarise

    plan = stages(how)
    if find_spec("peft") is None:
        raise PrerequisiteError(
            "RL on tokens trains low-rank changes, which needs peft; pip install '.[lora]' before the experiment"
        )
    settings = json.loads(json.dumps({"experiment": "agents", "size": size, **asdict(how)}))
    manifest = manifest_of("experiment", settings, {}, {})
    with RunFolder(output, manifest, resume=resume, key=KEY, records=RECORDS_NAME) as folder:
        if reuse is not None:
            reuse_stages(folder, plan, reuse, say)
        run_stages(folder, plan, say, jobs)
        folders = {stage.name: output / stage.folder for stage in plan}
        summary = {**summarise(how, size, folders, records_by_name(folder.records)), "model": MODEL_NAME}
        copy_model(folders[VALUE] / MODEL_NAME, folders["base"] / MODEL_NAME, output / MODEL_NAME)
        folder.write_summary(summary)
        write_report(output, summary, folder.manifest, plan)
    return summary
