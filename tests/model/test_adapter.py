"""A peft LoRA folder as a model: merged into its base as peft itself does it, or refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.sources import find_base

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def lora(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that peft wrote, with a rank and an alpha of their own for one kind of layer."""
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 2},
        alpha_pattern={"layers.1.mlp.up_proj": 5}, use_rslora=True, init_lora_weights=False, task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(0)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base_folder), config)
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    model.save_pretrained(folder)
    return folder


def test_an_adapter_is_merged_as_peft_merges_it(lora, base_folder):
    from transformers import AutoModelForCausalLM

    base = BaseModel.load(str(lora), device="cpu", dtype="float32")
    whole = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    wanted = peft.PeftModel.from_pretrained(whole, lora).merge_and_unload().state_dict()
    plain = BaseModel.load(str(base_folder), device="cpu", dtype="float32")
    found = base.model.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found["model.layers.1.mlp.up_proj.weight"], plain.model.model.layers[1].mlp.up_proj.weight)
    # Caches of hidden states are kept by this.
    assert base.identity.weights_sha256 != plain.identity.weights_sha256


def test_a_base_beside_the_adapter_is_found(lora, base_folder, tmp_path):
    folder = _changed(lora, tmp_path, base_model_name_or_path="../base")
    with pytest.raises(PrerequisiteError, match="adapter whose base cannot be had"):
        find_base(str(folder))
    shutil.copytree(base_folder, tmp_path / "base")
    assert find_base(str(folder)).path.samefile(tmp_path / "base")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("use_dora", True, "DoRA"),
        ("peft_type", "IA3", "type IA3"),
        ("bias", "all", "trained biases"),
        ("modules_to_save", ["lm_head"], "whole modules"),
    ],
)
def test_what_is_no_plain_lora_is_refused_with_the_way_out(lora, tmp_path, field, value, text):
    with pytest.raises(PrerequisiteError, match=rf"{text}.*merge_and_unload"):
        find_base(str(_changed(lora, tmp_path, **{field: value})))


def test_a_damaged_adapter_is_told(lora, tmp_path):
    folder = _changed(lora, tmp_path)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    first = next(iter(tensors))
    path.unlink()
    save_file({key: value for key, value in tensors.items() if key != first}, path)
    with pytest.raises(CorruptFileError, match="incomplete"):
        BaseModel.load(str(folder), device="cpu")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFileError, match="damaged"):
        BaseModel.load(str(folder), device="cpu")
    path.rename(folder / "adapter_model.bin")
    with pytest.raises(PrerequisiteError, match="no pickled weights"):
        find_base(str(folder))
    unread = _changed(lora, tmp_path / "more", r="four")
    with pytest.raises(CorruptFileError, match=r"adapter_config\.json cannot be used"):
        find_base(str(unread))


def test_an_adapter_of_another_base_is_told(lora, tmp_path):
    from tiny import make_base

    other = make_base(tmp_path / "other", intermediate_size=32)
    with pytest.raises(CorruptFileError, match=r"up_proj of shape \(24, 16\).*shape \(32, 16\)"):
        BaseModel.load(str(_changed(lora, tmp_path, base_model_name_or_path=str(other))), device="cpu")


def _changed(lora: Path, parent: Path, **changes: object) -> Path:
    folder = Path(shutil.copytree(lora, parent / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return folder
