"""Run folders: what survives a crash, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.storage import runs
from colasearch.storage.records import RECORDS_NAME, read_records
from colasearch.storage.runs import RunFolder, file_name, load_summary, manifest_of, read_manifest


def manifest(**settings: Any) -> dict[str, Any]:
    return manifest_of("bench", {"seed": 0, "sims": [4, 8], **settings}, {"data": "d"}, {"batch_size": 4})


def record(number: int, arm: str = "gumbel") -> dict[str, Any]:
    return {"problem_id": f"p/{number}", "arm": arm, "sims": 8, "status": "ok", "text": "ä\u2028\n" * number}


def filled(path: Path, count: int = 3) -> Path:
    with RunFolder(path, manifest()) as folder:
        for number in range(count):
            folder.append(record(number))
    return path


def test_records_come_back_as_they_were_written(tmp_path):
    path = filled(tmp_path / "run")
    assert [r["problem_id"] for r in read_records(path)] == ["p/0", "p/1", "p/2"]
    assert read_records(path)[2]["text"] == record(2)["text"]
    found = read_manifest(path)
    assert found["settings"] == {"seed": 0, "sims": [4, 8]}
    assert found["versions"]["python"] == sys.version.split()[0]
    assert {"created", "argv", "git", "machine", "hashes", "runtime"} <= set(found)


def test_resume_finds_what_is_done_and_appends(tmp_path):
    path = filled(tmp_path / "run")
    with RunFolder(path, manifest(), resume=True) as folder:
        assert folder.resumed == 3
        assert folder.find("p/1", "gumbel", 8)["text"] == record(1)["text"]
        assert folder.find("p/3", "gumbel", 8) is None
        folder.append(record(3))
    assert len(read_records(path)) == 4


def test_a_record_is_written_once(tmp_path):
    with RunFolder(tmp_path / "run", manifest()) as folder:
        first = folder.append(record(1))
        assert folder.append({**record(1), "text": "other"}) == first
    assert len(read_records(tmp_path / "run")) == 1


def interrupted_at(moment: int, work: Callable[[], object]) -> bool:
    """Do ``work``, raising as a signal's handler would before the line of ``runs.py`` that is the moment-th to run."""
    left = moment

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != runs.__file__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_line_finds_a_record_in_the_file_and_among_the_found_or_in_neither(tmp_path):
    written = []
    for moment in range(1, 100):
        path = filled(tmp_path / str(moment), 1)
        with RunFolder(path, manifest(), resume=True) as folder:
            was_interrupted = interrupted_at(moment, lambda folder=folder: folder.append(record(7)))
            assert read_records(path) == folder.records, f"interrupted at line {moment}"
            written.append(len(folder.records) == 2)
        if not was_interrupted:
            break
    assert written[0] is False
    assert written[-1] is True
    assert not was_interrupted, "append came to its end"
    assert 8 < len(written) == moment


def failed(number: int, kind: str) -> dict[str, Any]:
    return {**record(number), "status": "error", "error": {"kind": kind, "message": "m"}}


def test_what_was_lost_with_its_workers_is_tried_again_and_replaced_and_nothing_else_is(tmp_path):
    path = filled(tmp_path / "run", 1)
    with RunFolder(path, manifest(), resume=True) as folder:
        for number, kind in ((1, "LostError"), (2, "InputError"), (3, "LostError")):
            folder.append(failed(number, kind))
            assert folder.find(f"p/{number}", "gumbel", 8), "in the run that gave it up it is done"
            folder.append(record(number))
    before = (path / RECORDS_NAME).read_bytes()
    assert before.count(b"\n") == 4, "a record was replaced in the run that wrote it"

    with RunFolder(path, manifest(), resume=True) as folder:
        assert [folder.find(f"p/{n}", "gumbel", 8) is None for n in range(4)] == [False, True, False, True]
        assert (folder.resumed, len(folder.again)) == (2, 2)
        assert [r["problem_id"] for r in folder.finished] == ["p/0", "p/2"]
        assert [r["status"] for r in folder.records] == ["ok", "error", "error", "error"], "what was lost still counts"
        folder.append(record(2))
        folder.append(record(3))
        folder.append(failed(1, "LostError"))
        assert folder.find("p/1", "gumbel", 8)["status"] == "error", "it is tried once a run"
        assert [r["problem_id"] for r in folder.finished] == [f"p/{n}" for n in range(4)]
        assert folder.records == read_records(path)
    after = (path / RECORDS_NAME).read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 6
    assert [r["status"] for r in read_records(path)] == ["ok", "error", "error", "ok"]
    assert [r["problem_id"] for r in read_records(path)] == [f"p/{n}" for n in range(4)]
    with RunFolder(path, manifest(), resume=True) as folder:
        assert {key[0] for key in folder.again} == {"p/1"}


def test_an_existing_folder_needs_resume(tmp_path):
    path = filled(tmp_path / "run")
    with pytest.raises(InputError, match="--resume"):
        RunFolder(path, manifest())
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty", manifest()).__exit__(None, None, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunFolder(tmp_path / "file", manifest())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_text("x")
    with pytest.raises(InputError, match="no run folder"):
        RunFolder(tmp_path / "other", manifest(), resume=True)
    assert [p.name for p in (tmp_path / "other").iterdir() if p.suffix] == ["photo.jpg"]


