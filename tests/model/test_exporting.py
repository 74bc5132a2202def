"""A fine-tuned base goes to other programs as it is run here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import speaking
from transformers import AutoModelForCausalLM, AutoTokenizer

from colasearch.cli.main import main
from colasearch.model.latent_lm import LatentLM, new_latents, save_latents
from colasearch.model.tuned import write_tuned


@pytest.fixture(scope="module")
def tuned_folder(base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose base has low-rank changes in two kinds of layers."""
    folder = tmp_path_factory.mktemp("tuned")
    torch.manual_seed(3)
    tensors = {}
    for name, parameter in base.model.named_parameters():
        if "q_proj" in name or "down_proj" in name:
            out, width = parameter.shape
            module = name.removesuffix(".weight")
            tensors[f"{module}.lora_A.weight"], tensors[f"{module}.lora_B.weight"] = (
                torch.randn(2, width), torch.randn(out, 2),
            )  # fmt: skip
    tuned = write_tuned(folder, "lora", tensors, scale=1.5)
    modules = speaking(new_latents(base, seed=1, num_codes=8))
    modules.config = replace(modules.config, tuned=tuned)
    save_latents(modules, folder / "model", tuned_path=folder / tuned.file)
    return folder / "model"


def test_a_transformers_folder_has_the_weights_that_are_run(tuned_folder, base, tmp_path, capsys):
    assert main(["export", str(tuned_folder), "--safetensors", "--output", str(tmp_path / "out")]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    wanted = LatentLM.from_pretrained(str(tuned_folder), "cpu", "float32").base
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.model.state_dict().items())
    plain = base.model.state_dict()
    assert not torch.equal(found["model.layers.0.mlp.down_proj.weight"], plain["model.layers.0.mlp.down_proj.weight"])
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == wanted.tokenizer.chat_template


def test_peft_merges_the_lora_folder_to_the_same_weights(tuned_folder, base_folder, tmp_path, capsys):
    peft = pytest.importorskip("peft")
    assert main(["export", str(tuned_folder), "--format", "peft", "--output", str(tmp_path / "out")]) == 0
    assert "adapter_config.json, adapter_model.safetensors" in capsys.readouterr().out
    whole = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(whole, tmp_path / "out").merge_and_unload().state_dict()
    wanted = LatentLM.from_pretrained(str(tuned_folder), "cpu", "float32").base.model.state_dict()
    for name, tensor in wanted.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_exported_says_what_can(tuned_folder, model_folder, tmp_path, capsys):
    for args, code, said in (
        ([model_folder, "--peft", "--output", tmp_path / "a"], 3, "not fine-tuned"),
        ([tuned_folder, "--peft"], 2, "needs --output"),
        ([tuned_folder, "--peft", "--output", model_folder], 2, "give a new one"),
        ([tuned_folder, "--peft", "--format", "parquet", "--output", tmp_path / "a"], 2, "both given"),
        ([tmp_path / "absent", "--safetensors", "--output", tmp_path / "a"], 3, "absent"),
    ):
        assert main(["export", *map(str, args)]) == code, said
        assert said in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
