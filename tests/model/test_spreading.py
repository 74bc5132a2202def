"""A model over several devices: here a second device that is the same one, and moves that are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import dispatch_model
from tiny import make_base
from transformers import AutoConfig, AutoModelForCausalLM

from colasearch.engine.forward import inference
from colasearch.engine.forward.actor import Actor
from colasearch.engine.memory.attention import OnOneDevice
from colasearch.engine.settings import Sampling
from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.model.spreading import is_spread, layers_over


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("spread") / "base", num_hidden_layers=4)


def parts(folder):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    layer = sum(p.numel() for p in model.model.layers[0].parameters()) * 4
    return model, layer, sum(p.numel() for p in model.parameters()) * 4 - 4 * layer


@pytest.mark.parametrize(("first", "second", "on_second"), [(2, 3, 3), (2, 2.9, 2), (3.5, 1, 1), (0, 4, 4)])
def test_layers_are_laid_out_in_order_and_all_else_is_on_the_first_device(folder, first, second, on_second):
    """Memory beside what is no layer, in layers."""
    model, layer, rest = parts(folder)
    found = layers_over(model, {0: rest + int(first * layer), 1: int(second * layer)}, torch.float32)
    assert [name for name, place in found.items() if place == 1] == [
        f"model.layers.{i}" for i in range(4 - on_second, 4)
    ]
    assert [name for name in found if ".layers" not in name] == [
        "model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"
    ]  # fmt: skip


def test_gpus_that_do_not_hold_a_model_are_told_of_before_it_is_read(folder):
    model, layer, rest = parts(folder)
    with pytest.raises(PrerequisiteError, match="of weights beside keys and values"):
        layers_over(model, {0: rest + layer, 1: 2 * layer}, torch.float32)


@torch.inference_mode()
def test_a_model_with_accelerates_hooks_says_the_same(folder, monkeypatch):
    """The inference copy keeps the hooks, and keys and values go through the moves between devices."""
    found = []
    for spread in (False, True):
        base = BaseModel.load(str(folder), dtype="float32")
        if spread:
            layout = layers_over(base.model, {0: 1 << 30, 1: 1 << 30}, torch.float32)
            dispatch_model(base.model, dict.fromkeys(layout, "cpu"), main_device="cpu", force_hooks=True)
            monkeypatch.setattr(inference, "is_spread", lambda model: True)
        actor = Actor(LatentLM("spread", replace(base), None), Sampling(), latent=False, engine="tree")
        assert hasattr(actor.lm.base.model.model.layers[1], "_hf_hook") == spread
        features, segments = actor.prefill([[5, 6, 7, 8], [9, 10]])
        batch = actor.new_batch()
        for segment in segments:
            batch.enter(None, [segment])
        batch.make_room()
        found.append((features.hidden_BD, actor.feed([3, 4], batch).hidden_BD))
    for alone, over in zip(*found, strict=True):
        assert torch.equal(alone, over)


def test_keys_and_values_stand_on_one_device():
    """On a device without numbers: what reaches the holder is there, and what comes back is where the layer is."""
    seen = []

    def holder(layer, query, key, value, scoring):
        seen.extend(x.device.type for x in (query, key, value))
        return torch.empty(1, 3, 2, 4, device="meta")

    with pytest.raises(NotImplementedError, match="meta tensor"):  # back from there, which would have no numbers
        OnOneDevice(holder, torch.device("meta"))(0, *(torch.zeros(1, 2, 3, 4) for _ in range(3)))
    assert seen == ["meta"] * 3


def test_one_gpu_or_none_is_no_place_to_spread(folder):
    assert not is_spread(BaseModel.load(str(folder)).model)
    with pytest.raises(PrerequisiteError, match="all GPUs, and torch sees"):
        BaseModel.load(str(folder), device="spread")
