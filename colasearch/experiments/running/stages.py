"""A recipe of stages, each a ``colasearch`` command, run into one folder; killable at any point.

::

    RUN/manifest.json       the recipe's numbers, versions, machine (``colasearch.storage.runs``)
    RUN/stages.jsonl        one record a finished stage: name, command, started, seconds, status, result
    RUN/stages/NN-name/     the stage's own folder
    RUN/logs/NN-name.log    what it said on standard error; appended to when it is resumed

Commands run in RUN with paths relative to it, so the folder can be moved, and ``cd RUN; colasearch ...`` does a stage
again by hand. A stage may run once all that it reads is done, so several can run side by side; no result depends on
that. A record is written, atomically, only when its stage is done. On ``--resume`` finished stages are left alone, and
those that were cut off go on by their own ``--resume``. Knows nothing about what the stages do.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from colasearch.disk import naming
from colasearch.errors import (
    ColasearchError,
    CorruptFileError,
    InputError,
    PrerequisiteError,
    ResourceError,
)
from colasearch.experiments.running.session import APART, TOGETHER, Session
from colasearch.storage.files import folder_atomic
from colasearch.storage.records import read_records
from colasearch.storage.runs import MANIFEST_NAME, RunFolder

RECORDS_NAME = "stages.jsonl"
KEY = ("name",)
STAGES, LOGS = "stages", "logs"
GRACE = 60.0
"""Seconds that an interrupted stage has to write down what it has, before it is killed."""
_ERRORS: dict[int, type[ColasearchError]] = {
    2: InputError,
    3: PrerequisiteError,
    4: CorruptFileError,
    5: ResourceError,
}
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """One command.

    Attributes:
        name: Short; unique in its recipe.
        folder: Its own folder, relative to the run's, as ``stages/05-base``.
        about: One line for people.
        args: Arguments of ``colasearch``.
        resumable: The command takes ``--resume``. One that does not writes its one file atomically: it is started anew.
        partial: Exit code 1 means that some problems errored, and the stage is done nevertheless.
        goes_on: The command has no ``--resume``: it goes on from the file that it has written by itself.
        runtime: Further arguments that results do not depend on, such as ``--workers 2``; no part of the record, so a
            run may be gone on with under others. Stages that have some share one process, and so their workers.
    """

    name: str
    folder: str
    about: str
    args: tuple[str, ...]
    resumable: bool = True
    partial: bool = False
    goes_on: bool = False
    runtime: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Number and name, as ``05-base``."""
        return self.folder.rpartition("/")[2]

    @property
    def number(self) -> int:
        """Its place in the recipe, from 1 on."""
        return int(self.label.partition("-")[0])

    @property
    def command(self) -> str:
        """What one would type in the run's folder."""
        return shlex.join(("colasearch", *self.args))


@dataclass(slots=True)
class Stages:
    """Stages in the making: gives each its number and folder."""

    found: list[Stage] = field(default_factory=list)

    def add(
        self,
        name: str,
        about: str,
        *args: object,
        output: str = "",
        partial: bool = False,
        goes_on: bool = False,
        runtime: Sequence[object] = (),
    ) -> str:
        """Add a stage; returns what it writes, to be named by later ones.

        Args:
            name: Short; unique.
            about: One line for people.
            args: Arguments of ``colasearch``, without ``--output``.
            output: File in the stage's folder that the command writes, for one without run folder and ``--resume``.
            partial: See ``Stage``.
            goes_on: See ``Stage``.
            runtime: See ``Stage``.
        """
        folder = f"{STAGES}/{len(self.found) + 1:02d}-{name}"
        target = f"{folder}/{output}" if output else folder
        words = (*(str(a) for a in args), "--output", target)
        now = tuple(str(a) for a in runtime)
        stage = Stage(name, folder, about, words, not output, partial, goes_on, now)
        self.found.append(stage)
        return target


def run_stages(folder: RunFolder, stages: Sequence[Stage], say: Say, jobs: int = 1, *, of: int | None = None) -> None:
    """Run what is not done yet.

    Args:
        folder: Opened with ``records=RECORDS_NAME, key=KEY``.
        stages: In order: a stage reads what earlier ones write.
        say: Shows a line to people.
        jobs: Most stages at a time; the first of those that may run are run.
        of: How many the whole recipe has, where these are a part of it whose forerunners are done.

    Raises:
        InputError: A finished stage was run with another command (an older version of the recipe).
        ColasearchError: A stage failed; of the class that its exit code stands for. Others that run are ended in good
            order, to be gone on with.
    """
    total = len(stages) if of is None else of
    heads = {stage.name: f"[{stage.number}/{total}] {stage.name}" for stage in stages}
    waiting: list[Stage] = []
    for stage in stages:
        record = folder.find(stage.name)
        if record is None:
            waiting.append(stage)
        elif record["command"] != stage.command:
            raise InputError(
                f"stage {stage.name} of {folder.path} was run as `{record['command']}`, and would now be "
                f"`{stage.command}`: the recipe has changed; give another --output"
            )
        else:
            say(f"{heads[stage.name]}: was done before")
    undone = {stage.folder for stage in waiting}
    running: dict[Future[dict[str, Any]], tuple[Stage, Session]] = {}
    with ExitStack() as stack:
        together = stack.enter_context(Session(folder.path, environment(), end, TOGETHER))
        free = [stack.enter_context(Session(folder.path, environment(), end, APART)) for _ in range(jobs)]
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        # On the way out the processes end first: threads that hear them would wait for ever.
        stack.callback(_stop_all, running)
        while waiting or running:
            for stage in [s for s in waiting if not _inputs(s, stages) & undone]:
                session = together if stage.runtime else free[-1] if free else None
                if len(running) == jobs or session is None or any(session is busy for _, busy in running.values()):
                    continue
                if session is not together:
                    free.pop()
                waiting.remove(stage)
                say(f"{heads[stage.name]}: {stage.about}\n    {stage.command}")
                session.start()
                name = f"{stage.name}: " if jobs > 1 else ""
                running[pool.submit(_run, folder.path, stage, session, say, name)] = stage, session
            over = wait(running, return_when=FIRST_COMPLETED).done
            for future in sorted(over, key=lambda one: one.exception() is not None):  # what is done is kept first
                stage, session = running[future]
                done = folder.append(future.result())
                del running[future]
                if session is not together:
                    free.append(session)
                undone.remove(stage.folder)
                say(f"{heads[stage.name]}: done in {done['seconds']:,.0f} s")


