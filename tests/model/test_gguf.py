"""GGUF files as bases: tensors equal to the dequantised ones, converted once; what is told of those that cannot be."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from tiny_gguf import HEADS, MATRICES, WIDTH, numbers, quantised, write_gguf

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model import gguf_file
from colasearch.model.base import BaseModel
from colasearch.model.sources import find_base
from colasearch.storage.files import cache_dir

PLACES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "F16"]
)
def test_every_block_format_gives_its_dequantised_numbers(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(gguf_file, "SMALL", 1000)  # the road of large tensors, in pieces
    monkeypatch.setattr(gguf_file, "PIECE", 5000)
    monkeypatch.setattr(gguf_file, "SHARD_BYTES", 200_000)
    path = write_gguf(tmp_path / "q.gguf", "qwen2", kind, untied=True)
    base = BaseModel.load(str(path), device="cpu", dtype="float32")
    assert len(list(find_base(str(path)).path.glob("model-*.safetensors"))) > 1
    found = base.model.state_dict()
    for name, values in numbers("qwen2", untied=True).items():
        part = name.removeprefix("blk.0.").removesuffix(".weight")
        if part in MATRICES:
            place = f"model.layers.0.{PLACES[part]}.weight"
        else:
            place = {"token_embd": "model.embed_tokens.weight", "output": "lm_head.weight"}.get(part, "")
        if place:
            wanted = gguf.dequantize(*quantised(values, kind)).astype(np.float16)
            assert torch.equal(found[place], torch.from_numpy(wanted).float()), name
    bias = numbers("qwen2", untied=True)["blk.0.attn_k.bias"].astype(np.float16)
    assert torch.equal(found["model.layers.0.self_attn.k_proj.bias"], torch.from_numpy(bias).float())


def test_llamas_rows_come_back_into_the_order_of_transformers(tmp_path):
    own = np.random.default_rng(3).normal(0, 0.1, (WIDTH, WIDTH)).astype(np.float16)
    # How llama.cpp's converter writes q and k: the two halves of a head interleaved.
    theirs = own.reshape(HEADS, 2, WIDTH // HEADS // 2, WIDTH).swapaxes(1, 2).reshape(WIDTH, WIDTH)
    changes = {f"blk.0.attn_{part}.weight": theirs.astype(np.float32) for part in "qk"}
    base = BaseModel.load(str(write_gguf(tmp_path / "l.gguf", kind="F16", changes=changes)), device="cpu")
    attention = base.model.model.layers[0].self_attn
    assert torch.equal(attention.q_proj.weight.half(), torch.from_numpy(own))
    assert torch.equal(attention.k_proj.weight.half(), torch.from_numpy(own))
    assert base.model.config.tie_word_embeddings


def test_a_file_is_converted_once_whatever_it_is_called(tmp_path, monkeypatch):
    first = write_gguf(tmp_path / "a.gguf", "qwen2", "Q8_0")
    before = BaseModel.load(str(first), device="cpu").identity
    monkeypatch.setattr(gguf_file, "convert_gguf", lambda *_: pytest.fail("converted again"))
    again = find_base(str(first.rename(tmp_path / "b.GGUF"))).identity
    assert (again.sha256, again.weights_sha256) == (before.sha256, before.weights_sha256)
    assert again.name.endswith("b.GGUF")


def test_all_tokens_that_end_a_text_are_kept(tmp_path):
    base = BaseModel.load(str(write_gguf(tmp_path / "q.gguf", "qwen2", "Q8_0")), device="cpu")
    assert base.end_id == 2  # <|im_end|>, which the chat template ends a turn with
    assert base.end_ids == {2, 0}  # the file names no second one, but <|endoftext|> is a control token


def test_what_float16_cannot_hold_stays_as_it_is(tmp_path):
    huge = numbers("qwen2", untied=False)["blk.0.ffn_up.weight"]
    huge[0, 0] = 1e6
    path = write_gguf(tmp_path / "q.gguf", "qwen2", "F32", changes={"blk.0.ffn_up.weight": huge})
    base = BaseModel.load(str(path), device="cpu", dtype="float32")
    assert base.model.model.layers[0].mlp.up_proj.weight[0, 0] == 1e6


def test_llama_3s_stretched_positions_are_read_from_their_divisors(tmp_path):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, **gguf_file.LLAMA3_ROPE}
    config = LlamaConfig(hidden_size=WIDTH, num_attention_heads=HEADS, rope_parameters=rope)
    wanted, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    size = WIDTH // HEADS // 2
    divisors = (10000.0 ** (-torch.arange(size) / size) / wanted).numpy()
    path = write_gguf(tmp_path / "l.gguf", changes={"rope_freqs.weight": divisors})
    base = BaseModel.load(str(path), device="cpu")
    assert torch.allclose(base.model.model.rotary_emb.inv_freq, wanted)
    path = write_gguf(tmp_path / "m.gguf", changes={"rope_freqs.weight": divisors[::-1].copy()})
    with pytest.raises(PrerequisiteError, match=r"rope_freqs\.weight"):
        find_base(str(path))


NAN = np.full((WIDTH, WIDTH), np.nan, np.float32)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"blk.0.ffn_up.weight": None}, CorruptFileError, r"lacks 1 tensors .*mlp\.up_proj\.weight"),
        ({"blk.0.ffn_up.weight": NAN[:, :128]}, CorruptFileError, r"has shape \(256, 128\)"),
        ({"blk.0.ffn_up.weight": NAN}, CorruptFileError, r"blk\.0\.ffn_up\.weight holds numbers that are not finite"),
        ({"blk.0.surprise.weight": NAN * 0 + 1}, (CorruptFileError, PrerequisiteError), "surprise"),
    ],
)
def test_tensors_that_are_not_the_models_are_told_by_name(tmp_path, changes, error, text):
    changes = {k: np.nan_to_num(v, nan=1.0) if v is not None and "shape" in text else v for k, v in changes.items()}
    if "surprise" in text:
        changes = {"blk.0.surprise.weight": np.ones((WIDTH, WIDTH), np.float32)}
    with pytest.raises(error, match=text):
        find_base(str(write_gguf(tmp_path / "q.gguf", "qwen2", changes=changes)))
    assert list((cache_dir() / "gguf").iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.001, 0.02, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_damaged(tmp_path, part):
    path = write_gguf(tmp_path / "q.gguf", "qwen2", "Q8_0")
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CorruptFileError, match=r"no GGUF file|damaged or cut off"):
        find_base(str(path))


@pytest.mark.parametrize("architecture", ["surprise", "bert", "t5"])
def test_an_architecture_that_is_no_causal_lm_is_refused(tmp_path, architecture):
    with pytest.raises(PrerequisiteError, match=rf"architecture '{architecture}'"):
        find_base(str(write_gguf(tmp_path / "q.gguf", architecture)))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PrerequisiteError, match="does not exist"):
        find_base(str(tmp_path / "no.gguf"))
