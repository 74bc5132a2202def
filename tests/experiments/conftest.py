"""Experiments run in the test's process, so that their stages are forked (``zygote``)."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from colasearch.cli.main import main
from colasearch.experiments.running.stages import RECORDS_NAME


@pytest.fixture(scope="session")
def smoke(zygote: None) -> Callable[..., tuple[Any, str]]:
    """``smoke(name, folder, *more)``: the smoke size of an experiment; its output, read, and its messages."""

    def run(name: str, folder: Path, *more: str) -> tuple[Any, str]:
        given = ["experiment", name, "--size", "smoke", "--jobs", "1", "--output", str(folder), "--json", *more]
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                code = main(given)
        finally:
            for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
                signal.signal(number, handler)
        assert code == 0, err.getvalue()[-3000:]
        return json.loads(out.getvalue()), err.getvalue()

    return run


@pytest.fixture
def rewound() -> Callable[[Path, Path, Collection[str]], None]:
    """``rewound(whole, folder, undone)``: a copy of an iteration's run as it was before these stages and the end."""

    def copy(whole: Path, folder: Path, undone: Collection[str]) -> None:
        shutil.copytree(whole, folder)
        for name in ("summary.json", "report.md", "report.html", "metrics.jsonl"):
            (folder / name).unlink()
        shutil.rmtree(folder / "model")
        records = folder / RECORDS_NAME
        rows = [
            line for line in records.read_text().splitlines(keepends=True) if json.loads(line)["name"] not in undone
        ]
        records.write_text("".join(rows))
        for name in undone:
            (stage,) = (folder / "stages").glob(f"*-{name}")
            shutil.rmtree(stage)

    return copy
