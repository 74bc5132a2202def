"""Stages survive being killed; recipes take numbers from the command line. Real commands, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from zygote import NESTED

from colasearch.cli.main import main
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.experiments.recipes.countdown import stages
from colasearch.experiments.recipes.countdown_recipe import SIZES, Recipe
from colasearch.experiments.recipes.overrides import override
from colasearch.experiments.running.stages import (
    KEY,
    RECORDS_NAME,
    Stage,
    Stages,
    busy_seconds,
    reuse_stages,
    run_stages,
)
from colasearch.storage.records import read_records
from colasearch.storage.runs import RunFolder, lock_folder, manifest_of


def make(lr: float = 0.01) -> list[Stage]:
    """Rows, and a base that takes long enough to be killed in the midst."""
    plan = Stages()
    rows = plan.add("rows", "rows", "train", "problems", "--kind", "countdown", "--count", 120, output="rows.jsonl")
    shape = ("--width", 16, "--layers", 1, "--heads", 2, "--epochs", 6, "--batch-tokens", 2048, "--save-every", 2)
    plan.add("base", "base", "train", "base", "--data", rows, *shape, "--lr", lr, "--threads", 1)
    return plan.found


def open_folder(path: Path) -> RunFolder:
    return RunFolder(path, manifest_of("experiment", {}, {}, {}), resume=True, key=KEY, records=RECORDS_NAME)


def start(path: Path) -> subprocess.Popen[str]:
    """The run as a process of its own: this file as a program."""
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}", NESTED: "1"}
    command = [sys.executable, "-m", "test_stages_run", str(path)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def wait_for(condition, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Of its first thread, but for the process that forks them."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in found if Path(f"/proc/{p}/comm").read_text() != "zygote\n"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def losses(path: Path) -> list[tuple[int, float]]:
    rows = map(json.loads, (path / "stages/02-base/metrics.jsonl").read_text().splitlines())
    return [(row["step"], row.get("ce", row.get("heldout/ce"))) for row in rows]


def test_a_killed_run_goes_on_and_walks_the_same_curve(tmp_path):
    with open_folder(tmp_path / "whole") as folder:
        run_stages(folder, make(), lambda line: None)
    rows = (tmp_path / "whole/stages/01-rows/rows.jsonl").stat()

    killed = tmp_path / "killed"
    saved = killed / "stages/02-base/checkpoint/step.json"
    process = start(killed)
    wait_for(saved.exists)
    (child,) = children(process.pid)
    process.kill()
    process.wait(90)
    wait_for(lambda: not alive(child), 20)
    assert [r["name"] for r in read_records(killed, RECORDS_NAME)] == ["rows"]
    first = (killed / "stages/01-rows/rows.jsonl").stat()

    heard: list[str] = []
    with open_folder(killed) as folder:
        run_stages(folder, make(), heard.append)
        records = {r["name"]: r for r in folder.records}
    assert "[1/2] rows: was done before" in heard
    assert (killed / "stages/01-rows/rows.jsonl").stat().st_mtime_ns == first.st_mtime_ns
    assert records["base"]["resumed"]
    assert records["base"]["status"] == "ok"
    assert losses(killed) == losses(tmp_path / "whole")
    whole = {r["name"]: r for r in read_records(tmp_path / "whole", RECORDS_NAME)}
    assert records["base"]["result"] == whole["base"]["result"]
    assert first.st_size == rows.st_size
    assert "--resume" in (killed / "logs/02-base.log").read_text()

    # All is done: nothing runs again, and another recipe is refused.
    before = {p: p.stat().st_mtime_ns for p in (killed / "stages").rglob("*") if p.is_file()}
    with open_folder(killed) as folder:
        run_stages(folder, make(), lambda line: None)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    with open_folder(killed) as folder, pytest.raises(InputError, match="the recipe has changed"):
        run_stages(folder, make(lr=0.02), lambda line: None)


def test_killed_before_its_manifest_a_stage_begins_anew(tmp_path):
    torn = tmp_path / "r/stages/02-base/.manifest.json.tmp-1"
    with open_folder(tmp_path / "r") as folder:
        torn.parent.mkdir(parents=True)
        torn.touch()
        run_stages(folder, make(), lambda line: None)
        assert not folder.records[1]["resumed"]


def test_ctrl_c_ends_the_stage_too(tmp_path):
    """And variables that give options to commands do not reach it."""
    command = [
        "experiment",
        "countdown",
        "--size",
        "smoke",
        "--output",
        str(tmp_path / "r"),
        "--jobs",
        "1",
        *("--set", "train_problems=200"),
        *("--set", "base_epochs=999"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "colasearch", *command],
        env={**os.environ, "COLASEARCH_SIMS": "3", NESTED: "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for((tmp_path / "r/stages/07-base/manifest.json").exists)
    (child,) = children(process.pid)
    assert b"COLASEARCH_SIMS" not in Path(f"/proc/{child}/environ").read_bytes()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    wait_for(lambda: not alive(child), 5)
    assert len(read_records(tmp_path / "r", RECORDS_NAME)) == 6


def test_a_stage_that_fails_says_why_and_is_tried_again(tmp_path):
    plan = Stages()
    small = ("--width", 16, "--layers", 1, "--heads", 2, "--threads", 1, "--heldout", 0.3)
    target = plan.add("base", "base", "train", "base", "--data", "rows.jsonl", *small)
    assert target == "stages/01-base"
    with open_folder(tmp_path / "r") as folder:
        with pytest.raises(InputError, match=r"stage base ended with exit code 2: .*rows\.jsonl"):
            run_stages(folder, plan.found, lambda line: None)
        assert folder.records == []
        rows = [{"problem": f"{i}+{i}?", "solution": f"{2 * i}"} for i in range(60)]
        (tmp_path / "r/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run_stages(folder, plan.found, lambda line: None)
        assert folder.records[0]["result"]["kind"] == "base"


def side_by_side() -> list[Stage]:
    """Two bases that need nothing of each other, and what reads one of them."""
    plan = Stages()
    rows = plan.add("rows", "rows", "train", "problems", "--kind", "countdown", "--count", 120, output="rows.jsonl")
    shape = ("--width", 16, "--layers", 1, "--heads", 2, "--batch-tokens", 2048, "--save-every", 2, "--threads", 1)
    bases = [
        plan.add(name, name, "train", "base", "--data", rows, *shape, "--epochs", epochs)
        for name, epochs in (("long", 6), ("short", 1))
    ]
    plan.add("codes", "codes", "train", "actions", "--model", f"{bases[1]}/model", "--data", rows, "--codes", 4)
    return plan.found


def results(path: Path) -> dict[str, Any]:
    """Of each stage, without its times."""
    dated = ("seconds", "tokens_per_second")
    return {
        r["name"]: r["result"] and {k: v for k, v in r["result"].items() if k not in dated}
        for r in read_records(path, RECORDS_NAME)
    }


def test_stages_run_side_by_side_and_come_to_the_same(tmp_path):
    said: list[str] = []
    for jobs in (1, 2):
        said.clear()
        with open_folder(tmp_path / str(jobs)) as folder:
            run_stages(folder, side_by_side(), said.append, jobs)
    heads = [line.split("\n")[0] for line in said if line[0] == "["]
    assert [h.split("] ")[1] for h in heads[2:4]] == ["long: long", "short: short"]
    assert any(line.startswith("    long: ") for line in said)
    assert heads.index("[4/4] codes: codes") > next(i for i, h in enumerate(heads) if h.startswith("[3/4] short: done"))
    assert results(tmp_path / "1") == results(tmp_path / "2")


def test_when_one_fails_its_neighbour_is_ended_and_goes_on_later(tmp_path):
    def plan(epochs: int) -> list[Stage]:
        """A base that takes long, and one that fails while rows are missing."""
        made = Stages()
        shape = ("--width", 16, "--layers", 1, "--heads", 2, "--batch-tokens", 2048, "--save-every", 2, "--threads", 1)
        rows = made.add("rows", "rows", "train", "problems", "--kind", "countdown", "--count", 120, output="rows.jsonl")
        made.add("long", "long", "train", "base", "--data", rows, *shape, "--epochs", epochs)
        made.add("fails", "fails", "train", "actions", "--model", "nowhere", "--data", rows)
        return made.found

    said: list[str] = []
    with open_folder(tmp_path / "r") as folder:
        with pytest.raises(PrerequisiteError, match="stage fails ended with exit code 3"):
            run_stages(folder, plan(99_999), said.append, 2)
        assert [r["name"] for r in folder.records] == ["rows"]
    assert any(line.startswith("    fails: ") for line in said)
    assert not (tmp_path / "r/stages/02-long/model").exists()
    if (tmp_path / "r/stages/02-long").exists():  # it may not have begun
        assert lock_folder(tmp_path / "r/stages/02-long") is not None  # nobody writes to it


def test_time_that_stages_share_counts_once():
    def record(started: str, seconds: float) -> dict[str, object]:
        return {"started": f"2026-11-26T{started}+00:00", "seconds": seconds}

    alone = [record("01:00:00", 60.0), record("01:10:00.500", 30.0)]
    assert busy_seconds(alone) == pytest.approx(90)
    assert busy_seconds([*alone, record("01:00:20", 10.0)]) == pytest.approx(90)
    assert busy_seconds([record("01:00:30", 60.0), *alone]) == pytest.approx(120)
    assert busy_seconds([]) == 0


def test_damage_in_the_records_is_refused(tmp_path):
    with open_folder(tmp_path / "r") as folder:
        for name in ("a", "b"):
            folder.append({"name": name, "command": "x"})
    path = tmp_path / "r" / RECORDS_NAME
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(UserWarning, match="torn"):
        assert [r["name"] for r in read_records(tmp_path / "r", RECORDS_NAME)] == ["a"]
    path.write_text("damaged\n" + path.read_text() + "\n")
    with pytest.raises(CorruptFileError, match="line 1 is damaged"):
        read_records(tmp_path / "r", RECORDS_NAME)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("rl_round=3", "did you mean rl_rounds"),
        ("rl_rounds", "has no value; write --set key=value"),
        ("rl_rounds=many", "'many' is not a whole number"),
        ("rl_lr=fast", "'fast' is not a number"),
        ("bfloat16=1", "'1' is not true or false"),
        ("sims=4;8", "'4;8' is not whole numbers with commas between them, as 4,16,64"),
        ("aim_sims=5", "aim_sims is 5, which is not one of sims (2,4)"),
        ("rl_rounds=0", "rl_rounds is 0; it must be at least 1"),
        ("guide_codes=both", "guide_codes is 'both'; it must be policy (FTA-P) or idm (FTA-I)"),
        ("rl_start=base", "rl_start is 'base'; it must be policy (stage 2) or guide (FTA)"),
        ("guide_problems=1000", "guide_problems is 1000, more than train_problems (120)"),
        ("max_new_tokens=128", "max_new_tokens is 128 and context 128"),
    ],
)
def test_a_wrong_number_is_refused_before_anything_runs(tmp_path, capsys, given, words):
    args = ["experiment", "countdown", "--size", "smoke", "--output", str(tmp_path / "r"), "--set", given]
    assert main(args) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_numbers_reach_the_commands(capsys):
    changed = override(SIZES["smoke"], ["rl-rounds=7", "sims=2,4,8", "bfloat16=true", "rl_lr=1e-5", "searcher=puct"])
    assert (changed.rl_rounds, changed.sims, changed.bfloat16, changed.rl_lr) == (7, (2, 4, 8), True, 1e-5)
    commands = {stage.name: stage.command for stage in stages(changed)}
    for name in ("rl-codes", "rl-tokens"):
        assert "--rounds 7 " in commands[name]
    assert "--bfloat16" in commands["base"]
    assert "--searcher puct" in commands["traces"]
    assert "--sims 2,4,8" in commands["bench-final"]
    assert main(["experiment", "countdown", "--show", "--set", "iterations=2"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipe"]["iterations"] == 2
    assert {s["name"] for s in shown["stages"]} - commands.keys() == {
        f"{part}-2" for part in ("search", "policy", "value", "rl", "check")
    } | {f"{part}-{number}" for part in ("solutions", "guide") for number in (1, 2)}  # smoke solves too little to learn


def test_both_rls_differ_in_what_trains_alone():
    """Equal start, problems, rollouts, lengths and rewards; the control trains as many numbers as the policy has.

    Each has its own learning rate: what suits low-rank changes of the base need not suit a policy. Tokens have nothing
    to merge.
    """
    found = {stage.name: stage.args for stage in stages(Recipe(rl_lr=1e-3, rl_token_lr=1e-4))}

    def options(name: str) -> dict[str, str]:
        args = [a for a in found[name] if a != "--match-policy"]
        return dict(zip(args[2::2], args[3::2], strict=True))

    codes, tokens = options("rl-codes"), options("rl-tokens")
    assert "--match-policy" in found["rl-tokens"]
    assert {k for k in {*codes, *tokens} if codes.get(k) != tokens.get(k)} == {
        *("--on", "--output", "--lr", "--merge-codes"),
    }


def chain(first: int = 3, second: int = 4) -> list[Stage]:
    """Two independent stages, and one that reads what the first wrote."""
    plan = Stages()
    made = ("train", "problems", "--kind", "countdown")
    rows = plan.add("rows", "rows", *made, "--count", first, output="rows.jsonl")
    plan.add("others", "others", *made, "--count", second, output="rows.jsonl")
    plan.add(
        "base", "base", "train", "base", "--data", rows, "--width", 16, "--layers", 1, "--heads", 2, "--threads", 1
    )
    return plan.found


@pytest.mark.parametrize(
    ("changed", "kept"),
    [({}, {"rows", "others", "base"}), ({"second": 5}, {"rows", "base"}), ({"first": 5}, {"others"})],
)
def test_stages_of_another_run_are_taken_where_they_and_all_they_read_are_the_same(tmp_path, changed, kept):
    """The base's own command does not say how many rows there are, but it reads them."""
    with open_folder(tmp_path / "first") as folder:
        for stage in chain():
            target = tmp_path / "first" / stage.folder
            target.mkdir(parents=True)
            (target / "made").write_text(stage.name)
            folder.append({"name": stage.name, "command": stage.command, "seconds": 1.0, "result": None})
    said: list[str] = []
    with open_folder(tmp_path / "second") as folder:
        plan = chain(**changed)
        reuse_stages(folder, plan, tmp_path / "first", said.append)
        assert {record["name"] for record in folder.records} == kept
        for stage in plan:
            made = tmp_path / "second" / stage.folder / "made"
            assert made.exists() == (stage.name in kept)
        reuse_stages(folder, plan, tmp_path / "first", said.append)  # once more changes nothing
        assert len(folder.records) == len(kept)
    assert said == [f"{len(kept)} of 3 stages were taken from {tmp_path / 'first'}"] * 2


def test_what_is_no_run_of_stages_is_refused(tmp_path):
    with open_folder(tmp_path / "run") as folder, pytest.raises(InputError, match=r"has no stages\.jsonl"):
        reuse_stages(folder, chain(), tmp_path, print)


if __name__ == "__main__":
    with open_folder(Path(sys.argv[1])) as opened:
        run_stages(opened, make(), print)
