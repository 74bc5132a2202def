"""Linear layers for inference whose result for a row never depends on the other rows of the batch.

On a CPU, MKL picks another kernel, with another order of summation, for batches of a few rows. A search would then
depend on what else is in its batch. Two remedies:

- ``PackedLinear``: weights in float16, activations and sums in float32 (FBGEMM), faster than float32 weights, since
  half as many bytes are read. With AVX-512 each row is summed in one order whatever the batch. With AVX2 FBGEMM cuts
  a batch into pieces of up to six rows, and those of one or two rows are summed in another order: batches are padded
  to a size that needs none of these (``PACKED_ROWS``).
- ``PaddedLinear``: plain float32 weights; batches below the size where MKL settles on one kernel are padded to it.

``inference_copy`` swaps them into a copy of a module that shares all parameters with the original, so that the
original stays trainable. Forward only.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 32
"""MKL's sgemm gives one result per row from 11 rows up with 2 threads, 4 with one (measured); twice that for safety."""

PACKED_ROWS = 3
"""With AVX2 FBGEMM gives a row one result in all batches whose size is a multiple of this (tests try all up to 240)."""

LARGEST_FLOAT16 = 65504.0

Module = TypeVar("Module", bound=nn.Module)


def can_pack() -> bool:
    """Whether this build of torch has FBGEMM's float16 linear layer."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    ops = torch.ops.quantized
    return hasattr(ops, "linear_prepack_fp16") and hasattr(ops, "linear_dynamic_fp16")


class PackedLinear(nn.Module):
    """``nn.Linear`` with weights packed in float16; float32 in, float32 out.

    Attributes:
        weight: With ``keep``, the weights that it was made of, as they were (for single rows of an output head,
            and for architectures that read them).
        bias: With ``keep``, the bias.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None

    def __init__(self, linear: nn.Linear, *, keep: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        if keep:
            self.weight = linear.weight.detach()
            self.bias = None if linear.bias is None else linear.bias.detach()
        weight = linear.weight.detach().float().contiguous()
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.packed: Any = torch.ops.quantized.linear_prepack_fp16(weight, bias)

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedLinear:
        return self  # packed weights never change

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` ``[..., in]`` to ``[..., out]``."""
        count = x.numel() // self.in_features
        missing = -count % PACKED_ROWS
        if not missing:
            out: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self.packed)
            return out
        rows = F.pad(x.reshape(count, self.in_features), (0, 0, 0, missing))
        out = torch.ops.quantized.linear_dynamic_fp16(rows, self.packed)[:count]
        return out.view(*x.shape[:-1], self.out_features)


class PaddedLinear(nn.Module):
    """``nn.Linear`` in float32 that never runs on fewer than ``ROWS`` rows."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` ``[..., in]`` to ``[..., out]``."""
        rows = x.reshape(-1, self.in_features)
        count = rows.shape[0]
        if count < ROWS:
            rows = F.pad(rows, (0, 0, 0, ROWS - count))
        return F.linear(rows, self.weight, self.bias)[:count].view(*x.shape[:-1], self.out_features)


def inference_copy(module: Module, packed: bool, *, linears: bool = True) -> Module:
    """A copy of ``module`` with its linear layers replaced; all other parameters are shared, not copied.

    With ``linears`` false, no layer is replaced.

    Layers whose weights float16 cannot hold are kept in float32. The copy does not follow later changes of packed
    weights: make a new one after training.
    """
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    clone = copy.deepcopy(module, memo=dict(shared))
    for parent in clone.modules() if linears else ():
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                fits = packed and bool(child.weight.detach().abs().max() < LARGEST_FLOAT16)
                # Some layers read another's weights themselves, as Mamba's do; here they cost nothing.
                setattr(parent, name, PackedLinear(child, keep=True) if fits else PaddedLinear(child))
    return clone
