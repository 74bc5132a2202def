"""Models that are only run: packed from the file's half-precision weights, and equal bit by bit to any others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_base

from colasearch import solve
from colasearch.engine.forward.inference import inference_of
from colasearch.engine.settings import WorldConfig
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.model.lean import HalfEmbedding
from colasearch.model.packed import can_pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="this torch cannot pack float16 weights")


def _half(folder: Path, dtype: torch.dtype, **changes: object) -> str:
    make_base(folder, hidden_size=64, intermediate_size=96, head_dim=32, initializer_range=0.2, **changes)
    tensors = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_gives_the_bits_of_a_float32_load(tmp_path, dtype, tied):
    folder = _half(tmp_path / "base", dtype, tie_word_embeddings=tied)
    whole = BaseModel.load(folder, "cpu")
    lean = BaseModel.load(folder, "cpu", run_only=True)
    assert (whole.run_only, lean.run_only) == (False, True)
    assert lean.dtype == torch.float32
    assert isinstance(lean.model.get_input_embeddings(), HalfEmbedding)
    assert all(parameter.ndim == 1 for parameter in lean.model.parameters())  # norms: no float32 copy of a matrix
    ours, theirs = (inference_of(LatentLM("m", base, None)) for base in (lean, whole))
    assert ours.shape == theirs.shape
    assert ours.shape is not None
    assert torch.equal(ours.head_weight.float(), theirs.head_weight)
    drawn = {"searcher": "majority", "sims": 3, "actions": "sampled", "config": WorldConfig(max_tokens=12)}
    answers = [solve("What is 3 + 5?", LatentLM("m", base, None), **drawn) for base in (lean, whole)]
    assert answers[0].text == answers[1].text
    assert answers[0].candidates == answers[1].candidates


def test_what_cannot_be_run_so_is_loaded_whole(tmp_path):
    folder = _half(tmp_path / "base", torch.float16)
    assert not BaseModel.load(folder, "cpu", "float32", run_only=True).run_only
    tensors = load_file(f"{folder}/model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    (tmp_path / "base" / "model.safetensors").unlink()
    save_file({**tensors, name: tensors[name].float()}, f"{folder}/model.safetensors", metadata={"format": "pt"})
    assert not BaseModel.load(folder, "cpu", run_only=True).run_only
