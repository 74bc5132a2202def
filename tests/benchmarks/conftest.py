"""A tiny base model that answers with a random digit, so that arms differ and some answers are right."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from colasearch.cli.main import main


@pytest.fixture(scope="session")
def talker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base trained for a second to answer any sum with a digit near the right one, and to stop."""
    import torch
    from tiny import make_base
    from transformers import AutoTokenizer, LlamaForCausalLM

    from colasearch.model.ends import encode
    from colasearch.problem import Problem
    from colasearch.tasks import prompt_tokens

    torch.set_num_threads(1)
    folder = make_base(tmp_path_factory.mktemp("models") / "talker", initializer_range=0.1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        rows = []
        for first, off in torch.randint(5, (8, 2), generator=generator).tolist():
            prompt = prompt_tokens(tokenizer, Problem("x", f"What is {first}+2?"))
            rows.append([*prompt, *encode(tokenizer, str((first + off) % 10)), 0])
        tokens = torch.tensor(rows)
        logits = model(tokens).logits[:, -3:-1]
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, -2:].reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def talker(talker_folder: Path) -> Any:
    """The same model, loaded; it has no latent modules, so its actions are sampled tokens."""
    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import LatentLM

    return LatentLM("talker", BaseModel.load(str(talker_folder), device="cpu", dtype="float32"), None)


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    """Eight problems with subjects and levels, as a jsonl file."""
    path = tmp_path / "sums.jsonl"
    rows = [
        {
            "id": f"sum/{i}",
            "problem": f"What is {i}+2?",
            "answer": str(i + 2),
            "subject": "ab"[i % 2],
            "level": 1 + i % 3,
        }
        for i in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def bench(talker_folder, sums, tmp_path, capsys):
    """Run the command in this process; returns exit code, standard output, standard error."""

    def run(*args: object, output: str | None = "run", name: str = "svamp", data: object = sums):
        given = ["bench", name, "--model", talker_folder, "--actions", "sampled", "--max-tokens", 12, "--sims", 6]
        given += ["--threads", 1, *(["--data", data] if data else []), *args]
        given += ["--output", tmp_path / output] if output else []
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            code = main([str(part) for part in given])
        finally:
            for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
                signal.signal(number, handler)
        return code, *capsys.readouterr()

    return run
