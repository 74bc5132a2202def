"""``colasearch adapt``: how a budget is divided, and the whole run on a tiny base, killed once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tiny import make_base

from colasearch.cli.adapt import command
from colasearch.errors import InputError
from colasearch.experiments.adapt_run import run_adapting
from colasearch.experiments.recipes.adapting import (
    LEAST_STEPS,
    PROBLEMS,
    Adapting,
    final_stage,
    plan_of,
    stages,
)
from colasearch.model.latent_lm import LatentLM
from colasearch.training.data.corpus import load_corpus, split_heldout
from colasearch.training.reinforcement.rollout import read_rollouts
from colasearch.training.values.q_learning import rollout_corpus

SPEED = {
    "own_texts": True, "problems": 7000, "width": 896, "context": 32768, "vocabulary": 151936, "rows": 32,
    "text_tokens": 1_500_000, "sizes": {"policy_layers": 2, "policy_ffn": 672}, "micro_tokens": 512,
    "load_seconds": 5.0,
    "seconds": {"write": 0.01, "hidden": 0.01, "actions": 0.004, "policy": 0.001, "head": 0.005},
}  # fmt: skip
HOW = Adapting("base", ("/data.jsonl",), None, 60.0, None, 64, 0, "auto", "auto", None)


def test_minutes_are_divided_by_measured_speeds_and_tokens_say_the_same_everywhere():
    plan = plan_of(HOW, SPEED, spent=30.0)
    # A token costs 20 ms to make and 5 ms an epoch of both stages: four epochs take as long as the making.
    assert plan.epochs == 4
    left = 0.9 * 3600 - 30 - 5 * 5.0 - plan.mixture_positions * 64 * 0.005
    assert plan.tokens == pytest.approx(left / 0.04, rel=1e-3)
    assert sum(plan.seconds.values()) + 30 + 25 <= 3600
    faster = {**SPEED, "seconds": {name: value / 7 for name, value in SPEED["seconds"].items()}}
    assert plan_of(HOW, faster).tokens > 6 * plan.tokens
    counted = replace(HOW, tokens=1_000_000)
    assert plan_of(counted, SPEED, 30.0) == plan_of(counted, {**faster, "load_seconds": 1.0}, 7.0)
    assert plan_of(counted, SPEED).tokens * plan_of(counted, SPEED).epochs == 1_000_000


def test_given_texts_are_read_as_often_as_the_budget_allows():
    given = {**SPEED, "own_texts": False, "text_tokens": 20_000}
    assert plan_of(replace(HOW, tokens=200_000), given).epochs == 10
    plan = plan_of(HOW, given)
    assert plan.tokens == 20_000
    assert plan.epochs > 8
    more = plan_of(replace(HOW, tokens=20_000), given)
    assert (more.tokens, more.epochs) == (10_000, 2)


def test_a_budget_that_is_too_small_is_refused_with_one_that_is_not():
    with pytest.raises(InputError, match=r"1 minutes are enough for .* about \d+ --minutes") as raised:
        plan_of(replace(HOW, minutes=1.0), SPEED, spent=20.0)
    enough = float(str(raised.value).split()[-2])
    plan = plan_of(replace(HOW, minutes=enough), SPEED, spent=20.0)
    assert plan.tokens * plan.epochs // plan.batch_tokens >= LEAST_STEPS


def test_wide_bases_learn_slower_and_the_stages_follow_the_data():
    assert plan_of(HOW, SPEED).lr == 1e-3
    assert plan_of(HOW, {**SPEED, "width": 4096}).lr == 5e-4
    own = plan_of(HOW, SPEED)
    assert [s.name for s in stages(HOW, own)] == ["speed", "texts", "actions", "policy", "value", "evaluation"]
    given = plan_of(HOW, {**SPEED, "own_texts": False})
    assert [s.name for s in stages(HOW, given)] == ["speed", "actions", "policy", "rollouts", "value", "evaluation"]
    plain = plan_of(HOW, {**SPEED, "own_texts": False, "problems": 0})
    assert [s.name for s in stages(HOW, plain)] == ["speed", "actions", "policy", "evaluation"]
    assert final_stage(plain) == "policy"


def test_options_that_exclude_each_other_and_numbers_that_are_none_are_refused(tmp_path):
    def refused(*args: str) -> str:
        done = CliRunner().invoke(command, ["base", "--data", "x.jsonl", "--output", str(tmp_path / "o"), *args])
        assert done.exit_code == 2
        return done.output

    assert "not both" in refused("--tokens", "1M", "--minutes", "3")
    assert "no number of tokens" in refused("--tokens", "many")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapt")
    rows = [{"problem": f"{i}+{i}?", "answer": str(i % 2)} for i in range(24)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_base(folder / "base", context=224)
    return folder / "base", folder / "problems.jsonl"


class Interrupted(Exception):
    pass


def run(data: tuple[Path, Path], folder: Path, stop_at: str | None = None, resume: bool = False) -> dict[str, Any]:
    how = replace(HOW, base=str(data[0]), data=(str(data[1]),), tokens=4000, codes=8, threads=1, device="cpu")

    def say(line: str) -> None:
        if stop_at is not None and stop_at in line:
            raise Interrupted

    return run_adapting(how, folder, resume=resume, say=say)


@pytest.mark.timeout(600)
def test_an_interrupted_run_goes_on_to_a_model_with_its_card(data, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(data, folder, "actions: 1/")
    assert not (folder / "model").exists()
    with pytest.raises(InputError, match="--resume"):
        run(data, folder)
    summary = run(data, folder, resume=True)
    assert {"alive", "base_ce", "wm_ce", "mixture_kl"} <= set(summary["heldout"])
    assert f"colasearch solve problem.txt --model {folder / 'model'}" in summary["try"][0]
    modules = LatentLM.from_pretrained(str(folder / "model"), "cpu", "float32").require_latents()
    assert (modules.config.num_codes, modules.value is not None) == (8, True)
    assert "mixture's KL from the base" in (folder / "model" / "README.md").read_text()
    check_texts(folder, data[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_gone_on_with_makes_the_model_of_an_undisturbed_one(data, tmp_path):
    base, problems = data
    program = [sys.executable, "-m", "colasearch.cli.main", "adapt", str(base), "--data", str(problems)]
    program += ["--tokens", "4k", "--codes", "8", "--threads", "1", "--json", "--output"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = subprocess.run([*program, str(whole)], capture_output=True, text=True, check=True)
    process = subprocess.Popen([*program, str(cut)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (cut / "stages" / "02-texts" / "rollouts.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    subprocess.run([*program, str(cut), "--resume"], capture_output=True, text=True, check=True)
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, cut)]
    assert weights[0] == weights[1]
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads((whole / "summary.json").read_text())
    assert "colasearch solve" in done.stderr


def check_texts(run: Path, base: Path) -> None:
    """The run's own texts: documents are what the base wrote; held out are all of a problem's or none."""
    log = run / "stages" / "02-texts" / "rollouts.jsonl"
    lm = LatentLM.from_pretrained(str(base), "cpu", "float32")
    corpus = load_corpus([log], lm.base.tokenizer, lm.base.end_id, 512)
    found = read_rollouts(log)
    assert [d.tokens for d in corpus.documents] == [e.tokens for _, e in found]
    assert corpus.sha256 == rollout_corpus([e for _, e in found]).sha256  # one's hidden states are the other's
    train, held = split_heldout(corpus, 0.3)
    assert held
    assert not {found[i][0] for i in train} & {found[i][0] for i in held}
    assert {len(json.loads(line)) for line in (run / PROBLEMS).read_text().splitlines()} == {2}
