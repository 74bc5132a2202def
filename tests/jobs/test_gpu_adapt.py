"""A GPU session's scripts, end to end on a CPU: prompts, the session on a tiny random Qwen2, and what comes home."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny import make_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from colasearch.model.latent_lm import LatentLM

JOBS = Path(__file__).resolve().parent.parent.parent / "jobs"
PROBLEMS = [{"problem": f"What is {i} + {i}?", "solution": f"It is {2 * i}.", "answer": str(2 * i)} for i in range(24)]
PLAN = {
    "rows": 16, "length": 24, "samples": 2, "texts": 60, "own": [1.0, 0.5], "written": [0.3, 0.2], "value": 0.3,
    "value_width": 8, "test": 60, "test_samples": 2, "batch_tokens": 512, "micro_tokens": 256, "code_size": 0.5,
    "below": 0.95, "share": 0.1,
    "sizes": {"num_codes": 8, "policy_layers": 1, "policy_ffn": 16},
}  # fmt: skip


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, JOBS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run(monkeypatch: pytest.MonkeyPatch, name: str, *args: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
    script(name).main()


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = make_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.4, bos_token_id=None, eos_token_id=0,
        pad_token_id=0, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("bias"):  # the architecture's own; zero at the start
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script finds what stands beside it, as where Python runs it."""
    monkeypatch.syspath_prepend(JOBS)


def test_the_writer_s_greedy_texts_are_those_of_transformers(qwen):
    from gpu_session.weights import from_folder
    from gpu_session.writer import Writer

    base, length = from_folder(qwen), 20
    model = Qwen2ForCausalLM.from_pretrained(qwen, dtype=torch.float32)
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(1, 250, (n,), generator=generator).tolist() for n in (3, 11, 7, 1, 9, 12, 5)]
    writer = Writer(base, 3, 12, length, [0])  # fewer rows than prompts: places are taken over
    found = writer.write(prompts, 0.0, float("inf"))
    for number, prompt in enumerate(prompts):
        made = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=length)[0, len(prompt) :]
        assert found[number] == made.tolist()
    assert len({len(text) for text in found.values()}) > 1 or all(len(text) == length for text in found.values())


def test_a_session_s_files_become_a_model_and_grades(qwen, tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    prompts, back, home = tmp_path / "prompts", tmp_path / "back", tmp_path / "home"
    run(
        monkeypatch, "gpu_prompts", "--tokenizer", qwen, "--train", rows, "--written", rows, "--test",
        f"sums={rows}:6", "--output", prompts,
    )  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    run(
        monkeypatch, "gpu_adapt", "--tiny", qwen, "--prompts", prompts / "prompts.npz", "--decode",
        qwen / "tokenizer.json", "--plan", tmp_path / "plan.json", "--output", back,
    )  # fmt: skip
    files = sorted(path.name for path in back.iterdir())
    assert len(files) <= 8  # a device machine gives back no more
    run(monkeypatch, "gpu_bring_home", back, "--base", qwen, "--tests", prompts / "tests.json", "--output", home)
    grades = json.loads(capsys.readouterr().out.splitlines()[-1])
    ways = {"greedy-base", "greedy-codes", "sampled-codes", "sampled-base", "greedy-codes-written"}
    assert set(grades) == ways
    assert all(grades[way]["sums"]["problems"] == 6 for way in ways)
    lm = LatentLM.from_pretrained(str(home / "model"), "cpu", "float32")
    modules = lm.require_latents()
    assert modules.value is not None
    assert modules.config.training["own texts"]["heldout"]["alive"] > 0
    hidden = lm.base.hidden(torch.tensor([[5, 6, 7, 8]]))
    assert modules.policy(hidden).shape == (1, 4, 8)
    assert bool((modules.idm.codes(hidden) >= 0).all())


@pytest.mark.parametrize(
    ("text", "same"), [("\\boxed{1,000}", "1000"), ("so \\boxed{\\frac{1}{2}} it is", "\\dfrac{1}{2}"), ("none", "")]
)
def test_the_session_s_own_reading_of_answers(text, same):
    from gpu_session.answers import boxed, plain

    assert plain(boxed(text)) == plain(same)


def test_the_plan_for_the_real_session_fits_its_limit():
    plan = json.loads((JOBS / "gpu_adapt_plan.json").read_text())
    assert set(plan) == set(PLAN)
    seconds = plan["texts"] + sum(plan["own"]) + sum(plan["written"]) + plan["value"] + 5 * plan["test"]
    assert seconds <= 500  # of 600 for a command: the rest is loading, hidden states and measures
