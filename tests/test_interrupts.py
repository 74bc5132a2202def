"""Signals are obeyed where that can be done in order. The scheduler's own tests try this with searches."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from colasearch.cli.main import Terminated
from colasearch.interrupts import AfterImports, HeldInterrupts

SWALLOWS = """
import signal, time
try:
    for _ in range({times}):
        signal.raise_signal(signal.{name})
    time.sleep(0.1)
except:
    swallowed = True
else:
    swallowed = False
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: int = 1) -> str:
    """The name of a module whose import meets signals and swallows what they raise."""
    named = f"meets_{times}_{name.lower()}"
    (folder / f"{named}.py").write_text(SWALLOWS.format(name=name, times=times))
    monkeypatch.syspath_prepend(folder)
    return named


def import_and_rest(named: str) -> None:
    import_module(named)
    for _ in range(500):
        time.sleep(0.01)


def interrupt(times: int) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("name", "error"), [("SIGINT", KeyboardInterrupt), ("SIGTERM", Terminated)])
def test_a_signal_in_the_midst_of_an_import_waits_for_its_end(tmp_path, monkeypatch, name, error):
    signal.signal(getattr(signal, name), AfterImports(error))
    named = module(tmp_path, monkeypatch, name)
    with pytest.raises(error):
        import_and_rest(named)
    assert not sys.modules[named].swallowed


def test_a_second_signal_does_not_wait_and_nothing_comes_after_it(tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, AfterImports(KeyboardInterrupt))
    named = module(tmp_path, monkeypatch, "SIGINT", times=2)
    assert import_module(named).swallowed
    time.sleep(0.1)


def test_elsewhere_a_signal_is_obeyed_at_once():
    signal.signal(signal.SIGINT, AfterImports(KeyboardInterrupt))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_program_that_is_itself_imported_is_interrupted(tmp_path, monkeypatch):
    (tmp_path / "imported_program.py").write_text(
        "import signal\nfrom colasearch.interrupts import AfterImports\n"
        "def main():\n"
        "    signal.signal(signal.SIGINT, AfterImports(KeyboardInterrupt, main.__code__))\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "main()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_module("imported_program")


def test_held_work_comes_to_its_end_first():
    for handler in (signal.default_int_handler, AfterImports(KeyboardInterrupt)):
        signal.signal(signal.SIGINT, handler)
        ctrl_c, steps = HeldInterrupts(), []
        with ctrl_c.held():
            signal.raise_signal(signal.SIGINT)
            steps.append("whole")
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.check()
        ctrl_c.check()  # told once
        assert steps == ["whole"]
        assert not ctrl_c.torn
        assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_tears_held_work():
    ctrl_c = HeldInterrupts()
    with pytest.raises(KeyboardInterrupt), ctrl_c.held():
        interrupt(2)
    assert ctrl_c.torn
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
