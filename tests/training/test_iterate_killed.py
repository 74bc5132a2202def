"""``colasearch iterate`` killed with SIGKILL at seeded moments of several stages ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colasearch.model.latent_lm import LatentLM, save_latents
from colasearch.training.values.heads import add_head

STAGES = ("check-0", "search-1", "policy-1", "value-1", "rl-1", "check-1")


@pytest.fixture
def program(model_folder, tmp_path):
    """The command line, but for ``--output``; the model has a value head, so no stage goes before the first search."""
    modules = LatentLM.from_pretrained(str(model_folder), "cpu", "float32").require_latents()
    add_head(modules, "value", seed=0)
    save_latents(modules, tmp_path / "start")
    rows = [{"problem": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(14)]
    for name, part in (("train", rows[:10]), ("held", rows[10:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    args = (
        "iterate", "--model", tmp_path / "start", "--data", tmp_path / "train.jsonl", "--heldout-data",
        tmp_path / "held.jsonl", "--iterations", 1, "--problems-per-iteration", 8, "--searcher", "puct", "--sims", 12,
        "--eval-sims", 4, "--max-tokens", 24, "--max-step-tokens", 8, "--batch-size", 2, "--rl-rounds", 12,
        "--rl-batch", 2, "--rl-group", 2, "--rl-lr", 0.01, "--value-epochs", 3, "--seed", 5, "--threads", 1,
    )  # fmt: skip
    return [sys.executable, "-m", "colasearch.cli.main", *map(str, args)]


def content(folder: Path) -> tuple[dict, str, bytes]:
    """All that a run ends with, times apart."""
    summary = json.loads((folder / "summary.json").read_text())
    del summary["times"]
    return summary, (folder / "metrics.jsonl").read_text(), (folder / "model" / "model.safetensors").read_bytes()


def stage_folder(root: Path, name: str) -> Path:
    return next(iter((root / "stages").glob(f"*-{name}")), root / "none")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_seeded_moments_ends_as_an_undisturbed_one(program, tmp_path, seed):
    subprocess.run([*program, "--output", str(tmp_path / "whole")], check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (tmp_path / "whole" / "stages.jsonl").read_text().splitlines()]
    assert tuple(record["name"] for record in records) == STAGES
    lasted = {record["name"]: record["seconds"] for record in records}
    chance = random.Random(seed)
    cut, killed = tmp_path / "cut", []
    for place in sorted(chance.sample(range(len(STAGES)), 3)):
        name = STAGES[place]
        resume = ["--resume"] if cut.exists() else []
        process = subprocess.Popen(
            [*program, "--output", str(cut), *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not stage_folder(cut, name).exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.8 * lasted[name])
        process.kill()
        killed.append(process.wait())
    assert killed == [-9] * 3  # none had come to its end
    assert not (cut / "summary.json").exists()
    done = subprocess.run([*program, "--output", str(cut), "--resume"], check=True, capture_output=True, text=True)
    assert content(cut) == content(tmp_path / "whole")
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads((cut / "summary.json").read_text())
    again = subprocess.run([*program, "--output", str(cut)], capture_output=True, text=True)
    assert again.returncode == 2
    assert "--resume" in again.stderr
