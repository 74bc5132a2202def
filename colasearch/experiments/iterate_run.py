"""Runs ``colasearch iterate``: its stages, then the model that is kept, the summary and the report."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from colasearch.experiments.recipes import episode_iterations
from colasearch.experiments.recipes.episode_iterations import SOLVED, EpisodeIterations, solved_name
from colasearch.experiments.recipes.iterating import METRICS, MODEL, Common
from colasearch.experiments.recipes.iterations import DATA, Iterations, data_files, stages
from colasearch.experiments.running.stages import KEY, RECORDS_NAME, Stage, run_stages
from colasearch.problem import LabelledProblem
from colasearch.rewards import hashes_of
from colasearch.storage.files import folder_atomic, write_atomic
from colasearch.storage.runs import RunFolder, manifest_of
from colasearch.tasks import hashes_of as task_hashes

RUNTIME = ("workers", "ray_address", "threads", "servers", "server_timeout")
"""Which machines search is no part of the results; a run may be gone on with elsewhere."""
ADDED = ("target_temperature", "prior_mix", "entropy_floor", "buffer")
"""Settings that runs from before there was a choice do not have."""
Say = Callable[[str], None]


def run_iterations(
    how: Iterations,
    train: Sequence[LabelledProblem],
    held: Sequence[LabelledProblem],
    output: Path,
    *,
    resume: bool = False,
    say: Say = print,
) -> dict[str, Any]:
    """Run (or with ``resume`` go on with) the iterations in ``output``; returns the summary.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, it was made with other settings, or the problems
            cannot be used.
        PrerequisiteError: Another process is running it.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    plan = stages(how, len(train))
    unused: tuple[str, ...] = () if how.guide_epochs else ("guide_epochs", "guide_lr", "guide_tune", "guide_texts")
    unused = unused if how.reward else (*unused, "reward")
    unused += tuple(name for name in ADDED if getattr(how, name) == getattr(Iterations, name))
    files = data_files(train, held, how.problems_per_iteration, how.seed, how.task)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()} | hashes_of(how.reward)
    hashes |= task_hashes([how.task])
    with _opened(how, output, hashes, unused, resume) as folder:
        (output / DATA).mkdir(exist_ok=True)
        for name, text in files.items():
            write_atomic(output / DATA / name, text)
        run_stages(folder, plan, say)
        return _finish(folder, how, {"task": how.task}, plan, train)


def run_episode_iterations(
    how: EpisodeIterations,
    hashes: Mapping[str, str],
    output: Path,
    *,
    resume: bool = False,
    say: Say = print,
) -> dict[str, Any]:
    """The same on an environment; ``hashes`` are of what its results depend on.

    Raises:
        InputError: ``output`` exists and ``resume`` is not given, or it was made with other settings.
        PrerequisiteError: Another process is running it.
        ColasearchError: A stage failed; after the cause is mended, ``resume`` goes on with it.
    """
    unsolved: set[int] = set()
    plan, done = episode_iterations.stages(how), 0
    with _opened(how, output, hashes, (), resume) as folder:
        for number in range(1, how.iterations + 1):
            (place,) = (at for at, stage in enumerate(plan) if stage.name == solved_name(number))
            run_stages(folder, plan[done : place + 1], say, of=len(plan))
            done = place + 1
            if not (output / plan[place].folder / SOLVED).read_bytes():
                say(f"iteration {number}: the search solved none of its episodes; the policy stays as it is")
                unsolved.add(number)
                plan = episode_iterations.stages(how, unsolved)
        run_stages(folder, plan[done:], say, of=len(plan))
        return _finish(folder, how, {"environment": how.environment}, plan)


def _opened(how: Common, output: Path, hashes: Mapping[str, Any], unused: Sequence[str], resume: bool) -> RunFolder:
    settings = {key: value for key, value in asdict(how).items() if key not in (*RUNTIME, *unused)}
    manifest = manifest_of("iterate", json.loads(json.dumps(settings)), hashes, {})
    return RunFolder(output, manifest, resume=resume, key=KEY, records=RECORDS_NAME)


def _finish(
    folder: RunFolder,
    how: Common,
    about: Mapping[str, Any],
    plan: Sequence[Stage],
    train: Sequence[LabelledProblem] | None = None,
) -> dict[str, Any]:
    """The summary of a run whose stages are done, the model that is kept, and the report."""
    from colasearch.experiments.reports.iterate_report import write_report
    from colasearch.experiments.reports.iterate_results import best_iteration, metrics, summarise

    output = folder.path
    folders = {stage.name: output / stage.folder for stage in plan}
    summary = summarise(how, about, folders, folder.records, train)
    kept = how.iterations if how.keep == "last" else best_iteration(summary)
    summary |= {"kept": kept, "model": MODEL}
    copy_model(folders[f"{'rl' if how.rl_rounds else 'value'}-{kept}"] / MODEL, output / MODEL)
    write_atomic(output / METRICS, "".join(json.dumps(line) + "\n" for line in metrics(summary)))
    folder.write_summary(summary)
    write_report(output, summary, folder.manifest, plan)
    return summary


def copy_model(model: Path, target: Path) -> None:
    """Copy a model folder, atomically."""
    with folder_atomic(target, replace=True) as temporary:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
