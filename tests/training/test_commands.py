"""The ``colasearch train`` commands beyond the two stages, run in this process on tiny models."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from colasearch.cli.main import main
from colasearch.model.latent_lm import LatentLM

COMMON = ("--threads", 1, "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"problem": f"{i}+{i}?", "answer": str(2 * i), "solution": f"It is {2 * i}."} for i in range(30)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture
def call(capsys):
    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in args])
        return code, *capsys.readouterr()

    return run


def report(result: tuple[int, str, str]) -> dict:
    code, out, err = result
    assert code == 0, err
    return json.loads(out.strip().splitlines()[-1])


def steps(folder: Path, key: str) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row[key] for row in rows if key in row]


def test_codes_are_learned_where_the_base_is_unsure(call, base_folder, texts, tmp_path):
    """A base that is nowhere so sure leaves all transitions open; with a bound of almost 0 few count."""
    counted = {}
    for below in (1.0, 1e-6):
        code, _, err = call(
            "train", "actions", "--model", base_folder, "--data", texts, "--output", tmp_path / str(below),
            "--codes", 4, "--open-below", below, "--certain-share", 0.2, "--epochs", 1, "--batch-tokens", 512,
            "--heldout", 0.3, *COMMON,
        )  # fmt: skip
        assert code == 0, err
        counted[below] = int(next(line.split()[0] for line in err.splitlines() if "to learn codes from" in line))
        assert json.loads((tmp_path / str(below) / "manifest.json").read_text())["config"]["open_below"] == below
        assert all(torch.isfinite(torch.tensor(steps(tmp_path / str(below), "ce"))))
    assert 0 < counted[1e-6] < 0.5 * counted[1.0]


@pytest.mark.parametrize("codes", ["idm", "policy"])
def test_guide(call, model_folder, texts, tmp_path, codes):
    args = (
        "train", "guide", "--model", model_folder, "--data", texts, "--output", tmp_path / "g", "--codes", codes,
        "--rank", 2, "--lr", 0.01, "--epochs", 4, "--batch-tokens", 512, "--warmup-steps", 1, "--heldout", 0.3,
        "--tensorboard", *COMMON,
    )  # fmt: skip
    done = report(call(*args))
    assert done["heldout"]["wm_ce"] < done["heldout"]["before_wm_ce"]
    lm = LatentLM.from_pretrained(done["model"], "cpu", "float32")
    assert lm.require_latents().config.tuned.kind == "lora"
    card = (Path(done["model"]) / "README.md").read_text()
    assert "Stage: guide" in card
    assert "low-rank changes are in adapter.safetensors" in card
    assert list((tmp_path / "g" / "tensorboard").glob("events*"))
    # Measured again from its folder, with the IDM on the base as it was.
    again = report(
        call("train", "evaluate", "--model", done["model"], "--data", texts, "--heldout", 0.3, "--json", *COMMON)
    )
    measures = again["heldout"]
    assert measures["tokens"] > 0
    # A finished run that is resumed does nothing again and says the same.
    assert report(call(*args, "--resume"))["heldout"] == pytest.approx(done["heldout"], abs=1e-5)
    code, _, err = call(*args)
    assert code == 2
    assert "--resume" in err


def test_the_modules_sizes_can_be_given(call, base_folder, texts, tmp_path):
    sizes = {"idm_ffn": 24, "policy_ffn": 40, "merge_ffn": 48, "merge_layers": 3}
    flags = [part for name, size in sizes.items() for part in (f"--{name.replace('_', '-')}", size)]
    done = report(call(
        "train", "actions", "--model", base_folder, "--data", texts, "--output", tmp_path / "a", "--heldout", 0.3,
        "--epochs", 1, "--codes", 4, "--warmup-steps", 1, *flags, *COMMON,
    ))  # fmt: skip
    config = LatentLM.from_pretrained(done["model"], "cpu", "float32").require_latents().config
    assert {name: getattr(config, name) for name in sizes} == sizes


def test_new_codes_on_a_tuned_base_go_with_its_changes(call, model_folder, texts, tmp_path):
    small = ("--heldout", 0.3, "--epochs", 1, "--batch-tokens", 512, "--warmup-steps", 1, *COMMON)
    guide = ("--tune", "lora", "--rank", 2, "--lr", 0.1, "--base-weight", 1, *small)
    tuned = report(call("train", "guide", "--model", model_folder, "--data", texts, "--output", tmp_path / "g", *guide))
    given = ("--model", tuned["model"], "--data", texts, "--output", tmp_path / "a", "--codes", 4, *small)
    done = report(call("train", "actions", *given))
    before, after = (LatentLM.from_pretrained(m["model"], "cpu", "float32") for m in (tuned, done))
    assert after.base.identity == before.base.identity
    weights = [dict(lm.base.model.named_parameters()) for lm in (before, after)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert after.num_codes == 4
    config = after.require_latents().config
    assert config.tuned.codes_after
    assert set(config.training) == {"guide", "actions"}
    # The IDM reads the tuned base: measured again from its folder it says the same, and the policy learns from it.
    again = report(
        call("train", "evaluate", "--model", done["model"], "--data", texts, "--heldout", 0.3, "--json", *COMMON)
    )
    assert again["heldout"]["wm_ce"] == pytest.approx(done["heldout"]["wm_ce"], rel=2e-3)
    given = ("--model", done["model"], "--data", texts, "--output", tmp_path / "p", *small)
    assert report(call("train", "policy", *given))["heldout"]["wm_ce"] == pytest.approx(
        done["heldout"]["wm_ce"], rel=2e-3
    )
    # Tuned once more, the base that the IDM reads is gone, and the IDM with it.
    given = ("--model", done["model"], "--data", texts, "--output", tmp_path / "g2", *guide)
    twice = LatentLM.from_pretrained(report(call("train", "guide", *given))["model"], "cpu", "float32")
    assert twice.require_latents().config.idm_layers == 0
    assert twice.require_latents().config.tuned.kind == "weights"


def test_codes_that_are_kept_go_on_from_where_they_were(call, model_folder, texts, tmp_path):
    given = ("--model", model_folder, "--data", texts, "--heldout", 0.3, "--epochs", 1, "--batch-tokens", 512)
    runs = {}
    for name, more in (("kept", ("--keep-codes",)), ("new", ("--codes", 8))):
        # A step so small that what was there stays there.
        done = report(
            call(
                "train",
                "actions",
                *given,
                *more,
                "--lr",
                1e-7,
                "--revive-every",
                0,
                "--output",
                tmp_path / name,
                *COMMON,
            )
        )
        runs[name] = LatentLM.from_pretrained(done["model"], "cpu", "float32").require_latents()
    before = LatentLM.from_pretrained(str(model_folder), "cpu", "float32").require_latents()
    for part in ("idm", "merge", "policy"):
        for mine, its in zip(getattr(runs["kept"], part).parameters(), getattr(before, part).parameters(), strict=True):
            assert torch.allclose(mine, its, atol=1e-3)
    assert torch.allclose(runs["kept"].codebook.weight, before.codebook.weight, atol=1e-3)
    assert not torch.allclose(runs["new"].codebook.weight, before.codebook.weight, atol=1e-1)
    assert runs["kept"].config.training["actions"]["config"]["keep_codes"] is True


@pytest.fixture
def problems(tmp_path):
    """Problems whose verifier the tiny model can please now and then: any \\boxed answer with the format reward."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"problem": f"{i}?", "answer": str(i)}) + "\n" for i in range(12)))
    return path


