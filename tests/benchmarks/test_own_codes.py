"""The measurement of codes on a base's own texts, on a tiny base."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from colasearch.benchmarks.measurements import own_codes
from colasearch.model.base import BaseModel
from colasearch.training.data.hidden_cache import HiddenStates


@pytest.fixture
def log(base_folder, tmp_path):
    """A rollout log; what stands in it need not be the base's, since next tokens are drawn afresh."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(1, 250, (2, 12), generator=generator).tolist() for _ in range(32)]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"prompt": a[:3], "tokens": b}) + "\n" for a, b in rows))
    return path


def test_a_line_of_measures_for_each_size_and_stage(base_folder, log, monkeypatch, capsys):
    options = [
        "--code-size",
        "0.5",
        "--code-size",
        "0",
        "--steps",
        "40",
        "--lr",
        "0.003",
        "--mixture",
        "8",
        "--rows",
        "64",
    ]
    monkeypatch.setattr(sys, "argv", ["own_codes", "--model", str(base_folder), "--data", str(log), *options])
    own_codes.main()
    head, *lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert head["states"] > 4 * head["held_out"] > 0
    assert [(line["code_size"], line["stage"]) for line in lines] == [
        (0.5, "actions"), (0.5, "policy"), (0.0, "actions"), (0.0, "policy"),
    ]  # fmt: skip
    assert lines[1]["policy_ce"] < lines[0]["policy_ce"]
    assert lines[1]["mixture_kl"] > 0
    assert "mixture_kl" not in lines[0]


def test_pairs_are_the_base_s_own_draws(base_folder):
    base = BaseModel.load(str(base_folder), "cpu", "float32")
    narrow = own_codes.Narrow(base, torch.tensor([5, 9, 40]))
    state = base.hidden(torch.tensor([[7, 8]]))[:, -1]
    torch.testing.assert_close(narrow.logits(state), base.logits(state)[:, [5, 9, 40]])
    pairs = own_codes.Pairs(narrow, state, 2.0, seed=0)
    batch = pairs.batch([0] * 4000)
    torch.testing.assert_close(batch.hidden_BTD[:, 0], state.expand(4000, -1))
    found = torch.bincount(batch.tokens_BT[:, 1], minlength=3) / 4000
    torch.testing.assert_close(found, narrow.logits(state)[0].softmax(-1), atol=0.03, rtol=0)
    assert float(batch.hidden_BTD[:, 1].square().mean(-1).sqrt().mean()) == pytest.approx(2.0, rel=1e-3)


def test_open_states_are_those_of_the_text_with_doubt(base_folder):
    base = BaseModel.load(str(base_folder), "cpu", "float32")
    documents = [own_codes.Document(tuple(range(1, 20)), 5, 5)]
    hidden = base.hidden(torch.tensor([documents[0].tokens]))[0]
    likeliest = base.logits(hidden[4:-1]).softmax(-1).amax(-1)
    below = float(likeliest.median())
    kept, tokens = own_codes.open_states(base, HiddenStates(documents, hidden, base.device), [0], below)
    torch.testing.assert_close(kept, hidden[4:-1][likeliest < below])
    assert len(tokens) <= own_codes.LIKELIEST * len(kept)
