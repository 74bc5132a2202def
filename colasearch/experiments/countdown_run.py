"""Runs the Countdown experiment: its stages, then the final model, the summary and the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from colasearch.errors import PrerequisiteError
from colasearch.experiments.recipes.countdown import final_stage, stages
from colasearch.experiments.recipes.countdown_recipe import Recipe
from colasearch.experiments.reports.countdown_results import summarise
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, reuse_stages, run_stages
from colasearch.storage.files import folder_atomic
from colasearch.storage.runs import RunFolder, manifest_of

MODEL_NAME = "model"
BASE_NAME = "base"


def run_countdown(
    recipe: Recipe,
    size: str,
    output: Path,
    *,
    resume: bool = False,
    reuse: Path | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) the experiment in ``output``; returns its summary.

    Stages that run ``reuse`` did with the same commands are taken from there; at most ``jobs`` run side by side.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, or it was made with another recipe.
        PrerequisiteError: Another process is running it, a package is missing, or ``reuse`` is no such run.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    from colasearch.experiments.reports.countdown_report import write_report

    plan = stages(recipe)
    if find_spec("peft") is None:
        raise PrerequisiteError(
            "RL on tokens trains low-rank changes, which needs peft; pip install '.[lora]' before the "
            "experiment, not after its first hour"
        )
    manifest = manifest_of("experiment", {"experiment": "countdown", "size": size, **asdict(recipe)}, {}, {})
    with RunFolder(output, manifest, resume=resume, key=KEY, records=RECORDS_NAME) as folder:
        if reuse is not None:
            reuse_stages(folder, plan, reuse, say)
        run_stages(folder, plan, say, jobs)
        folders = {stage.name: output / stage.folder for stage in plan}
        copy_model(folders[final_stage(recipe)] / MODEL_NAME, folders["base"] / MODEL_NAME, output / MODEL_NAME)
        places = {stage.name: place for place, stage in enumerate(plan)}
        records = sorted(folder.records, key=lambda record: places[record["name"]])  # not as they were done
        summary = summarise(recipe, size, folders, records)
        folder.write_summary(summary)
        write_report(output, summary, folder.manifest, plan)
    return summary


def copy_model(model: Path, base: Path, target: Path) -> None:
    """Copy ``model`` with its base inside, so that ``target`` loads from anywhere; atomically."""
    with folder_atomic(target, replace=True) as temporary:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
        if not (temporary / BASE_NAME).exists():
            shutil.copytree(base, temporary / BASE_NAME)
