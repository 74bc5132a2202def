"""The Countdown experiment at its smoke size, end to end; killed and resumed; its report against its stages."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colasearch.benchmarks.harness.intervals import wilson
from colasearch.cli.main import main
from colasearch.experiments.recipes.countdown import stages
from colasearch.experiments.recipes.countdown_recipe import SIZES
from colasearch.experiments.running.stages import RECORDS_NAME
from colasearch.model.latent_lm import LatentLM
from colasearch.storage.records import read_records

LAST = 2
"""Stages that are done again after a kill."""


def experiment(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "colasearch",
        "experiment",
        "countdown",
        "--size",
        "smoke",
        "--output",
        str(folder),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--json", *more], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err[-2000:]
    return json.loads(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, dict]:
    """Run in this process, so that those of its stages are forked (``zygote``)."""
    folder = tmp_path_factory.mktemp("experiment") / "run"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            code = main(["experiment", "countdown", "--size", "smoke", "--output", str(folder), "--json"])
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    assert code == 0
    return folder, json.loads(out.getvalue())


def timeless(summary: dict) -> dict:
    aims = [aim for aim in summary["aims"] if aim["key"] != "update-time"]
    rl = dict(summary["rl"])
    for level in ("codes", "tokens"):
        rounds = {key: values for key, values in rl[level]["rounds"].items() if "seconds" not in key}
        rl[level] = {**rl[level], "rounds": rounds}
    return {**summary, "times": None, "aims": aims, "rl": rl}


def test_every_stage_is_done_and_the_numbers_are_the_stages_own(whole):
    folder, summary = whole
    plan = stages(SIZES["smoke"])
    records = read_records(folder, RECORDS_NAME)
    assert sorted(r["name"] for r in records) == sorted(s.name for s in plan)  # in the order in which they were done
    assert {r["status"] for r in records} == {"ok"}
    assert json.loads((folder / "summary.json").read_text()) == summary
    paths = {s.name: folder / s.folder for s in plan}

    def bench(name: str) -> dict:
        return json.loads((paths[name] / "summary.json").read_text())

    for row in summary["greedy"]:
        greedy = bench(row["key"])["arms"]["greedy"]
        assert (row["n"], row["correct"]) == (greedy["n"], greedy["selected"]["correct"])
        assert row["ci95"] == [round(bound, 6) for bound in wilson(row["correct"], row["n"])]
    for key, name in (("rl", "bench-search"), ("final", "bench-final"), ("harder", "bench-harder")):
        found, theirs = summary["search"][key], bench(name)
        assert [p["sims"] for p in found["points"]] == [p["sims"] for p in theirs["curve"]]
        for point, curve in zip(found["points"], theirs["curve"], strict=True):
            assert point["comparisons"] == curve["comparisons"]
            for arm, cell in point["arms"].items():
                assert cell["selected"] == curve["arms"][arm]["selected"]
                assert cell["tokens"] * cell["n"] == pytest.approx(curve["arms"][arm]["generated_tokens"], abs=0.1)
    for level in ("codes", "tokens"):
        rows = [json.loads(line) for line in (paths[f"rl-{level}"] / "metrics.jsonl").read_text().splitlines()]
        rounds = [row for row in rows if "reward" in row]
        assert summary["rl"][level]["rounds"]["length"] == [row["length"] for row in rounds]
        times = [row["update_seconds"] for row in rounds]
        assert summary["times"]["rl"][level]["update_seconds"] == pytest.approx(sum(times) / len(times), abs=1e-4)
    trained = [summary["rl"][level]["trained_parameters"] for level in ("codes", "tokens")]
    assert abs(trained[0] - trained[1]) / trained[0] < 0.1
    assert [row["iteration"] for row in summary["iterations"]] == list(range(SIZES["smoke"].iterations + 1))


def test_reports_show_the_summary(whole):
    folder, summary = whole
    text, html = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    data = json.loads(html.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert data["kind"] == "experiment"
    assert [a["measured"] for a in data["aims"]] == [a["measured"] for a in summary["aims"]]
    for aim in summary["aims"]:
        assert aim["aim"] in text
    cells = {
        cell for section in data["sections"] for table in section["tables"] for row in table["rows"] for cell in row
    }
    for row in summary["greedy"]:
        assert {row["model"], f"{100 * row['accuracy']:.1f}%"} <= cells
        assert f"| {row['model']} | {100 * row['accuracy']:.1f}% |" in text
    charts = {chart["name"]: chart for section in data["sections"] for chart in section["charts"]}
    assert {"rl-format", "rl-length", "rl-reward", "rl-heldout", "iterations", "final-accuracy-tokens"} <= charts.keys()
    assert charts["rl-length"]["series"][0]["y"] == summary["rl"]["codes"]["rounds"]["length"]
    for chart in charts:
        assert f"(plots/{chart}.png)" in text
        assert (folder / "plots" / f"{chart}.png").stat().st_size > 0
    for stage in stages(SIZES["smoke"]):
        assert [stage.label, stage.about, stage.command] in data["commands"]


def test_the_final_model_carries_its_base(whole, tmp_path, monkeypatch):
    folder, _ = whole
    shutil.copytree(folder / "model", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    lm = LatentLM.from_pretrained("elsewhere", "cpu", "float32")
    assert lm.require_latents().value is not None
    assert lm.base.hidden_size == SIZES["smoke"].width


@pytest.mark.slow  # stages in general are killed in test_stages_run.py
def test_killed_and_resumed_it_gives_the_same_summary(whole, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(whole[0], folder)
    lines = (folder / RECORDS_NAME).read_text().splitlines(keepends=True)
    last = stages(SIZES["smoke"])[-LAST:]
    kept = [line for line in lines if json.loads(line)["name"] not in {stage.name for stage in last}]
    (folder / RECORDS_NAME).write_text("".join(kept))
    for stage in last:
        shutil.rmtree(folder / stage.folder)
    for name in ("summary.json", "report.md", "report.html"):
        (folder / name).unlink()
    stage = last[0]
    process = experiment(folder, "--resume")
    end = time.monotonic() + 90
    while not (folder / stage.folder / "problems.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(read_records(folder, RECORDS_NAME)) < len(lines)

    before = {r["name"]: r for r in read_records(folder, RECORDS_NAME)}
    summary = finish(experiment(folder, "--resume"))
    assert timeless(summary) == timeless(whole[1])
    records = {r["name"]: r for r in read_records(folder, RECORDS_NAME)}
    assert {name: records[name] for name in before} == before
    assert records[stage.name]["resumed"]


def test_an_existing_folder_and_another_recipe_are_refused(whole):
    folder, _ = whole
    for more, words in (((), "--resume"), (("--resume", "--set", "rl_rounds=4"), "rl-rounds was 2 and is now 4")):
        process = experiment(folder, *more)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert words in err
