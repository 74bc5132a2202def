"""Where weights come from: a GGUF file, or the folder of a small base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_session.qwen2 import Qwen2, Shape

NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
TOP = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}


def from_gguf(path: Path, device: torch.device, dtype: torch.dtype) -> Qwen2:
    """A Qwen2 from its GGUF file, rounded to float16 first, as the base folder made from the same file is."""
    from concurrent.futures import ThreadPoolExecutor

    from gguf import GGUFReader, dequantize

    reader = GGUFReader(str(path))

    def field(name: str) -> Any:
        part = reader.fields[f"qwen2.{name}"]
        return part.parts[part.data[0]].tolist()[0]

    def convert(tensor: Any) -> tuple[str, Tensor]:
        head, *rest = tensor.name.split(".")
        if head == "blk":
            layer, name, kind = rest
            key = f"model.layers.{layer}.{NAMES[name]}.{kind}"
        else:
            key = f"{TOP[head]}.{rest[0]}"
        values = dequantize(tensor.data, tensor.tensor_type)
        return key, torch.from_numpy(np.ascontiguousarray(values)).half().to(device, dtype)

    with ThreadPoolExecutor(8) as pool:
        weights = dict(pool.map(convert, reader.tensors))
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    heads, width = int(field("attention.head_count")), int(field("embedding_length"))
    return Qwen2(
        weights,
        Shape(
            int(field("block_count")), width, heads, int(field("attention.head_count_kv")), width // heads,
            float(field("rope.freq_base")), float(field("attention.layer_norm_rms_epsilon")),
        ),
    )  # fmt: skip


def from_folder(folder: Path) -> Qwen2:
    """A Qwen2 from a base folder, in float32 on the CPU."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    c = model.config
    weights = {k: v.detach() for k, v in model.state_dict().items()}
    rope = getattr(c, "rope_parameters", None) or {}
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    return Qwen2(
        weights,
        Shape(
            c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.num_key_value_heads, head_dim,
            float(rope.get("rope_theta", 10000.0)), c.rms_norm_eps,
        ),
    )  # fmt: skip
