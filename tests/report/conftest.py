"""A Chromium for the tests that need one; run folders and pages that several tests read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module", autouse=True)
def real_plots() -> Iterator[None]:
    """Here pictures are what is tested (``zygote.spare``)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_PLOTS", "1")
        yield


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from chrome import Chrome, find_chrome

    program = find_chrome()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set COLASEARCH_CHROME to a browser's program")
    chrome = Chrome(program, tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.close()


@pytest.fixture
def chrome(browser):
    browser.size(1280, 900)
    return browser


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with traces, two numbers of simulations and one error, and its report. Not to be changed."""
    from runs_made import made_run

    from colasearch.report import write_report

    folder = made_run(tmp_path_factory.mktemp("runs") / "run", fail=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_PLOTS", "1")
        write_report(folder)
    return folder
