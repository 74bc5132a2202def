"""Likelihoods under a model's base and under the mixture of its codes, against the sums written out."""

import pytest
import torch

from colasearch.model.latent_lm import LatentLM, world_model_states
from colasearch.model.likelihood import likelihoods

ROWS = [[5, 9, 33, 40, 8], [7, 7, 120], [3, 1, 4, 1, 5, 9, 2, 6]]
STARTS = [2, 1, 3]


@torch.no_grad()
def written_out(lm, row, start):
    """sum_a pi(a) WM(x given a), one position and one code at a time; and the most probable tokens."""
    hidden = lm.base.hidden(torch.tensor([row]))
    modules = lm.latents
    chances = modules.policy(hidden)[0].softmax(-1)
    values, best = [], []
    for place in range(start, len(row)):
        mixed = torch.zeros(lm.base.vocab_size)
        for code in range(lm.num_codes):
            state = world_model_states(modules, lm.base, hidden[0, place - 1], torch.tensor(code))
            mixed += chances[place - 1, code] * lm.base.logits(state).softmax(-1)
        values.append(float(mixed[row[place]].log()))
        best.append(int(mixed.argmax()))
    return values, best


@pytest.mark.parametrize("held", [1, 1 << 20])
def test_the_mixture_is_summed_over_all_codes(lm, monkeypatch, held):
    monkeypatch.setattr("colasearch.model.likelihood.HELD_NUMBERS", held)
    monkeypatch.setattr("colasearch.model.likelihood.PASS_TOKENS", 12)
    found = likelihoods(lm, ROWS, STARTS, "codes")
    for row, start, one in zip(ROWS, STARTS, found, strict=True):
        values, best = written_out(lm, row, start)
        assert one.log_probs_T.tolist() == pytest.approx(values, abs=1e-4)
        assert one.total == pytest.approx(sum(values), abs=1e-4)
        assert one.greedy == (best == row[start:])
    _, best = written_out(lm, [*ROWS[1][:1], 0], 1)
    assert likelihoods(lm, [[ROWS[1][0], best[0]]], [1], "codes")[0].greedy


@torch.no_grad()
def test_on_tokens_it_is_the_bases_own(base):
    found = likelihoods(LatentLM("base", base, None), ROWS, STARTS, "tokens")
    for row, start, one in zip(ROWS, STARTS, found, strict=True):
        logits = base.model(torch.tensor([row])).logits[0].log_softmax(-1)
        wanted = [float(logits[place - 1, row[place]]) for place in range(start, len(row))]
        assert one.log_probs_T.tolist() == pytest.approx(wanted, abs=1e-4)
    (empty,) = likelihoods(LatentLM("base", base, None), [[5, 6]], [2], "tokens")
    assert (empty.total, empty.greedy) == (0.0, True)