def _stop_all(running: Mapping[Future[dict[str, Any]], tuple[Stage, Session]]) -> None:
    """End what runs in good order, or after ``GRACE`` seconds (or a second interrupt) without."""
    for _, session in running.values():
        session.terminate()
    try:
        wait(running, GRACE)
    finally:
        for _, session in running.values():
            session.kill()


def _inputs(stage: Stage, stages: Sequence[Stage]) -> set[str]:
    """Folders of the stages that ``stage`` reads."""
    return {one.folder for one in stages if one is not stage and any(_names(a, one.folder) for a in stage.args)}


def reuse_stages(folder: RunFolder, stages: Sequence[Stage], other: Path, say: Say) -> None:
    """Copy from run ``other`` what it has done of ``stages``: those of equal commands, all that they read included.

    Args:
        folder: As for ``run_stages``; stages that it has already are left alone.
        stages: In order.
        other: The folder of a run of stages.
        say: Shows a line to people.

    Raises:
        InputError: ``other`` holds no run of stages.
        CorruptFileError: Its records are damaged.
    """
    if not (other / RECORDS_NAME).is_file():
        raise InputError(f"{other} has no {RECORDS_NAME}; give the run folder of an experiment")
    theirs = records_by_name(read_records(other, RECORDS_NAME))
    reused: set[str] = set()
    for stage in stages:
        record = theirs.get(stage.name)
        if record is None or record["command"] != stage.command or not _inputs(stage, stages) <= reused:
            continue
        if folder.find(stage.name) is None:
            with folder_atomic(folder.path / stage.folder, replace=True) as temporary:
                shutil.copytree(other / stage.folder, temporary, dirs_exist_ok=True)
            kept = {key: value for key, value in record.items() if key not in ("schema", "sum")}
            folder.append({**kept, "reused": str(other)})
        reused.add(stage.folder)
    say(f"{len(reused)} of {len(stages)} stages were taken from {other}")


def _names(argument: str, folder: str) -> bool:
    argument = argument.removeprefix("rm:").removeprefix("prm:")  # a reward model that a stage has made
    return argument == folder or argument.startswith(f"{folder}/")


def _run(root: Path, stage: Stage, session: Session, say: Say, name: str) -> dict[str, Any]:
    """Run a stage in ``root`` and return its record; what it says is shown after ``name``."""
    target, log = root / stage.folder, root / LOGS / f"{stage.label}.log"
    resumed = stage.resumable and (target / MANIFEST_NAME).exists()
    if not resumed and not stage.goes_on:
        # What was killed before it had a manifest has done nothing yet, and would be refused as a folder to resume.
        shutil.rmtree(target, ignore_errors=True)
    for path in (target.parent if stage.resumable else target, log.parent):
        path.mkdir(parents=True, exist_ok=True)
    args = [*stage.args, *stage.runtime, *(["--resume"] if resumed else [])]
    started, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
    with naming(log), log.open("ab") as stream:
        stream.write(f"$ {shlex.join(('colasearch', *args))}\n".encode())

        def hear(line: bytes) -> None:
            stream.write(line)
            stream.flush()
            say(f"    {name}{line.decode(errors='replace').rstrip()}")

        code, out = session.run(args, hear)
    result = _last_json(out)
    if code and not (code == 1 and stage.partial and result is not None):
        tail = log.read_text(errors="replace").strip().splitlines()[-1]
        kind = _ERRORS.get(code, ColasearchError)
        raise kind(f"stage {stage.name} ended with exit code {code}: {tail} (all it said is in {log})")
    return {
        "name": stage.name,
        "command": stage.command,
        "started": started,
        "seconds": round(time.monotonic() - clock, 2),
        "resumed": resumed,
        "status": "some problems errored" if code else "ok",
        "result": result,
    }


PASSED = ("COLASEARCH_CACHE", "COLASEARCH_LOG")
"""Variables of ours that say nothing of what a stage computes."""


def environment() -> dict[str, str]:
    """Our environment without the variables that give options to commands: the recipe alone says what is run."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COLASEARCH_") or k in PASSED}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child in good order, or after ``GRACE`` seconds (or a second interrupt) without."""
    process.terminate()
    try:
        process.communicate(timeout=GRACE)
    except BaseException:
        process.kill()
        process.wait()


def _last_json(text: str) -> Any:
    """The JSON object in the last line of ``text``; None if it is none."""
    lines = text.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


def busy_seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Seconds in which at least one of the stages ran: what side by side took as long as the longest counts once."""
    spans = sorted((datetime.fromisoformat(r["started"]).timestamp(), float(r["seconds"])) for r in records)
    total, until = 0.0, float("-inf")
    for begin, seconds in spans:
        total += max(0.0, begin + seconds - max(begin, until))
        until = max(until, begin + seconds)
    return total


def records_by_name(records: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The records of ``stages.jsonl`` by the names of their stages."""
    return {str(record["name"]): record for record in records}
