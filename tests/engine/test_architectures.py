"""Logits of the engine are transformers' own, for many architectures, by whichever engine serves them."""

from __future__ import annotations

import warnings

import pytest
import torch
import transformers
from tiny import make_tokenizer

from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.fused import fuse
from colasearch.engine.memory import panels, tables
from colasearch.engine.memory.attention import ATTENTION_NAME
from colasearch.engine.memory.paged import PagedRows
from colasearch.engine.memory.panels import RowBatch
from colasearch.engine.memory.whole import WholeBatch
from colasearch.engine.settings import Sampling
from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.config import BaseIdentity
from colasearch.model.latent_lm import LatentLM
from colasearch.model.output import OutputMap
from colasearch.model.packed import inference_copy

SMALL = {
    "vocab_size": 257, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 256, "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": 0,
    "pad_token_id": 0,
}  # fmt: skip
GROUPS = {"num_key_value_heads": 2}
HEADS = {**GROUPS, "head_dim": 8}
WINDOW = {"sliding_window": 4}
ROPE3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 32}
MOE = {**GROUPS, "num_local_experts": 4, "num_experts_per_tok": 2}
BOTH = {"layer_types": ["sliding_attention", "full_attention"]}
TREE: dict[str, tuple[str, dict[str, object]]] = {
    "Llama": ("Llama", GROUPS),
    "Llama, llama3 rope": ("Llama", {**GROUPS, "rope_parameters": ROPE3}),
    "Llama, yarn": ("Llama", {**GROUPS, "rope_parameters": YARN}),
    "Qwen 2": ("Qwen2", GROUPS),
    "Qwen 2, windows": ("Qwen2", {**GROUPS, **WINDOW, **BOTH, "use_sliding_window": True}),
    "Qwen 3": ("Qwen3", HEADS),
    "Mistral": ("Mistral", {**GROUPS, "sliding_window": None}),
    "Mistral, window": ("Mistral", {**GROUPS, **WINDOW}),
    "Gemma": ("Gemma", HEADS),
    "Gemma 2": ("Gemma2", {**HEADS, **WINDOW, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 1.0}),
    "Gemma 3": ("Gemma3Text", {**HEADS, **WINDOW, **BOTH}),
    "Phi": ("Phi", GROUPS),
    "Phi-3, window": ("Phi3", {**GROUPS, **WINDOW}),
    "Granite": (
        "Granite", {**GROUPS, "logits_scaling": 4.0, "attention_multiplier": 0.2, "embedding_multiplier": 3.0}
    ),
    "Cohere": ("Cohere", {**GROUPS, "logit_scale": 0.0625}),
    "OLMo 2": ("Olmo2", GROUPS),
    "OLMo 3": ("Olmo3", {**GROUPS, **WINDOW, **BOTH}),
    "StableLM": ("StableLm", GROUPS),
    "StarCoder 2": ("Starcoder2", {**GROUPS, "sliding_window": None}),
    "SmolLM 3": ("SmolLM3", GROUPS),
    "GPT-2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "GPT-NeoX": ("GPTNeoX", {}),
    "OPT": ("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "Mixtral": ("Mixtral", {**MOE, "sliding_window": None}),
    "Qwen 3 MoE": ("Qwen3Moe", {**GROUPS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "gpt-oss": ("GptOss", {**MOE, **WINDOW, **BOTH, "head_dim": 8}),
}  # fmt: skip
"""Name of a kind, of its classes in transformers, and what its config has beside ``SMALL``."""
WHOLE: dict[str, tuple[str, dict[str, object]]] = {
    "Mamba": ("Mamba", {"state_size": 4}),
    "Bloom": ("Bloom", {}),
    "MPT": ("Mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}),
    "Falcon Mamba": ("FalconMamba", {"state_size": 4}),
}
"""Those whose keys and values cannot be kept."""
LONG = 16
"""Tokens of a prompt that rows read together here."""


def base_of(kind: str, packed: bool = False) -> BaseModel:
    name, changes = {**TREE, **WHOLE}[kind]
    head = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(name, f"{name}ForCausalLM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**{**SMALL, **changes})
        model = getattr(transformers, head)(config).requires_grad_(False).eval()
        for parameter in model.parameters():
            if not parameter.any():  # biases, sinks: what begins at zero would not be seen to be left out
                parameter.normal_(std=0.3)
    return BaseModel(model, make_tokenizer(), BaseIdentity(kind), packed=packed)


def greatest_difference(base: BaseModel, engine: str, kinds: type, steps: int = 6, model: object = None) -> float:
    """Of the logits after three prompts, the last of them long, and after each of some tokens that follow.

    ``model`` runs in place of the inference copy, if given.
    """
    actor = Actor(LatentLM("tiny", base, None), Sampling(), latent=False, engine=engine)
    if model is not None:
        actor.lm.base.model = model
    batch = actor.new_batch()
    assert isinstance(batch, kinds)
    generator = torch.Generator().manual_seed(0)
    lengths = (2, LONG - 2, LONG)
    texts = [torch.randint(1, 250, (length,), generator=generator).tolist() for length in lengths]
    features, segments = actor.prefill(texts)
    for i, segment in enumerate(segments):
        batch.enter(i, [segment])
    found = [features.hidden_BD]
    for step in range(steps):
        batch.make_room()
        order = [place.item for place in batch.places()]
        for text in texts:
            text.append((17 * step + len(text)) % 250)
        fed = actor.feed([texts[i][-1] for i in order], batch)
        found.append(fed.rows([order.index(i) for i in range(len(texts))]).hidden_BD)
    ours = actor.lm.base.logits(torch.stack(found, 1))
    theirs = [base.model(torch.tensor([text])).logits[0, -1 - steps :].float() for text in texts]
    return float((ours - torch.stack(theirs)).abs().max())


@pytest.mark.parametrize("kind", TREE)
@torch.inference_mode()
def test_logits_are_those_of_transformers(kind, monkeypatch):
    """From kept keys and values, in panels and in pages, and from whole texts; below, at and beyond the windows."""
    monkeypatch.setattr(panels, "LONG_PROMPT", LONG)
    monkeypatch.setattr(tables, "LONG_PROMPT", LONG)
    base = base_of(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no falling back
        assert greatest_difference(base, "auto", RowBatch) < 2e-4
        assert greatest_difference(base, "paged", PagedRows) < 2e-4
        assert greatest_difference(base, "whole", WholeBatch, steps=1) < 2e-4


FUSED = {
    "Llama": (5, 2), "Llama, yarn": (5, 2), "Qwen 2": (5, 2), "Qwen 3": (9, 2), "Mistral, window": (5, 2),
    "Gemma": (5, 2), "Gemma 2": (9, 2), "Gemma 3": (13, 2), "Granite": (5, 2), "OLMo 2": (9, 2), "SmolLM 3": (5, 2),
    "Cohere": (0, 0), "GPT-2": (0, 0), "Phi-3, window": (5, 0), "Mixtral": (5, 2), "gpt-oss": (5, 0),
}  # fmt: skip
"""Norms and attentions that become fewer kernels on a GPU."""


@pytest.mark.parametrize("kind", FUSED)
@torch.inference_mode()
def test_fused_layers_say_the_same(kind):
    """And where ours would not, the architecture keeps its own."""
    base = base_of(kind)
    model = inference_copy(base.model, packed=False, linears=False)
    model.config._attn_implementation = ATTENTION_NAME
    assert fuse(model) == FUSED[kind]
    assert greatest_difference(base, "tree", RowBatch, model=model) < 2e-4


@pytest.mark.parametrize("kind", WHOLE)
@torch.inference_mode()
def test_what_cannot_be_kept_is_encoded_whole(kind):
    for packed, slack in ((False, 2e-4), (True, 0.05)):
        with pytest.warns(UserWarning, match="each step encodes whole texts"):
            assert greatest_difference(base_of(kind, packed), "auto", WholeBatch, steps=1) < slack


@torch.inference_mode()
@pytest.mark.parametrize("fault", ["hidden states", "logits", "sliding_window"])
def test_what_differs_is_not_served(fault):
    """A model is tried before it is run: by its hidden states, its logits, and whether its layers know of a window."""
    base = base_of("Llama")
    lm = LatentLM("tiny", base, None)
    if fault == "hidden states":
        base.model.model.layers[0].self_attn.register_forward_hook(_other_where_rows_attend)
    elif fault == "logits":
        base.output = OutputMap(scale=2.0)
    else:
        base.model.config.sliding_window = 4
    with pytest.raises(PrerequisiteError, match=fault):
        Actor(lm, Sampling(), latent=False, engine="tree")


def _other_where_rows_attend(module, args, out):
    return (out[0] * 2, *out[1:]) if module.config._attn_implementation == ATTENTION_NAME else out
