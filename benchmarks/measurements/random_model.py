"""A random language model with latent modules, for measuring speed where quality does not matter."""

from __future__ import annotations

from typing import Any

import torch

from colasearch.model.base import BaseModel, pick_device, pick_dtype, pick_packed
from colasearch.model.config import BaseIdentity
from colasearch.model.latent_lm import LatentLM, new_latents

SIZES: dict[str, dict[str, int]] = {
    "random-5m": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "random-135m": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "vocab_size": 49152,
    },
    "random-1.5b": {
        "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
        "num_key_value_heads": 2, "vocab_size": 151936,
    },
}  # fmt: skip
"""Shapes by name; ``random-135m`` has SmolLM2-135M's, ``random-1.5b`` Qwen2.5-1.5B's."""
QWEN = frozenset({"random-1.5b"})
"""Those that are Qwen2 models; the others are Llama models."""


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are bytes, with an end token of number 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0, **{letter: i + 1 for i, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def random_model(name: str, device: str = "auto", dtype: str = "auto", seed: int = 0, context: int = 4096) -> LatentLM:
    """A model of ``SIZES`` with random weights fixed by ``seed``; its codes lead to different tokens.

    Text never ends: the end token is as improbable as any other.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokenizer = byte_tokenizer()
    settings = {"vocab_size": 512, "max_position_embeddings": context, "tie_word_embeddings": True, **SIZES[name]}
    where = pick_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = (Qwen2Config, Qwen2ForCausalLM) if name in QWEN else (LlamaConfig, LlamaForCausalLM)
        config = made[0](**settings, eos_token_id=0, pad_token_id=0, bos_token_id=None, initializer_range=0.05)
        with where:  # on a GPU a large model's numbers are drawn there
            model = made[1](config).requires_grad_(False).eval()
    model.to(device=where, dtype=pick_dtype(dtype, where))
    base = BaseModel(model, tokenizer, BaseIdentity(name), pick_packed(dtype, where))
    latents = new_latents(base, seed).requires_grad_(False).eval()
    with torch.no_grad():
        latents.codebook.weight.mul_(8)
        for layer in latents.merge.layers:
            layer.down.weight.mul_(8)  # type: ignore[union-attr,operator]
    latents.to(device=base.device, dtype=base.dtype)
    return LatentLM(name, base, latents)