def test_resume_begins_a_run_that_is_not_there(tmp_path):
    with RunFolder(tmp_path / "new", manifest(), resume=True) as folder:
        assert folder.resumed == 0


def test_other_settings_are_named(tmp_path):
    path = filled(tmp_path / "run")
    with pytest.raises(InputError, match=r"sims was \[4, 8\] and is now \[4\]"):
        RunFolder(path, manifest(sims=[4]), resume=True)
    with pytest.raises(InputError, match="max-tokens was None and is now 5"):
        RunFolder(path, manifest(max_tokens=5), resume=True)
    other = {**manifest(), "hashes": {"data": "e"}}
    with pytest.raises(InputError, match="data was 'd' and is now 'e'"):
        RunFolder(path, other, resume=True)
    # A tuple and a list, and other runtime settings, are no difference.
    same = {**manifest(sims=(4, 8)), "runtime": {"batch_size": 64}}
    RunFolder(path, same, resume=True).__exit__(None, None, None)


def test_another_version_is_a_warning(tmp_path):
    path = filled(tmp_path / "run")
    new = manifest()
    new["versions"] = {**new["versions"], "numpy": "0.0"}
    with pytest.warns(UserWarning, match=r"began with numpy .* goes on with 0\.0"):
        RunFolder(path, new, resume=True).__exit__(None, None, None)
    with pytest.warns(UserWarning, match="goes on at 0123abc"):
        RunFolder(path, {**manifest(), "git": "0123abc"}, resume=True).__exit__(None, None, None)


def test_a_last_line_cut_anywhere_is_dropped_and_done_again(tmp_path):
    path = filled(tmp_path / "run")
    whole = (path / RECORDS_NAME).read_bytes()
    begin = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(begin + 1, len(whole) - 1):
        (path / RECORDS_NAME).write_bytes(whole[:end])
        with pytest.warns(UserWarning, match="line 3 is torn"):
            folder = RunFolder(path, manifest(), resume=True)
        assert [r["problem_id"] for r in folder.records] == ["p/0", "p/1"]
        folder.append(record(2))
        folder.__exit__(None, None, None)
        assert (path / RECORDS_NAME).read_bytes() == whole


def test_a_last_line_that_lacks_its_newline_alone_is_kept(tmp_path):
    path = filled(tmp_path / "run")
    whole = (path / RECORDS_NAME).read_bytes()
    (path / RECORDS_NAME).write_bytes(whole[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with RunFolder(path, manifest(), resume=True) as folder:
            assert len(folder.records) == 3
            folder.append(record(3))
    assert len(read_records(path)) == 4


@pytest.mark.parametrize(
    "damage", [lambda s: s.replace(b'"sims": 8', b'"sims": 9', 1), lambda s: s[5:], lambda s: b"\n" + s]
)
def test_damage_before_the_last_line_is_refused(tmp_path, damage):
    path = filled(tmp_path / "run")
    whole = (path / RECORDS_NAME).read_bytes()
    (path / RECORDS_NAME).write_bytes(damage(whole))
    with pytest.raises(CorruptFileError, match="line 1 is damaged"):
        read_records(path)
    with pytest.raises(CorruptFileError) as caught:
        RunFolder(path, manifest(), resume=True)
    assert caught.value.exit_code == 4


def test_a_damaged_manifest_or_summary_is_refused(tmp_path):
    path = filled(tmp_path / "run")
    with pytest.raises(InputError, match="has not finished"):
        load_summary(path)
    (path / "summary.json").write_text("{")
    with pytest.raises(CorruptFileError):
        load_summary(path)
    (path / "manifest.json").write_text(json.dumps({"schema": 7}))
    with pytest.raises(CorruptFileError, match="schema 7"):
        RunFolder(path, manifest(), resume=True)
    with pytest.raises(InputError, match="no run folder"):
        read_manifest(tmp_path / "absent")


HOLD = """
import sys, time
from pathlib import Path
from colasearch.storage.runs import RunFolder, manifest_of
with RunFolder(Path(sys.argv[1]), manifest_of("bench", {"seed": 0, "sims": [4, 8]}, {"data": "d"}, {})):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_runs_cannot_write_to_one_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(PrerequisiteError, match=rf"process {process.pid} on "):
            RunFolder(tmp_path / "run", manifest(), resume=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with RunFolder(tmp_path / "run", manifest(), resume=True) as folder:
        folder.append(record(1))


def test_names_of_traces_are_safe_and_differ(tmp_path):
    names = [
        "test/algebra/1.json",
        "test_algebra_1.json",
        "../../etc/passwd",
        "ä",
        "a" * 300,
        "..",
        ".hidden",
        "",
        "ok-1.x",
    ]
    safe = [file_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert file_name("ok-1.x") == "ok-1.x"
    for name in safe:
        assert "/" not in name
        assert not name.startswith(".")
        assert 0 < len(name) <= 100
    with RunFolder(tmp_path / "run", manifest()) as folder:
        path = folder.trace_path("gumbel-8", "../../x")
        assert path.parent == tmp_path / "run" / "traces" / "gumbel-8"
        assert folder.relative(path).startswith("traces/gumbel-8/")
