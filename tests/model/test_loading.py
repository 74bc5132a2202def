"""What a base must be to be loaded: whole, a causal LM, with an end; and that its logits are its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import WIDTH, make_tokenizer
from tokenizers.processors import TemplateProcessing

from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.model.output import OutputMap
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens
from colasearch.training.data.corpus import load_corpus


@pytest.fixture
def copy(base_folder, tmp_path):
    return Path(shutil.copytree(base_folder, tmp_path / "copy"))


def load(folder: Path) -> BaseModel:
    return BaseModel.load(str(folder), "cpu", "float32")


def change_config(folder: Path, name: str = "config.json", **values: object) -> None:
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**config, **values}))


# --- tensors ------------------------------------------------------------------------------------------------------

EMBEDDING = "model.embed_tokens.weight"
DAMAGE = {
    "a layer": (lambda t: {k: v for k, v in t.items() if ".layers.1." not in k}, r"9 missing: model\.layers\.1\."),
    "a matrix": (
        lambda t: {k: v for k, v in t.items() if "1.mlp.up" not in k},
        r"1 missing: model\.layers\.1\.mlp\.up_proj\.weight",
    ),
    "the embedding": (lambda t: {k: v for k, v in t.items() if k != EMBEDDING}, r"missing: .*embed_tokens"),
    "module.": (lambda t: {f"module.{k}": v for k, v in t.items()}, "begin with 'module.'"),
    "_orig_mod.": (lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}, "begin with '_orig_mod.'"),
    "one more": (lambda t: {**t, "model.extra.weight": torch.ones(3)}, r"1 unexpected: model\.extra\.weight"),
    "a short norm": (lambda t: {**t, "model.norm.weight": torch.ones(7)}, r"model\.norm\.weight \(\(7,\), not \(16,\)"),
    "another embedding": (lambda t: {**t, EMBEDDING: t[EMBEDDING][:100]}, r"embed_tokens\.weight \(\(100, 16\), not"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_checkpoint_that_is_not_its_models_is_corrupt_and_says_which_tensors(copy, kind):
    spoil, message = DAMAGE[kind]
    path = copy / "model.safetensors"
    save_file(spoil(load_file(path)), path, metadata={"format": "pt"})
    with pytest.raises(CorruptFileError, match=message):
        load(copy)


def test_a_tied_head_and_old_constants_are_no_damage(copy):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    assert "lm_head.weight" not in tensors
    save_file({**tensors, "model.layers.0.attn.masked_bias": torch.ones(1)}, path, metadata={"format": "pt"})
    assert load(copy).vocab_size == len(make_tokenizer())


def test_a_tokenizer_of_another_model_is_refused(copy):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, EMBEDDING: tensors[EMBEDDING][:100].clone()}, path, metadata={"format": "pt"})
    change_config(copy, vocab_size=100)
    with pytest.raises(CorruptFileError, match="tokenizer has 257 tokens, the embedding 100 rows"):
        load(copy)


# --- logits -------------------------------------------------------------------------------------------------------

SMALL = {
    "vocab_size": 257, "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 128, "initializer_range": 0.5, "bos_token_id": None,
    "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
SCALED = {
    "Granite": ({"logits_scaling": 4.0}, OutputMap(0.25)),
    "Cohere": ({"logit_scale": 0.0625}, OutputMap(0.0625)),
    "HyperCLOVAX": ({"logits_scaling": 0.125}, OutputMap(0.125)),
    "Gemma2": ({"final_logit_softcapping": 3.0, "head_dim": 8}, OutputMap(1.0, 3.0)),
    "MiniCPM3": (
        {"dim_model_base": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
         "v_head_dim": 8, "num_key_value_heads": 2},
        OutputMap(0.25),
    ),
}  # fmt: skip


def save_other(folder: Path, name: str, **changes: object) -> Path:
    """A tiny random model of another architecture."""
    kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**{**SMALL, **changes})
        getattr(transformers, kind)(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SCALED)
def test_logits_are_those_of_the_models_own_forward_pass(tmp_path, name):
    changes, wanted = SCALED[name]
    base = load(save_other(tmp_path, name, **changes))
    assert base.output == wanted
    tokens = torch.tensor([[5, 60, 7, 100, 33, 8]])
    with torch.no_grad():
        theirs = base.model(tokens).logits.float()
    torch.testing.assert_close(base.logits(base.hidden(tokens)), theirs, atol=1e-4, rtol=1e-4)
    # What sampling draws from: total variation from transformers' own distribution.
    actor = Actor(LatentLM(name, base, None), Sampling(token_temperature=1.0, token_top_k=0), False, engine="whole")
    features, _ = actor.prefill([tokens[0].tolist()])
    ours = actor._token_log_probs(features)[0].exp()
    assert float((ours - torch.softmax(theirs[0, -1], -1)).abs().sum()) / 2 < 1e-3


def test_a_scale_that_the_architecture_ignores_is_ignored(tmp_path):
    folder = save_other(tmp_path, "Llama")
    change_config(folder, logit_scale=0.1)
    assert load(folder).output == OutputMap()


def test_an_architecture_with_logits_of_its_own_is_refused(tmp_path, monkeypatch):
    folder = save_other(tmp_path, "Llama")
    own = transformers.LlamaForCausalLM.forward

    def forward(self, *args, **kwargs):
        out = own(self, *args, **kwargs)
        out.logits = out.logits + 3 * torch.sin(out.logits)
        return out

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", forward)
    with pytest.raises(PrerequisiteError, match="LlamaForCausalLM: its logits are not those of its output head"):
        load(folder)


def test_the_engines_probe_compares_logits(base, monkeypatch):
    from dataclasses import replace

    other = replace(base, output=OutputMap(0.5))
    with pytest.raises(PrerequisiteError, match="logits differ"):
        Actor(LatentLM("other", other, None), Sampling(), latent=False, engine="tree")


def test_an_encoder_is_refused(tmp_path):
    with_bert = tmp_path / "bert"
    config = transformers.BertConfig(
        vocab_size=257, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        eos_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(with_bert)
    make_tokenizer().save_pretrained(with_bert)
    with pytest.raises(PrerequisiteError, match=r"no causal LM: .* later tokens"):
        load(with_bert)


# --- ends, beginnings and templates -------------------------------------------------------------------------------

LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def save_tokenizer(folder: Path, template: str | None, *, bos: bool = False, eos: bool = True) -> None:
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    if template == LLAMA_CHAT or bos:
        # In place of letters that no text here has.
        for name, place in (("<|start|>", 250), ("<|eot|>", 251), ("<|text|>", 252)):
            _rename(tokenizer, place, name)
        tokenizer = type(tokenizer)(tokenizer_object=tokenizer._tokenizer, eos_token="<end>", bos_token="<|text|>")
        tokenizer.chat_template = template
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>", "<|eot|>"]})
    if bos:
        tokenizer._tokenizer.post_processor = TemplateProcessing(
            single="<|text|> $A", special_tokens=[("<|text|>", 252)]
        )
    if not eos:
        tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)


def _rename(tokenizer, place: int, name: str) -> None:
    state = json.loads(tokenizer._tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    old = next(word for word, number in vocabulary.items() if number == place)
    del vocabulary[old]
    vocabulary[name] = place
    tokenizer._tokenizer = type(tokenizer._tokenizer).from_str(json.dumps(state))


def test_every_end_token_counts_and_training_ends_a_chat_text_as_its_template_does(copy):
    save_tokenizer(copy, LLAMA_CHAT)
    change_config(copy, eos_token_id=[7, 8])
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, -1, 5000]}))
    base = load(copy)
    assert base.end_id == 251
    assert base.end_ids == {251, 7, 8, 9, 0}


def test_a_model_without_any_end_token_is_refused(copy):
    save_tokenizer(copy, None, eos=False)
    change_config(copy, eos_token_id=None)
    (copy / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(PrerequisiteError, match=r"names no end token.*set eos_token_id"):
        load(copy)


def test_a_chat_template_that_raises_is_an_error_with_its_words(copy):
    save_tokenizer(copy, "{{ raise_exception('system text first') }}")
    with pytest.raises(PrerequisiteError, match=r"chat template cannot lay out user messages .*system text first"):
        load(copy)


def test_plain_prompts_and_texts_begin_as_the_tokenizer_begins_texts(copy, tmp_path):
    problem = Problem.from_text("What is 2 + 2?")
    data = tmp_path / "texts.jsonl"
    data.write_text(json.dumps({"text": "Two and two."}) + "\n" + json.dumps({"problem": "1 + 1?", "solution": "2"}))
    save_tokenizer(copy, None, bos=True)
    base = load(copy)
    assert prompt_tokens(base.tokenizer, problem)[:2] == [252, *base.tokenizer("P", add_special_tokens=False).input_ids]
    text, solved = load_corpus([data], base.tokenizer, base.end_id).documents
    assert (text.tokens[0], text.start, solved.tokens[0]) == (252, 1, 252)
    assert 252 not in text.tokens[1:]
    # A chat template writes its own, once.
    save_tokenizer(copy, LLAMA_CHAT, bos=True)
    assert prompt_tokens(load(copy).tokenizer, problem).count(252) == 1
