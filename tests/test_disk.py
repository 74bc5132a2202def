"""What the disk refuses: told with the file's name and the right exit code, whoever wrote."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from colasearch.cli import main as cli
from colasearch.disk import as_told, naming
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError, ResourceError
from colasearch.storage import files
from colasearch.storage.files import clear_left_behind, folder_atomic, read_json, write_atomic
from colasearch.storage.records import RECORDS_NAME
from colasearch.storage.runs import RunFolder, manifest_of

MANIFEST = manifest_of("bench", {"seed": 0}, {}, {})


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 5, "the disk is full (a temporary file"),
        (OSError(errno.EIO, "Input/output error", "run/x"), 5, "the disk failed (run/x"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 5, "the disk is full"),
        (shutil.Error([("a", "b", "[Errno 5] Input/output error: 'b'")]), 5, "the disk failed"),
        (OSError(errno.EMFILE, "Too many open files", "y"), 5, "ulimit -n"),
        (PermissionError(errno.EACCES, "Permission denied", "run/x"), 3, "run/x cannot be used"),
        (FileNotFoundError(errno.ENOENT, "No such file", "run/gone"), 3, "run/gone is not there"),
    ],
)
def test_errors_of_the_system_become_exit_codes(monkeypatch, capsys, error, code, says):
    monkeypatch.setattr(cli.group, "main", lambda **kwargs: raised(error))
    assert cli.main([]) == code
    err = capsys.readouterr().err
    assert says in err
    assert "no path given" not in err


def test_an_error_that_is_none_of_the_system_is_shown_whole(monkeypatch):
    monkeypatch.setattr(cli.group, "main", lambda **kwargs: raised(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_a_file_that_an_error_does_not_name_is_named(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, naming(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x")
    with pytest.raises(OSError, match="Input/output") as caught, naming(tmp_path / "x"):
        raise RuntimeError("serializing: I/O error (os error 5)")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "x"))
    with pytest.raises(InputError), naming(tmp_path / "x"):
        raise InputError("ours, about [Errno 28] of something else")


def test_a_write_that_fails_names_the_file_that_was_meant_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: raised(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(tmp_path / "report.md", "text")
    assert caught.value.filename == str(tmp_path / "report.md")
    with pytest.raises(OSError, match="No space") as caught, folder_atomic(tmp_path / "model") as folder:
        (folder / "weights").write_text("w")
    assert caught.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_does_not_fit_on_the_disk_is_exit_5(monkeypatch, tmp_path):
    import colasearch.report
    from colasearch.cli.bench_display import Display

    monkeypatch.setattr(
        colasearch.report, "write_report", lambda folder: raised(OSError(errno.ENOSPC, "full", "run/plots/x.png"))
    )
    display = Display.__new__(Display)
    monkeypatch.setattr(Display, "stop", lambda self: None)
    with pytest.raises(ResourceError, match=r"run is complete.*run/plots/x.png"):
        display.report(tmp_path)


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_killed_writers_left_is_cleared_and_what_was_set_aside_comes_back(tmp_path):
    pid = dead_pid()
    for name in (
        f".report.md.tmp-{pid}",
        f"plots/.a.png.tmp-{pid}",
        f".summary.json.tmp-{os.getppid()}",
        ".mine.tmp-x",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    for name in (f".checkpoint.tmp-{pid}", f".model.tmp-{os.getpid()}", f".checkpoint.old-{pid}", f".model.old-{pid}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w").write_text(name)
    (tmp_path / "model").mkdir()
    clear_left_behind(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {f".summary.json.tmp-{os.getppid()}", ".mine.tmp-x", "plots", "checkpoint", "checkpoint/w", "model"}
    assert (tmp_path / "checkpoint" / "w").read_text() == f".checkpoint.old-{pid}"


def test_a_writer_that_ended_and_that_nobody_waited_for_is_dead(tmp_path):
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # ended, and still in the table of processes
        (tmp_path / f".report.md.tmp-{child}").touch()
        clear_left_behind(tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        os.waitpid(child, 0)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_nothing_was_finished_is_begun_anew(tmp_path, resume):
    (tmp_path / "traces").mkdir()
    (tmp_path / RECORDS_NAME).touch()
    (tmp_path / f".manifest.json.tmp-{dead_pid()}").write_text("{")
    with RunFolder(tmp_path, MANIFEST, resume=resume) as folder:
        folder.append({"problem_id": "p", "arm": "a", "sims": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"traces", RECORDS_NAME, ".lock", "manifest.json"}
    with pytest.raises(InputError, match="--resume"):
        RunFolder(tmp_path, MANIFEST)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "traces/a/x.json.gz", RECORDS_NAME])
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, name, resume):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="no run folder"):
        RunFolder(tmp_path, MANIFEST, resume=resume)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("resume", [False, True])
def test_a_training_run_that_was_killed_at_once_is_begun_anew(tmp_path, resume):
    from colasearch.training.running.loop import TrainRun

    (tmp_path / f".manifest.json.tmp-{dead_pid()}").write_text("{")
    TrainRun(tmp_path, {"kind": "x", "config": {}}, resume).close()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "manifest.json"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "huge"])
@pytest.mark.parametrize("name", ["SHA256SUMS", "config.json"])
def test_what_is_no_plain_file_of_bounded_size_is_not_read(tmp_path, kind, name):
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(CorruptFileError, match=name):
        files.read_sums(tmp_path) if name == "SHA256SUMS" else read_json(path)


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m colasearch"
    return subprocess.run(line.format(command), shell=True, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize("command", ["solve", "verify"])
def test_closed_standard_input_is_told(tmp_path, command):
    done = shell(f"{{}} {command} - <&-", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "standard input is closed" in done.stderr


def test_a_folder_deleted_under_the_command_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell(f"cd gone; rmdir {tmp_path}/gone; {{}} env", tmp_path)
    assert done.returncode == 3, done.stderr
    assert "current folder was deleted" in done.stderr


def test_a_folder_deleted_while_the_command_runs_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    told = as_told(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert isinstance(told, PrerequisiteError)
    assert "current folder was deleted" in str(told)
    tmp_path.mkdir()


@pytest.mark.parametrize(
    "line",
    [
        "unset HOME TMPDIR; COLUMNS=-3 {} models",
        "HOME=/proc/nowhere COLUMNS=1 {} models --json | head -1",
        "ulimit -n 24; {} models 2>&-",
        "{} models >&-",
    ],
)
def test_odd_surroundings_do_no_harm(tmp_path, line):
    done = shell(f"bash -c '{line}'", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
