"""Signals are obeyed where that can be done in order. The scheduler's own tests try this with searches."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module

import pytest

from colasearch.interrupts import HeldInterrupts, Stop

pytestmark = pytest.mark.usefixtures("handlers")


def interrupt(times: int) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("name", "code", "said"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_command_that_is_stopped_in_the_midst_of_an_import_ends_whatever_the_library_swallows(
    tmp_path, name, code, said
):
    (tmp_path / "swallows.py").write_text(
        f"import signal, time\ntry:\n    signal.raise_signal(signal.{name})\n    time.sleep(1)\nexcept:\n    pass\n"
    )
    program = (
        "import sys\nfrom colasearch.cli import main\n"
        "main.COMMANDS['env'] = 'swallows', ''\n"
        "sys.exit(main.main(['env']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"Error: {said}\n")


def test_elsewhere_a_signal_is_obeyed_at_once():
    signal.signal(signal.SIGINT, Stop(KeyboardInterrupt, "interrupted", 130))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_program_that_is_itself_imported_is_interrupted(tmp_path, monkeypatch):
    (tmp_path / "imported_program.py").write_text(
        "import signal\nfrom colasearch.interrupts import Stop\n"
        "def main():\n"
        "    signal.signal(signal.SIGINT, Stop(KeyboardInterrupt, 'interrupted', 130, main.__code__))\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "main()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_module("imported_program")


def test_held_work_comes_to_its_end_first():
    for handler in (signal.default_int_handler, Stop(KeyboardInterrupt, "interrupted", 130)):
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
