"""A stand-in for torch's attention kernel over block tables, which reads what it is given as its documentation says."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor


def varlen_attn_out(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, starts: Tensor, starts_k: Tensor | None, max_q: int,
    max_k: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool, seqused_k: Tensor,
    block_table: Tensor, num_splits: int,
) -> Tensor:  # fmt: skip
    """Attention of a text's last tokens, without a look at how the engine keeps its pages."""
    with torch._C.DisableTorchFunction():  # its own looks at numbers are nobody's
        assert (starts_k, enable_gqa, num_splits) == (None, True, 1)
        assert block_table.dtype == seqused_k.dtype == starts.dtype == torch.int32
        assert block_table.is_contiguous()
        assert int(seqused_k.max()) <= max_k <= block_table.shape[1] * key.shape[1]
        left, right = window_size
        begins = starts.tolist()
        assert begins[-1] == len(query)
        assert max(end - begin for begin, end in itertools.pairwise(begins)) == max_q
        for row, (used, table) in enumerate(zip(seqused_k.tolist(), block_table, strict=True)):
            mine = query[begins[row] : begins[row + 1]].transpose(0, 1)
            keys, values = (x[table.long()].flatten(0, 1)[:used].transpose(0, 1) for x in (key, value))
            group = query.shape[1] // keys.shape[0]
            keys, values = (x.repeat_interleave(group, 0) for x in (keys, values))
            # Queries are the last tokens of their text; how many to their left and right they see, -1 is all.
            distance = torch.arange(used) - torch.arange(used - mine.shape[1], used)[:, None]
            hidden = (distance < -left) & (left >= 0) | (distance > right) & (right >= 0)
            scores = (mine @ keys.transpose(-1, -2) * scale).masked_fill(hidden, float("-inf"))
            out[begins[row] : begins[row + 1]] = (scores.softmax(-1) @ values).transpose(0, 1)
    return out


def put_in(monkeypatch: pytest.MonkeyPatch, page: int | None = None) -> None:
    """Use it in place of the kernel, which is there then: with pages of ``page`` tokens, or those that are tried."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn_out", varlen_attn_out)
    if page is None:
        monkeypatch.setattr("colasearch.engine.memory.tables.varlen_serves", lambda device, dtype: True)
    else:
        monkeypatch.setattr("colasearch.engine.memory.paged.kernel_page", lambda *given: page)
