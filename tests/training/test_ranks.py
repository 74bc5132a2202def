"""Several processes that share each batch walk the curve of one."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from colasearch.model.latent_lm import load_latents
from colasearch.training.data.corpus import load_corpus
from colasearch.training.data.hidden_cache import FreshStates, hidden_states


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [{"problem": f"{i} plus {i}?", "solution": f"It is {'so ' * (i % 4)}\\boxed{{{2 * i}}}."} for i in range(24)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def curve(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_two_processes_walk_the_curve_of_one(colasearch, base_folder, texts, tmp_path):
    args = (
        "train", "actions", "--model", base_folder, "--data", texts, "--heldout", 0.3, "--epochs", 6, "--codes", 8,
        "--batch-tokens", 512, "--micro-tokens", 128, "--warmup-steps", 1, "--revive-every", 4, "--evaluate-every", 5,
        "--threads", 1, "--device", "cpu", "--dtype", "float32",
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
    alone = colasearch(*args, "--output", tmp_path / "alone", "--hidden", "cache")
    assert alone.returncode == 0, alone.stderr
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(
                colasearch, *args, "--output", tmp_path / "both", "--hidden", "fresh",
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(2)
        ]  # fmt: skip
        done = [future.result() for future in asked]
    assert [d.returncode for d in done] == [0, 0], [d.stderr for d in done]
    guide = ("train", "guide", "--model", base_folder, "--data", texts, "--output", tmp_path / "g")
    refused = colasearch(*guide, env=common | {"RANK": "0"})
    assert json.loads(done[0].stdout.splitlines()[-1])["kind"] == "actions"
    assert not done[1].stdout
    ours, theirs = curve(tmp_path / "both"), curve(tmp_path / "alone")
    assert len(ours) == len(theirs) > 3
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=2e-4)
    weights = [load_latents(tmp_path / name / "model").state_dict() for name in ("both", "alone")]
    assert all(float((weights[0][k] - weights[1][k]).abs().max()) < 2e-2 for k in weights[0])
    assert refused.returncode == 2
    assert "launcher" in refused.stderr


def test_fresh_hidden_states_are_those_of_the_cache(base, texts, tmp_path):
    corpus = load_corpus([texts], base.tokenizer, 0)
    kept = hidden_states(base, corpus, lambda *_: None, tmp_path / "states")
    fresh = FreshStates(corpus.documents, base)
    for name in ("hidden_BTD", "tokens_BT", "valid_BT"):
        ours, theirs = (getattr(states.batch([3, 0, 7]), name) for states in (fresh, kept))
        assert ours.shape == theirs.shape
        assert float((ours.float() - theirs.float()).abs().max()) < 2e-3