RL = (
    "--max-new-tokens", 6, "--group", 2, "--batch", 4, "--rounds", 3, "--heldout", 0.3, "--warmup-steps", 1,
    "--save-every", 1, "--lr", 0.01,
)  # fmt: skip


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "remax", "ppo"])
def test_rl_on_codes(call, model_folder, problems, tmp_path, algorithm):
    done = report(
        call("train", "rl", "--model", model_folder, "--data", problems, "--output", tmp_path / "r", "--algorithm",
             algorithm, "--keep-rollouts", *RL, *COMMON)
    )  # fmt: skip
    wanted = {"reward", "greedy_reward", "before_reward", "format", "greedy_format", "before_greedy_format"}
    assert wanted <= set(done["heldout"])
    assert len(steps(tmp_path / "r", "reward")) == 3
    assert len(steps(tmp_path / "r", "format")) == 3
    assert all(1 < used <= 8 for used in steps(tmp_path / "r", "actions_used"))
    rounds, updates = steps(tmp_path / "r", "rollout_seconds"), steps(tmp_path / "r", "update_seconds")
    assert min(*rounds, *updates) > 0
    assert sum(rounds) + sum(updates) <= steps(tmp_path / "r", "seconds")[-1] + 0.01
    assert len((tmp_path / "r" / "rollouts.jsonl").read_text().splitlines()) == 3 * 4 * 2
    before = LatentLM.from_pretrained(str(model_folder), "cpu", "float32").require_latents()
    after = LatentLM.from_pretrained(done["model"], "cpu", "float32").require_latents()
    assert after.config.tuned is None
    assert done["trained_parameters"] == sum(p.numel() for p in before.policy.parameters())
    for name, value in before.state_dict().items():
        if not name.startswith("policy"):
            assert (after.state_dict()[name] == value).all(), name


