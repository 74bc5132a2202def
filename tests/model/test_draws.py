"""Several draws from one distribution: the draws of one at a time, without a copy of the vocabulary for each."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from colasearch.model.policy import DRAWN_TOGETHER, sample_codes, sample_several, sampling_log_probs


class Largest(TorchDispatchMode):
    """Notes the most numbers that an operation gives."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(part, torch.Tensor):
                self.most = max(self.most, part.numel())
        return out


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (50, 1.0), (50, 0.8), (0, 0.9), (1, 1.0)])
@pytest.mark.parametrize("ties", [False, True])
def test_several_draws_are_those_of_one_at_a_time(top_k, top_p, ties):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(DRAWN_TOGETHER + 5, 997, generator=generator)
    if ties:  # as bfloat16 has them, also at the last score that is kept
        logits = logits.round()
    log_probs = sampling_log_probs(logits, 0.7, top_k, top_p=top_p)
    uniforms = torch.rand(len(logits), 64, dtype=torch.float64, generator=generator)
    uniforms[:, 0], uniforms[:, 1] = 0.0, 1 - 1e-16
    one_by_one = torch.stack([sample_codes(log_probs, uniforms[:, i]) for i in range(64)], dim=1)
    assert torch.equal(sample_several(log_probs, uniforms), one_by_one)


@pytest.mark.parametrize("top_k", [0, 50])
def test_memory_does_not_grow_with_the_draws(top_k):
    leaves, vocabulary = 3 * DRAWN_TOGETHER, 5000
    log_probs = sampling_log_probs(torch.randn(leaves, vocabulary), 1.0, top_k)
    with Largest() as seen:
        sample_several(log_probs, torch.rand(leaves, 64, dtype=torch.float64))
    assert seen.most <= leaves * vocabulary  # what comes in, and no multiple of it
