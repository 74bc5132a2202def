"""Released CoLA checkpoints: a random one in that very format, against a re-statement of its forward pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tiny import make_tokenizer
from torch import nn
from transformers import LlamaConfig, LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm

from colasearch.cli.main import group
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.import_cola import import_cola
from colasearch.model.latent_lm import LatentLM, fan_out_states
from colasearch.problem import Problem
from colasearch.solving import solve

CODES, WIDTH, FFN = 5, 16, 24
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


class Merge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(2 * WIDTH, FFN, bias=False)
        self.up_proj = nn.Linear(2 * WIDTH, FFN, bias=False)
        self.down_proj = nn.Linear(FFN, WIDTH, bias=False)


class Released(nn.Module):
    """Names and shapes of ``IntentionModel_v1``, and what its forward pass computes, written plainly."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        base = LlamaModel(config)
        self.embed_tokens, self.layers, self.norm, self.rotary_emb = (
            base.embed_tokens, base.layers, base.norm, base.rotary_emb,
        )  # fmt: skip
        for name in ("action", "policy"):
            layers = [LlamaDecoderLayer(config, i) for i in range(config.num_action_layer)]
            setattr(self, f"{name}_layers", nn.ModuleList(layers))
            setattr(self, f"{name}_norm", LlamaRMSNorm(WIDTH, eps=config.rms_norm_eps))
            setattr(self, f"{name}_head", nn.Linear(WIDTH, CODES, bias=False))
        self.action_code_book = nn.Linear(CODES, WIDTH, bias=False)
        self.action_merge_layers = nn.ModuleList(Merge() for _ in range(2))

    def through(self, layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
        angles = self.rotary_emb(x, torch.arange(length)[None])
        for layer in layers:
            x = layer(x, attention_mask=mask, position_embeddings=angles)
        return x

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.norm(self.through(self.layers, self.embed_tokens(tokens)))

    def scores(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        return getattr(self, f"{name}_head")(
            getattr(self, f"{name}_norm")(self.through(getattr(self, f"{name}_layers"), hidden))
        )

    def under_code(self, hidden: torch.Tensor, code: int) -> torch.Tensor:
        vector = self.action_code_book(F.one_hot(torch.tensor(code), CODES).float()).expand_as(hidden)
        state = hidden
        for layer in self.action_merge_layers:
            x = torch.cat([state, vector], -1)
            state = layer.down_proj(F.silu(layer.gate_proj(x)) * layer.up_proj(x)) + state
        return self.norm(state) - hidden


def released(folder: Path, *, scaling: dict[str, object] | None = None, shards: int = 3) -> tuple[Released, nn.Linear]:
    tokenizer = make_tokenizer()
    fields = {
        "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256, "rope_theta": 500.0,
        "rope_scaling": scaling, "rms_norm_eps": 1e-5, "hidden_act": "silu", "eos_token_id": 0, "bos_token_id": None,
        "pad_token_id": 0, "tie_word_embeddings": False, "initializer_range": 0.4,
        "v": 1, "num_code": CODES, "num_action_layer": 1, "num_policy_layer": 1, "num_dyna_layer": 2,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        config = LlamaConfig(**fields, attn_implementation="eager")
        model, head = Released(config), nn.Linear(WIDTH, len(tokenizer), bias=False)
        for parameter in model.parameters():
            parameter.data = torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 0.1) + (
                parameter.dim() == 1
            )
    folder.mkdir()
    data = {f"model.{k}": v.detach().contiguous() for k, v in model.state_dict().items()}
    data["lm_head.weight"] = head.weight.detach()
    for number in range(shards):
        part = dict(list(data.items())[number::shards])
        save_file(part, str(folder / f"model-{number + 1:05d}-of-{shards:05d}.safetensors"), metadata={"format": "pt"})
    # As in the released repository: an index of shards that are not there, and code that must not be run.
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"lm_head.weight": "gone.safetensors"}}')
    more = {"architectures": ["IntentionForCausalLM"], "model_type": "llama", "auto_map": {"AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps({**fields, **more}))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    tokenizer.save_pretrained(folder)
    return model.eval(), head


@pytest.mark.parametrize("scaling", [None, LLAMA3], ids=["plain", "llama3"])
@torch.no_grad()
def test_all_codes_give_the_published_logits_and_policy_and_idm_the_published_scores(tmp_path, scaling):
    theirs, head = released(tmp_path / "released", scaling=scaling)
    done = import_cola(tmp_path / "released", tmp_path / "ours")
    lm = LatentLM.from_pretrained(str(tmp_path / "ours"), device="cpu", dtype="float32")
    tokens = torch.tensor([[3, 141, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26]]).repeat(1, 5)
    hidden = theirs.hidden(tokens)
    torch.testing.assert_close(lm.base.hidden(tokens), hidden)
    latents = lm.require_latents()
    torch.testing.assert_close(latents.policy(hidden), theirs.scores("policy", hidden))
    torch.testing.assert_close(latents.idm(hidden), theirs.scores("action", hidden))
    ours = lm.base.logits(fan_out_states(latents, lm.base, hidden[0]))
    for code in range(CODES):
        torch.testing.assert_close(ours[:, code], head(theirs.under_code(hidden[0], code)))
    assert (done.base_tensors, done.latent_tensors) == (2 * 9 + 3, 2 * (9 + 2) + 1 + 2 * 5)
    assert not list((tmp_path / "ours").rglob("*.py"))


def test_an_idm_that_is_not_there_is_left_out(tmp_path):
    released(tmp_path / "released", shards=1)
    (path,) = (tmp_path / "released").glob("*.safetensors")
    kept = {k: v for k, v in load_file(path).items() if "action_layers" not in k and "action_norm" not in k}
    kept.pop("model.action_head.weight")
    save_file(kept, path, metadata={"format": "pt"})
    done = import_cola(tmp_path / "released", tmp_path / "ours")
    assert done.config.idm_layers == 0
    assert LatentLM.from_pretrained(str(tmp_path / "ours"), device="cpu").num_codes == CODES


def test_what_cannot_be_read_is_named(tmp_path):
    folder = tmp_path / "released"
    released(folder)
    first, second, _ = sorted(folder.glob("*.safetensors"))
    kept = first.read_bytes()
    first.unlink()
    with pytest.raises(CorruptFileError, match="shard is missing"):
        import_cola(folder, tmp_path / "ours")
    first.write_bytes(second.read_bytes())
    with pytest.raises(CorruptFileError, match="one set of shards"):
        import_cola(folder, tmp_path / "ours")
    first.write_bytes(kept)
    config = json.loads((folder / "config.json").read_text())
    for change, says in (({"v": None}, "v = None"), ({"hidden_act": "gelu"}, "hidden_act"), ({"v": 3}, "v = 3")):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(PrerequisiteError, match=says):
            import_cola(folder, tmp_path / "ours")
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": FFN + 1}))
    with pytest.raises(CorruptFileError, match=r"config\.json says"):
        import_cola(folder, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_the_command_makes_a_model_that_solves(tmp_path):
    released(tmp_path / "released")
    run = CliRunner().invoke(
        group, ["models", "import-cola", str(tmp_path / "released"), "--output", str(tmp_path / "m")]
    )
    assert run.exit_code == 0, run.output
    result = solve(Problem.from_text("1 + 1"), LatentLM.from_pretrained(str(tmp_path / "m"), "cpu"), sims=2)
    assert result.generated_tokens > 0