def test_codes_of_equal_tokens_are_merged_where_that_is_asked_for(call, model_folder, problems, tmp_path):
    """The same rollouts at first; what was drawn is likelier, since more codes count as it."""
    for name, more in (("plain", ()), ("merged", ("--merge-codes", 8))):
        where = ("--data", problems, "--output", tmp_path / name)
        report(call("train", "rl", "--model", model_folder, *where, *more, *RL, *COMMON))
    plain, merged = tmp_path / "plain", tmp_path / "merged"
    for key in ("reward", "length", "entropy"):
        assert steps(merged, key)[0] == pytest.approx(steps(plain, key)[0], rel=1e-6)
    assert steps(merged, "nats")[0] < steps(plain, "nats")[0]


def test_rl_on_tokens_trains_as_much_as_the_policy_has(call, model_folder, problems, tmp_path):
    done = report(
        call("train", "rl", "--model", model_folder, "--data", problems, "--output", tmp_path / "r", "--on", "tokens",
             "--match-policy", *RL, *COMMON)
    )  # fmt: skip
    lm = LatentLM.from_pretrained(done["model"], "cpu", "float32")
    size = sum(p.numel() for p in lm.require_latents().policy.parameters())
    assert done["trained_parameters"] == pytest.approx(size, rel=0.5)  # a rank is a large step for a tiny base
    assert lm.require_latents().config.tuned.kind == "lora"


def test_rl_on_tokens_of_a_base_without_latent_modules(call, base_folder, problems, tmp_path):
    done = report(
        call("train", "rl", "--model", base_folder, "--data", problems, "--output", tmp_path / "r", "--on", "tokens",
             "--tune", "layers", "--layers", "-1", *RL, *COMMON)
    )  # fmt: skip
    assert LatentLM.from_pretrained(done["model"], "cpu", "float32").latents is None


def test_rl_says_what_it_needs(call, model_folder, problems, tmp_path):
    common = ("train", "rl", "--model", model_folder, "--data", problems, "--output", tmp_path / "r", *COMMON)
    code, _, err = call(*common, "--algorithm", "rloo", "--group", 1)
    assert code == 2
    assert "give at least 2" in err
    code, _, err = call(*common, "--on", "tokens", "--merge-codes", 8)
    assert code == 2
    assert "--merge-codes is of --on codes" in err
    code, _, err = call(*common, "--max-new-tokens", 600)
    assert code == 2
    assert "--max-new-tokens is 600" in err


def test_rollouts_then_values_then_q(call, model_folder, problems, tmp_path):
    log = tmp_path / "logs" / "rollouts.jsonl"
    args = ("train", "rollouts", "--model", model_folder, "--data", problems, "--samples", 3, "--max-new-tokens", 6,
            "--format-weight", 0.5, "--output", log, *COMMON)  # fmt: skip
    assert report(call(*args))["rollouts"] == 36
    whole = log.read_text()
    log.write_text("".join(line + "\n" for line in whole.splitlines()[:10]))  # stopped within the fourth problem
    report(call(*args))
    assert log.read_text() == whole[: len(log.read_text())]
    model = model_folder
    for head in ("value", "q"):
        done = report(
            call("train", "value", "--model", model, "--rollouts", log, "--head", head, "--output", tmp_path / head,
                 "--epochs", 2, "--batch", 64, "--heldout", 0.3, *COMMON)
        )  # fmt: skip
        model = done["model"]
    modules = LatentLM.from_pretrained(model, "cpu", "float32").require_latents()
    assert modules.value is not None
    assert modules.q is not None

    rows = [{**json.loads(line), "reward": float(n % 3 == 0)} for n, line in enumerate(log.read_text().splitlines())]
    divided = tmp_path / "divided.jsonl"
    divided.write_text("".join(json.dumps(row) + "\n" for row in rows))
    within = ("train", "value", "--model", model_folder, "--within-problems", "--output", tmp_path / "w", *COMMON)
    held = report(call(*within, "--rollouts", divided, "--epochs", 1, "--heldout", 0.3))["heldout"]
    assert held["mean_mse"] == pytest.approx(0.25)  # of always saying that it is one or the other
    assert held["pairs"] > 0
    assert 0 <= held["order"] <= 1
    code, _, err = call(*within[:-2], "--rollouts", divided, "--head", "q")
    assert code == 2
    assert "--within-problems is for the value head" in err


@pytest.fixture
def searched(model_folder, tmp_path):
    from colasearch.engine.scheduler import search_problems
    from colasearch.engine.settings import SearchSettings, WorldConfig
    from colasearch.problem import Problem

    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    settings = SearchSettings(sims=12, world=WorldConfig(max_tokens=12, max_step_tokens=3, references=2))
    folder = tmp_path / "bench" / "traces" / "gumbel-12"
    folder.mkdir(parents=True)
    for done in search_problems(lm, [Problem.from_text(f"{i}?") for i in range(8)], settings):
        done.trace.write(folder / f"{done.problem.id}.json.gz")
    return tmp_path / "bench"


