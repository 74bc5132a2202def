"""A tiny GGUF file on disk: one layer of a Llama or Qwen2, its matrices in the block format that is asked for."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, FFN, HEADS = 256, 256, 4
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *[chr(33 + i) for i in range(26)], "a", "b", "ab"]
MATRICES = {
    "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH), "ffn_down": (WIDTH, FFN),
}  # fmt: skip
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


def write_gguf(
    path: Path,
    architecture: str = "llama",
    kind: str = "F32",
    changes: dict[str, np.ndarray | None] | None = None,
    untied: bool = False,
    model: str | None = None,
) -> Path:
    """Write ``path``; ``changes`` replaces tensors by name, leaves out those that are None and adds the rest.

    ``model`` is the tokenizer's; a model of ``architecture`` is declared whatever the tensors are.
    """
    writer = gguf.GGUFWriter(str(path), architecture)
    for add, value in {
        writer.add_context_length: 64, writer.add_embedding_length: WIDTH, writer.add_block_count: 1,
        writer.add_feed_forward_length: FFN, writer.add_head_count: HEADS, writer.add_head_count_kv: HEADS,
        writer.add_rope_dimension_count: WIDTH // HEADS, writer.add_layer_norm_rms_eps: 1e-5,
        writer.add_rope_freq_base: 10000.0, writer.add_vocab_size: len(WORDS),
        writer.add_tokenizer_model: model or "gpt2", writer.add_token_list: WORDS, writer.add_token_merges: ["a b"],
        writer.add_token_types: [3, 3, 3] + [1] * (len(WORDS) - 3), writer.add_bos_token_id: 1,
        writer.add_eos_token_id: 2, writer.add_chat_template: CHAT,
    }.items():  # fmt: skip
        add(value)
    tensors: dict[str, np.ndarray | None] = dict(numbers(architecture, untied))
    tensors.update(changes or {})
    for name, values in tensors.items():
        if values is not None and values.ndim == 1:
            writer.add_tensor(name, values.astype(np.float32))
        elif values is not None:
            packed, number = quantised(values, kind)
            writer.add_tensor(name, packed, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def numbers(architecture: str, untied: bool) -> dict[str, np.ndarray]:
    """The float32 tensors, always the same ones."""
    rng = np.random.default_rng(0)
    found = {"token_embd.weight": rng.normal(0, 0.1, (len(WORDS), WIDTH)), "output_norm.weight": np.ones(WIDTH)}
    for name, shape in {**MATRICES, "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}.items():
        found[f"blk.0.{name}.weight"] = rng.normal(0, 0.1, shape)
    if architecture == "qwen2":
        found.update({f"blk.0.attn_{part}.bias": rng.normal(0, 0.1, WIDTH) for part in "qkv"})
    if untied:
        found["output.weight"] = rng.normal(0, 0.1, (len(WORDS), WIDTH))
    return {name: values.astype(np.float32) for name, values in found.items()}


def quantised(values: np.ndarray, kind: str) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    """``values`` in block format ``kind``; for K quants, which gguf cannot write, blocks of random numbers."""
    number = gguf.GGMLQuantizationType[kind]
    if kind == "F32":
        return values, number
    if not kind.endswith("_K"):
        return gguf.quantize(values, number), number
    elements, size = gguf.GGML_QUANT_SIZES[number]
    blocks = np.random.default_rng(1).integers(0, 256, (values.size // elements, size), dtype=np.uint8)
    scales = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind]
    for at in scales:
        blocks[:, at : at + 2] = np.full((len(blocks), 1), 0.001, np.float16).view(np.uint8)
    return blocks.reshape(len(values), -1), number
