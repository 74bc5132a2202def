"""``colasearch verify`` as a user runs it."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "colasearch.cli.main"]
RUN = [*COMMAND, "verify"]

ROWS: list[dict[str, Any]] = [
    {"id": "a", "gold": "1/2", "pred": r"so \boxed{0.5}"},
    {"id": 2, "gold": "We add. #### 7", "pred": "The answer is 8.", "format": "text"},
    {"id": "c", "gold": "0.5", "pred": r"\int_0^1 x\,dx", "format": "answer"},
    {"id": "d", "gold": "", "pred": "3"},
    {"id": "e", "numbers": [1, 2, 8], "target": 24, "pred": "<answer>(1+2)*8</answer>"},
    {"id": "f", "gold": 5, "pred": 5.0},
    {"id": "g", "gold": "5", "pred": None},
    {"id": "h", "gold": "5", "pred": r"9^{9^{9^{9}}}", "extra": [1]},
]
VERDICTS = [True, False, True, None, True, True, False, False]


def verify(*args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*RUN, *args], input=stdin, capture_output=True, timeout=120)


def jsonl(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_rows_come_out_in_order(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(jsonl(ROWS))
    done = verify(str(file))
    assert done.returncode == 0, done.stderr
    out = read(done.stdout)
    assert [row["id"] for row in out] == [row["id"] for row in ROWS]
    assert [row["verdict"] for row in out] == VERDICTS
    assert all(set(row) == {"id", "verdict", "answer", "reason", "seconds"} and row["seconds"] <= 2.5 for row in out)
    assert all(isinstance(row["reason"], str) and row["reason"] for row in out)
    summary = done.stderr.decode()
    assert "8 rows" in summary
    assert "4 true; 3 false; 1 null" in summary


def test_standard_input_and_many_rows() -> None:
    rows = [{"id": i, "gold": str(i), "pred": f"it is {i + (i % 3 == 0)}."} for i in range(3000)]
    done = verify("-", stdin=jsonl(rows))
    assert done.returncode == 0
    assert [row["verdict"] for row in read(done.stdout)] == [i % 3 != 0 for i in range(3000)]


def test_countdown_task() -> None:
    rows = [
        {"id": i, "numbers": [3, 3, 8, 8], "target": 24, "pred": p}
        for i, p in enumerate(["8/(3-8/3)", "3*8", "8*3+3-3"])
    ]
    done = verify("-", "--task", "countdown", stdin=jsonl(rows))
    assert [row["verdict"] for row in read(done.stdout)] == [True, True, False]


def test_other_tasks() -> None:
    done = verify("-", "--task", "choice", stdin=jsonl([{"id": 1, "gold": "B", "pred": "I take (B)."}]))
    assert read(done.stdout)[0]["verdict"] is True
    done = verify("-", "--task", "format", stdin=jsonl([{"id": 1, "pred": r"\boxed{5}"}]))
    assert read(done.stdout)[0]["verdict"] is True


def test_bad_rows_are_named_and_the_others_graded() -> None:
    lines = [
        jsonl(ROWS[:1]),
        b"not json\n",
        b"\n",
        b'{"id": "x", "gold": "5"}\n',
        b'{"id": "y", "gold": "5", "pred": "5", "format": "html"}\n',
        b'{"id": "z", "gold": "5", "pred": ["5"]}\n',
        b"[1, 2]\n",
        b'{"id": "\xff", "gold": "5", "pred": "5"}\n',
        b'{"id": "n", "numbers": [1], "pred": "1"}\n',
        jsonl(ROWS[:1]).rstrip(),  # no newline at the end
    ]
    done = verify("-", stdin=b"".join(lines))
    assert done.returncode == 1
    out = read(done.stdout)
    assert [row["verdict"] for row in out] == [True, None, None, None, None, None, None, None, True]
    assert [row["id"] for row in out][2] == "x"
    errors = done.stderr.decode()
    for line in (2, 4, 5, 6, 7, 8, 9):
        assert f"line {line} " in errors
    assert "7 unreadable rows" in errors


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_no_rows_is_a_usage_error(content: bytes) -> None:
    done = verify("-", stdin=content)
    assert done.returncode == 2
    assert b"no rows" in done.stderr


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in (str(tmp_path / "absent.jsonl"), str(tmp_path)):
        done = verify(name)
        assert done.returncode == 2
        assert name in done.stderr.decode()
    assert verify("--task", "chess", "-", stdin=b"").returncode == 2
    assert verify("--deadline", "0", "-", stdin=b"").returncode == 2


def test_byte_order_mark_and_carriage_returns() -> None:
    done = verify("-", stdin=b"\xef\xbb\xbf" + jsonl(ROWS[:2]).replace(b"\n", b"\r\n"))
    assert done.returncode == 0
    assert [row["verdict"] for row in read(done.stdout)] == VERDICTS[:2]


def test_huge_line_is_refused_in_bounded_memory() -> None:
    huge = b'{"id": 1, "gold": "5", "pred": "' + b"5" * (40 << 20) + b'"}\n'
    code = (
        # Not ru_maxrss: a child inherits its parent's there.
        "import re, sys; from colasearch.cli.main import main; code = main(['verify', '-']); "
        "print(re.search('VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=huge + jsonl(ROWS[:1]), capture_output=True, timeout=60)
    assert done.returncode == 1
    assert [row["verdict"] for row in read(done.stdout)] == [None, True]
    assert b"longer than 16 MiB" in done.stderr
    assert int(done.stderr.split()[-1]) < 300 * 1024


def test_streams_row_by_row() -> None:
    process = subprocess.Popen(
        [*RUN, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for i in range(3):  # each verdict comes before the next row is given
            process.stdin.write(jsonl([{"id": i, "gold": "5", "pred": "5"}]))
            got: list[bytes] = []
            thread = threading.Thread(target=lambda into=got: into.append(process.stdout.readline()))  # type: ignore[union-attr, misc]
            thread.start()
            thread.join(timeout=30)
            assert got, "no verdict while the input is still open"
            assert json.loads(got[0])["id"] == i
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


def test_interrupt_ends_it_and_its_workers() -> None:
    process = subprocess.Popen(
        [*RUN, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(jsonl([ROWS[2]]))  # starts a worker
    assert json.loads(process.stdout.readline())["verdict"] is True
    children = [int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    for task in os.listdir(f"/proc/{process.pid}/task"):
        children += [int(p) for p in Path(f"/proc/{process.pid}/task/{task}/children").read_text().split()]
    assert children
    process.send_signal(2)
    assert process.wait(timeout=10) == 130
    end = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_reader_that_goes_away() -> None:
    rows = jsonl([{"id": i, "gold": "5", "pred": "5"} for i in range(20_000)])
    process = subprocess.Popen([*RUN, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    def feed() -> None:
        try:
            stdin.write(rows)
            stdin.close()
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0


def test_rows_show_the_answer_that_was_found(tmp_path, capsys):
    from colasearch.cli.main import main

    rows = [
        {"id": 1, "gold": "4", "pred": "So 2 + 2 = \\boxed{5}. Or rather \\boxed{4}."},
        {"id": 2, "gold": "4", "pred": " 4 ", "format": "answer"},
        {"id": 3, "numbers": [4, 6], "target": 24, "pred": "It is 4 * 6 = 24."},
        {"id": 4, "gold": "4", "pred": "I do not know."},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["verify", str(tmp_path / "rows.jsonl")]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["answer"], row["verdict"]) for row in found] == [
        ("4", True),
        ("4", True),
        ("4 * 6", True),
        (None, False),
    ]
