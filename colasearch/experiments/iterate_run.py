"""Runs ``colasearch iterate``: its stages, then the model that is kept, the summary and the report."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from colasearch.experiments.recipes.iterations import DATA, METRICS, MODEL, Iterations, data_files, stages
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, run_stages
from colasearch.problem import LabelledProblem
from colasearch.rewards import hashes_of
from colasearch.storage.files import folder_atomic, write_atomic
from colasearch.storage.runs import RunFolder, manifest_of
from colasearch.tasks import hashes_of as task_hashes


def run_iterations(
    how: Iterations,
    train: Sequence[LabelledProblem],
    held: Sequence[LabelledProblem],
    output: Path,
    *,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) the iterations in ``output``; returns the summary.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, it was made with other settings, or the problems
            cannot be used.
        PrerequisiteError: Another process is running it.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    from colasearch.experiments.reports.iterate_report import write_report
    from colasearch.experiments.reports.iterate_results import best_iteration, metrics, summarise

    plan = stages(how, len(train))
    # Which machines search is no part of the results; a run may be gone on with elsewhere.
    runtime = ("workers", "ray_address", "threads")
    unused = () if how.guide_epochs else ("guide_epochs", "guide_lr", "guide_tune", "guide_texts")
    unused = unused if how.reward else (*unused, "reward")
    settings = {key: value for key, value in asdict(how).items() if key not in (*runtime, *unused)}
    files = data_files(train, held, how.problems_per_iteration, how.seed, how.task)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()} | hashes_of(how.reward)
    hashes |= task_hashes([how.task])
    manifest = manifest_of("iterate", json.loads(json.dumps(settings)), hashes, {})
    with RunFolder(output, manifest, resume=resume, key=KEY, records=RECORDS_NAME) as folder:
        (output / DATA).mkdir(exist_ok=True)
        for name, text in files.items():
            write_atomic(output / DATA / name, text)
        run_stages(folder, plan, say)
        folders = {stage.name: output / stage.folder for stage in plan}
        summary = summarise(how, folders, folder.records, train)
        kept = how.iterations if how.keep == "last" else best_iteration(summary)
        summary |= {"kept": kept, "model": MODEL}
        copy_model(_model_of(how, folders, kept), output / MODEL)
        write_atomic(output / METRICS, "".join(json.dumps(line) + "\n" for line in metrics(summary)))
        folder.write_summary(summary)
        write_report(output, summary, folder.manifest, plan)
    return summary


def _model_of(how: Iterations, folders: Mapping[str, Path], number: int) -> Path:
    return folders[f"{'rl' if how.rl_rounds else 'value'}-{number}"] / MODEL


def copy_model(model: Path, target: Path) -> None:
    """Copy a model folder, atomically."""
    with folder_atomic(target, replace=True) as temporary:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
