"""A stand-in for torch's attention kernel over block tables, which reads what it is given as its documentation says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


def varlen_attn_out(
    out: Tensor, query: Tensor, key: Tensor, value: Tensor, starts: Tensor, starts_k: Tensor | None, max_q: int,
    max_k: int, *, scale: float, window_size: tuple[int, int], enable_gqa: bool, seqused_k: Tensor,
    block_table: Tensor, num_splits: int,
) -> Tensor:  # fmt: skip
    """Attention of one query a row, without a look at how the engine keeps its pages."""
    with torch._C.DisableTorchFunction():  # its own looks at numbers are nobody's
        assert (starts_k, max_q, enable_gqa, num_splits) == (None, 1, True, 1)
        assert starts.tolist() == list(range(len(query) + 1))
        assert block_table.dtype == seqused_k.dtype == starts.dtype == torch.int32
        assert block_table.is_contiguous()
        assert int(seqused_k.max()) <= max_k <= block_table.shape[1] * key.shape[1]
        for row, (used, table) in enumerate(zip(seqused_k.tolist(), block_table, strict=True)):
            keys, values = (x[table.long()].flatten(0, 1)[:used].transpose(0, 1) for x in (key, value))
            group = query.shape[1] // keys.shape[0]
            keys, values = (x.repeat_interleave(group, 0) for x in (keys, values))
            if window_size != (-1, -1):
                assert window_size[1] == 0
                keys, values = (x[:, -1 - window_size[0] :] for x in (keys, values))
            scores = query[row][:, None] @ keys.transpose(-1, -2) * scale
            out[row] = (scores.softmax(-1) @ values)[:, 0]
    return out


def put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use it in place of the kernel, and take it to be there."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn_out", varlen_attn_out)
    monkeypatch.setattr("colasearch.engine.memory.paged.varlen_serves", lambda device, dtype: True)
