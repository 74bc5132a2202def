"""Checkpoints whose sums fit, but that say something no model can be: refused by field, value and bound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from colasearch.errors import CorruptFileError
from colasearch.model.latent_lm import load_latents
from colasearch.storage.files import write_sums
from colasearch.training.running.loop import LoopConfig, TrainRun, fit


@pytest.fixture
def checkpoint(model_folder, tmp_path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("merge_layers", 10**12, "merge_layers is 1000000000000; it must be a whole number from 1 to 64"),
        ("merge_ffn", 0, "merge_ffn is 0; it must be a whole number from 1"),
        ("merge_ffn", 10**30, "merge_ffn is 1e+30; it must be"),
        ("num_codes", -1, "num_codes is -1"),
        ("num_codes", 8.0, "num_codes is 8.0; it must be a whole number"),
        ("hidden_size", True, "hidden_size is True"),
        ("hidden_size", 10**400, "hidden_size is 1000"),
        ("rope_theta", float("nan"), "rope_theta is nan; it must be a number"),
        ("norm_eps", float("inf"), "norm_eps is inf"),
        ("norm_eps", "0.1", "norm_eps is '0.1'"),
        ("num_kv_heads", 3, "multiple of num_kv_heads 3"),
        ("head_dim", 7, "head_dim is 7; it must be an even number"),
        ("policy_ffn", 0, "policy_ffn is 0"),
        ("q_head", 3, "q_head is 3; it must be true or false"),
        ("training", [], "it must be an object"),
        ("base", {"name": 7}, "base.name is 7; it must be a text"),
        ("tuned", {"kind": "lora", "file": "x", "sha256": "0", "scale": float("nan")}, "tuned.scale is nan"),
        ("tuned", {"kind": "lora", "file": [], "sha256": "0"}, "tuned.file is []; it must be a text"),
    ],
)
def test_every_number_has_a_bound(checkpoint, field, value, says):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, field: value}))
    write_sums(checkpoint)
    with pytest.raises(CorruptFileError) as caught:
        load_latents(checkpoint)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: t.index_fill(0, torch.tensor([0]), float("nan")), "not finite"),
        (lambda t: t.index_fill(0, torch.tensor([0]), float("inf")), "not finite"),
        (lambda t: t.to(torch.int64), "torch.int64; weights are floating-point numbers"),
    ],
)
def test_weights_are_finite_floating_point_numbers(checkpoint, spoil, says):
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["codebook.weight"] = spoil(tensors["codebook.weight"])
    save_file(tensors, checkpoint / "model.safetensors")
    write_sums(checkpoint)
    with pytest.raises(CorruptFileError, match=f"tensor codebook.weight .*{says}"):
        load_latents(checkpoint)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.to(torch.int64),
        lambda t: t * float("nan"),
        lambda t: t[:1].clone(),  # would be broadcast
        lambda t: t.double(),
    ],
)
@pytest.mark.parametrize("name", ["model.weight", "exp_avg.weight"])
def test_a_training_checkpoint_that_does_not_fit_is_refused(tmp_path, spoil, name):
    def train(resume: bool) -> None:
        layer = torch.nn.Linear(2, 2)
        run = TrainRun(tmp_path / "run", {"kind": "x", "config": {}}, resume)

        def accumulate(batch, step, steps):
            layer(torch.ones(1, 2)).sum().backward()
            return {}

        try:
            fit(
                run, layer, layer.parameters(), LoopConfig(save_every=1), lambda epoch: [[0]], 1, accumulate,
                dict, lambda *told: None,
            )  # fmt: skip
        finally:
            run.close()

    train(False)
    path = tmp_path / "run" / "checkpoint" / "state.safetensors"
    tensors = load_file(path)
    save_file({**tensors, name: spoil(tensors[name])}, path)
    with pytest.raises(CorruptFileError, match=name):
        train(True)


def test_a_pipe_in_the_folder_of_a_base_is_refused(base_folder, tmp_path):
    import os

    from colasearch.model.base import BaseModel

    folder = Path(shutil.copytree(base_folder, tmp_path / "base"))
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(CorruptFileError, match=r"tokenizer.json is a pipe"):
        BaseModel.load(str(folder), "cpu", "float32")
