"""How many rows and problems at a time, where nobody says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from colasearch.engine.forward import capacity
from colasearch.engine.forward.capacity import rows_for, slots_for
from colasearch.engine.memory.shape import KVShape

SHAPE = KVShape(base_layers=28, policy_layers=2, heads=2, head_dim=128)
GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "tokens", "rows"),
    [(10 * GIB, 512, 170), (1 * GIB, 512, 64), (70 * GIB, 512, 512), (10 * GIB, 1536, 85)],
)
def test_a_gpu_decodes_as_many_texts_as_fit_half_its_free_memory(monkeypatch, free, tokens, rows):
    """30 layers of 2 heads of 128 numbers, keys and values in two bytes each: 30,720 bytes a token."""
    monkeypatch.setattr(capacity, "free_bytes", lambda device: free)
    base = SimpleNamespace(device=torch.device("cuda"), dtype=torch.bfloat16)
    assert rows_for(base, SHAPE, tokens) == rows
    assert rows_for(base, None, tokens) == 64  # whole texts: nothing is kept
    base.device = torch.device("cpu")
    assert rows_for(base, SHAPE, tokens) == 64


def test_trees_fill_the_rows_that_there_are(wide_lm):
    assert slots_for(wide_lm, None, 256, problems=1000) == 16
    assert slots_for(wide_lm, 256, 256, problems=1000) == 64
    assert slots_for(wide_lm, 256, 256, problems=5) == 5
    assert slots_for(wide_lm, 2, 256, problems=5) == 1
