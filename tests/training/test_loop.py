"""The training loop's folder: what a resume finds after a process died at any point."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from colasearch.errors import ColasearchError, PrerequisiteError
from colasearch.training.reinforcement.rl import rounds
from colasearch.training.running.loop import LoopConfig, TrainRun, fit


def _train(folder: Path, resume: bool, die_at: int | None = None) -> list[dict[str, float]]:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)

    def accumulate(batch, step, steps):
        if step == die_at:
            raise SystemExit("killed")
        loss = model(torch.ones(1, 2)).square().sum()
        loss.backward()
        return {"loss": loss.item()}

    run = TrainRun(folder, {"config": {}}, resume)
    try:
        fit(
            run,
            model,
            model.parameters(),
            LoopConfig(lr=0.1, warmup_steps=0, save_every=3, log_every=1, evaluate_every=100),
            lambda epoch: [[0]] * 6,
            1,
            accumulate,
            lambda: {},
            lambda done, steps, metrics: None,
        )
    except SystemExit:
        pass
    finally:
        run.close()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_every_step_is_logged_once_wherever_the_process_died(tmp_path):
    whole = _train(tmp_path / "whole", resume=False)
    assert [line["step"] for line in whole] == [1, 2, 3, 4, 5, 6]
    for death in (1, 2, 3, 4, 5):  # 1 and 2: before the first checkpoint, with steps in the log already
        folder = tmp_path / f"died-{death}"
        assert [line["step"] for line in _train(folder, resume=False, die_at=death)] == list(range(1, death + 1))
        assert _train(folder, resume=True) == whole


def test_a_gradient_that_is_not_finite_ends_the_run_with_the_last_checkpoint_kept(tmp_path):
    model = nn.Linear(2, 1)

    def accumulate(batch, step, steps):
        (model(torch.ones(1, 2)).sum() * (float("nan") if step == 4 else 1.0)).backward()
        return {"loss": 0.0}

    run = TrainRun(tmp_path / "run", {"config": {}}, resume=False)
    config = LoopConfig(lr=0.1, warmup_steps=0, save_every=2, log_every=1, evaluate_every=100)
    with pytest.raises(ColasearchError, match=r"step 4: the gradient norm is nan; lower --lr"):
        fit(run, model, model.parameters(), config, lambda e: [[0]] * 6, 1, accumulate, lambda: {}, lambda *a: None)
    run.close()
    again = nn.Linear(2, 1)
    run = TrainRun(tmp_path / "run", {"config": {}}, resume=True)
    assert run.load(again, torch.optim.AdamW(again.parameters())) == 4
    assert all(torch.isfinite(p).all() for p in again.parameters())
    run.close()


def test_a_resumed_optimiser_keeps_all_its_state_where_the_parameter_is(tmp_path):
    """The fused AdamW refuses a step count on the CPU for a parameter elsewhere; "meta" stands for a GPU here."""
    _train(tmp_path / "run", resume=False)
    run = TrainRun(tmp_path / "run", {"config": {}}, resume=True)
    model = nn.Linear(2, 1, device="meta")
    optimizer = torch.optim.AdamW(model.parameters())
    assert run.load(model, optimizer) == 6
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}
        assert {value.device for value in state.values()} == {parameter.device}


def test_boards_get_what_metrics_jsonl_has(tmp_path, monkeypatch):
    told: list[tuple[dict[str, float], int]] = []
    ended = []
    run = SimpleNamespace(log=lambda record, step: told.append((record, step)), finish=lambda: ended.append(True))
    asked = {}
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **given: asked.update(given) or run))
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    train = TrainRun(tmp_path / "run", {"config": {"lr": 1}}, False, ["tensorboard", "wandb"])
    train.log({"step": 3, "loss": 0.5})
    train.log({"step": 4, "loss": 0.25})
    train.close()
    assert told == [({"loss": 0.5}, 3), ({"loss": 0.25}, 4)]
    assert (asked["project"], asked["name"], asked["config"], ended) == ("mine", "run", {"lr": 1}, [True])
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PrerequisiteError, match="--log wandb needs"):
        TrainRun(tmp_path / "other", {"config": {}}, False, ["wandb"])
    TrainRun(tmp_path / "other", {"config": {}}, True).close()  # the lock was given back


def test_an_epoch_of_rl_asks_every_problem_once_and_the_next_one_in_another_order():
    plan = rounds(12, batch=5, updates=2, seed=3)
    first, second = plan(0), plan(1)
    for groups in (first, second):
        assert [len(group) for group in groups] == [5, 5, 5, 5, 2, 2]
        assert groups[::2] == groups[1::2], "each round is updated on twice"
        assert sorted(one for group in groups[::2] for one in group) == list(range(12))
    assert first != second
    assert first == rounds(12, batch=5, updates=2, seed=3)(0) != rounds(12, batch=5, updates=2, seed=4)(0)
