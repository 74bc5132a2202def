"""Fixtures of the verifier tests: the folder with real gold answers, which is not part of this repository."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the shared corpora, hostile.py and pairs.py


LARGE = 10_000
"""Rows of a data set of which the tests read a part."""


def _folder() -> Path | None:
    named = os.environ.get("COLASEARCH_TEST_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Callable[[str], list[dict[str, str]]]:
    """Reader of a data set's rows: of a large one every sixteenth, or all of them with ``--slow``.

    Skips the test when the data are not there.
    """
    whole = request.config.getoption("--slow")

    def read(name: str) -> list[dict[str, str]]:
        folder = _folder()
        if folder is None or not (folder / f"{name}.jsonl").exists():
            pytest.skip(f"{name}.jsonl is not here (MATH and others may not be shipped); set COLASEARCH_TEST_DATA")
        with (folder / f"{name}.jsonl").open() as file:
            found = [json.loads(line) for line in file]
        return found if whole or len(found) < LARGE else found[::16]

    return read
