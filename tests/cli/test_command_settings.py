"""Flags, YAML files and Python make the same typed settings of a command."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from colasearch.cli import bench_run, iterate, solve
from colasearch.cli.main import main
from colasearch.cli.settings import BenchSettings, SolveSettings
from colasearch.cli.train import COMMANDS
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.model.latent_lm import LatentLM


@pytest.fixture
def made(monkeypatch):
    """Settings that commands have made; nothing is run."""
    found = []

    def note(settings, context):
        found.append(settings)
        return 0

    for module in (solve, bench_run):
        monkeypatch.setattr(module, "run", note)
    return found


def test_flags_left_out_are_the_defaults_that_python_has(made):
    assert main(["solve", "p.txt"]) == 0
    assert main(["bench", "countdown"]) == 0
    assert made == [SolveSettings(file="p.txt"), BenchSettings(name="countdown")]


def test_flags_yaml_and_python_say_the_same(made, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("sims: 5\nsearcher: puct\nmax-seconds: 2.5\ncheck-steps: false\noutput: runs/x\n")
    flags = ["--sims", "5", "--searcher", "puct", "--max-seconds", "2.5", "--no-check-steps", "--output", "runs/x"]
    for command in (["solve", "p.txt"], ["bench", "svamp"]):
        assert main([*command, *flags, "--option", "pb_c_init=2"]) == 0
        assert main([*command, "--config", str(config), "--option", "pb_c_init=2"]) == 0
    same = {"max_seconds": 2.5, "check_steps": False, "output": Path("runs/x"), "options": {"pb_c_init": 2}}
    one = SolveSettings(file="p.txt", sims=5, searcher="puct", **same)
    other = BenchSettings(name="svamp", sims=(5,), searcher=("puct",), **same)
    assert made == [one, one, other, other]


def test_a_model_over_all_gpus_is_for_one_process(capsys, tmp_path):
    (tmp_path / "p.txt").write_text("1+1?")
    assert main(["solve", str(tmp_path / "p.txt"), "--device", "spread", "--workers", "2"]) == 2
    assert "leave --workers out" in capsys.readouterr().err


def test_a_bench_compares_its_searcher_once(made):
    assert main(["bench", "svamp", "--searcher", "majority"]) == 0
    assert made[0].all_arms == ("majority", "greedy", "best_of_n")


def test_how_texts_are_decoded_can_be_said_to_every_search_command(made, base):
    flags = ["--rows", "7", "--kv-memory", "0.5", "--engine", "paged"]
    assert main(["solve", "p.txt", *flags]) == 0
    assert main(["bench", "svamp", *flags]) == 0
    for settings in made:
        world = settings.world(base, {"math"})
        assert (world.rows, world.kv_bytes, world.engine) == (7, 2**29, "paged")


def test_rows_follow_the_device_where_nothing_is_said(base, monkeypatch):
    actor = Actor(LatentLM("plain", base, None), Sampling(), latent=False)
    assert actor.rows_for(WorldConfig()) == 64
    assert actor.rows_for(WorldConfig(rows=3)) == 3
    token = 2 * actor.shape.layers * actor.shape.heads * actor.shape.head_dim * 4
    text = token * (512 + 1000)
    monkeypatch.setattr(type(base), "device", torch.device("cuda"))
    for texts, rows in ((10, 64), (200, 200), (5000, 512)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, n=texts: (2 * n * text + 1, 0))
        assert actor.rows_for(WorldConfig(max_tokens=1000)) == rows


NEEDED = {
    "actions": (("--data", "t.jsonl", "--output", "runs/x"), {"data": (Path("t.jsonl"),), "output": Path("runs/x")}),
    "base": (("--data", "t.jsonl", "--output", "runs/x"), {"data": (Path("t.jsonl"),), "output": Path("runs/x")}),
    "evaluate": (("--data", "t.jsonl"), {"data": (Path("t.jsonl"),)}),
    "guide": (
        ("--model", "m", "--data", "t.jsonl", "--output", "runs/x"),
        {"model": "m", "data": (Path("t.jsonl"),), "output": Path("runs/x")},
    ),
    "pairs": (
        ("--rollouts", "r.jsonl", "--model", "m", "--data", "p.jsonl", "--output", "pairs.jsonl"),
        {"rollouts": (Path("r.jsonl"),), "model": "m", "data": (Path("p.jsonl"),), "output": Path("pairs.jsonl")},
    ),
    "policy": (("--model", "m", "--output", "runs/x"), {"model": "m", "output": Path("runs/x")}),
    "problems": (("--output", "p.jsonl"), {"output": Path("p.jsonl")}),
    "reward": (
        ("--model", "m", "--data", "pairs.jsonl", "--output", "runs/x"),
        {"model": "m", "data": (Path("pairs.jsonl"),), "output": Path("runs/x")},
    ),
    "rl": (
        ("--model", "m", "--data", "p.jsonl", "--output", "runs/x"),
        {"model": "m", "data": (Path("p.jsonl"),), "output": Path("runs/x")},
    ),
    "rollouts": (
        ("--model", "m", "--data", "p.jsonl", "--output", "r.jsonl"),
        {"model": "m", "data": (Path("p.jsonl"),), "output": Path("r.jsonl")},
    ),
    "solutions": (
        ("--traces", "runs/b", "--data", "p.jsonl", "--output", "s.jsonl"),
        {"traces": (Path("runs/b"),), "data": (Path("p.jsonl"),), "output": Path("s.jsonl")},
    ),
    "speed": (("--model", "m", "--data", "t.jsonl"), {"model": "m", "data": (Path("t.jsonl"),)}),
    "value": (("--model", "m", "--output", "runs/x"), {"model": "m", "output": Path("runs/x")}),
}
"""Of each command of ``train`` the flags that it needs, and what Python says in their place."""


def settings_class(module: ModuleType) -> type[Any]:
    """The one class of settings that stands beside a command."""
    (found,) = (
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and kind.__name__.endswith("Settings")
    )
    return found


def test_every_train_command_has_settings():
    assert set(NEEDED) == set(COMMANDS)


@pytest.mark.parametrize("name", NEEDED)
def test_a_train_command_s_flags_left_out_are_the_defaults_that_python_has(monkeypatch, name):
    module = importlib.import_module(f"colasearch.cli.train.{COMMANDS[name][0]}")
    found = []
    monkeypatch.setattr(module, "run", found.append)
    flags, fields = NEEDED[name]
    assert main(["train", name, *flags]) == 0
    assert found == [settings_class(module)(**fields)]


def test_flags_yaml_and_python_say_the_same_of_iterate(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(iterate, "run", lambda settings: found.append(settings) or 0)
    assert main(["iterate", "--data", "p.jsonl", "--output", "runs/x"]) == 0
    config = tmp_path / "c.yaml"
    config.write_text("sims: 5\nsearcher: puct\ndata: p.jsonl\noutput: runs/x\noptions: pb_c_init=2\nmodel: m\n")
    flags = ["--data", "p.jsonl", "--output", "runs/x", "--sims", "5", "--searcher", "puct", "--model", "m"]
    assert main(["iterate", *flags, "--option", "pb_c_init=2"]) == 0
    assert main(["iterate", "--config", str(config)]) == 0
    given = {"data": (Path("p.jsonl"),), "output": Path("runs/x")}
    one = iterate.IterateSettings(**given)
    other = iterate.IterateSettings(**given, model="m", sims=5, searcher="puct", options=("pb_c_init=2",))
    assert found == [one, other, other]
    recipe = other.recipe("countdown")
    assert (recipe.model, recipe.task, recipe.sims, recipe.has_value) == ("m", "countdown", 5, True)