def test_value_q_and_policy_from_traces(call, model_folder, searched, texts, tmp_path):
    model = model_folder
    for head in ("value", "q"):
        done = report(
            call("train", "value", "--model", model, "--traces", searched, "--head", head, "--output", tmp_path / head,
                 "--epochs", 2, "--batch", 32, "--heldout", 0.3, *COMMON)
        )  # fmt: skip
        assert done["heldout"]["states"] > 0
        model = done["model"]
    done = report(
        call("train", "policy", "--model", model, "--traces", searched, "--output", tmp_path / "p", "--epochs", 2,
             "--heldout", 0.3, *COMMON)
    )  # fmt: skip
    assert done["heldout"]["kl"] >= -1e-6
    card = (Path(done["model"]) / "README.md").read_text()
    for stage in ("value", "q", "search-policy"):
        assert f"Stage: {stage}" in card
    code, _, err = call("train", "policy", "--model", model, "--output", tmp_path / "x", *COMMON)
    assert code == 2
    assert "either --data" in err
    code, _, err = call(
        "train", "value", "--model", model, "--traces", texts.parent / "none", "--output", tmp_path / "x"
    )
    assert code == 2
    assert "holds no traces" in err


def test_rl_killed_by_sigkill_resumes_to_the_same_curve(call, model_folder, problems, tmp_path):
    def command(name: str) -> list[str]:
        args = ("train", "rl", "--model", model_folder, "--data", problems, "--output", tmp_path / name, "--algorithm",
                "ppo", "--updates", 2, "--keep-rollouts", *RL[:-6], "--warmup-steps", 1, "--save-every", 1,
                "--lr", 0.01, "--rounds", 6, *COMMON)  # fmt: skip
        return [str(a) for a in args]

    def curve(name: str) -> list[dict]:
        rows = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]

    report(call(*command("whole")))
    program = [sys.executable, "-m", "colasearch.cli.main", *command("cut")]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "cut" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) >= 5):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    assert len(metrics.read_text().splitlines()) < len(curve("whole"))
    report(call(*command("cut"), "--resume"))
    assert curve("cut") == curve("whole")
    assert curve("whole")[-2]["kl"] > 0  # the policy did move
    for name in ("rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_countdown_from_nothing_to_a_search(call, tmp_path):
    """Problems, a base from scratch, codes on it, a policy, RL with the checkable verifier, and a search at the end."""
    data = tmp_path / "c.jsonl"
    assert call("train", "problems", "--kind", "countdown", "--count", 60, "--output", data)[0] == 0
    text = ("--data", data, "--heldout", 0.2, "--epochs", 1, "--batch-tokens", 2048, *COMMON)
    base = report(
        call("train", "base", *text, "--width", 32, "--layers", 1, "--heads", 2, "--output", tmp_path / "b")
    )  # fmt: skip
    assert base["heldout"]["ce"] > 0
    codes = report(call("train", "actions", "--model", base["model"], *text, "--codes", 8, "--output", tmp_path / "a"))
    policy = report(call("train", "policy", "--model", codes["model"], *text, "--output", tmp_path / "p"))
    rl = report(
        call("train", "rl", "--model", policy["model"], "--data", data, "--task", "countdown", "--output",
             tmp_path / "r", "--format-weight", 0.1, *RL, *COMMON)
    )  # fmt: skip
    problem = tmp_path / "p.txt"
    problem.write_text("3 5 7 26")
    code, out, err = call(
        "solve", problem, "--model", rl["model"], "--task", "countdown", "--sims", 4, "--max-tokens", 12, "--json",
        "--threads", 1,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["task"] == "countdown"


def test_stages_1_and_2_train_on_a_base_in_half_precision(call, model_folder, texts, tmp_path):
    small = ("--data", texts, "--heldout", 0.3, "--epochs", 1, "--batch-tokens", 512, "--warmup-steps", 1, *COMMON)
    half = (*small, "--dtype", "bfloat16")
    given = ("--model", model_folder, "--output", tmp_path / "a", "--codes", 4)
    actions = report(call("train", "actions", *given, *half))
    policy = report(call("train", "policy", "--model", actions["model"], "--output", tmp_path / "p", *half))
    for done in (actions, policy):
        assert all(value == value for value in done["heldout"].values())
    assert policy["heldout"]["wm_ce"] == pytest.approx(actions["heldout"]["wm_ce"], rel=0.02)
