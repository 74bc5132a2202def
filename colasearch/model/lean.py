"""A model that is only run: linear layers packed from the file's own half-precision weights, no float32 copy.

transformers maps half-precision safetensors into memory as they are. Each linear layer is packed from there and its
pages are given back; embeddings stay in the file and are turned to float32 row by row. All values are those of a
float32 load, since float32 holds every half-precision number, so results are equal bit by bit.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import struct
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colasearch.model.packed import LARGEST_FLOAT16, PackedLinear

HALVES = {"F16": torch.float16, "BF16": torch.bfloat16}
MAX_HEADER_BYTES = 100_000_000
"""Most bytes of a safetensors header, by the format's own rule."""


class HalfEmbedding(nn.Module):
    """``nn.Embedding`` over half-precision weights that gives float32 rows.

    Attributes:
        weight: ``[V, D]``; no parameter, so that the model's element type stays float32, what it computes in.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = embedding.num_embeddings, embedding.embedding_dim
        self.weight = embedding.weight.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> HalfEmbedding:
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows ``[..., D]`` of ``tokens`` ``[...]``."""
        return F.embedding(tokens, self.weight).float()


def half_of_files(folder: Path) -> torch.dtype | None:
    """The half-precision element type of all weights in ``folder``; None where they have another, or several."""
    found = set()
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as stream:
            prefix = stream.read(8)
            size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 0 < size <= MAX_HEADER_BYTES:
                return None
            try:
                header = json.loads(stream.read(size))
            except ValueError:
                return None
        found |= {value.get("dtype") for name, value in header.items() if name != "__metadata__"}
    return HALVES.get(found.pop()) if len(found) == 1 else None


def can_slim(model: Any) -> bool:
    """Whether ``slim`` may change ``model``: its constants must be what they are in a float32 load."""
    return isinstance(model.get_output_embeddings(), nn.Linear) and all(
        buffer.dtype == torch.float32 for buffer in model.buffers() if buffer.is_floating_point()
    )


@torch.no_grad()
def slim(model: Any) -> None:
    """Pack the linear layers of a half-precision ``model`` in place; all else becomes float32, but for embeddings."""
    mapped = _Mapped()
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and bool(child.weight.abs().max() < LARGEST_FLOAT16):
                setattr(parent, name, PackedLinear(child, keep=child is head))
                mapped.give_back(child.weight)
            elif type(child) is nn.Embedding and child.max_norm is None:
                setattr(parent, name, HalfEmbedding(child))
    for parameter in model.parameters():
        parameter.data = parameter.data.float()


class _Mapped:
    """Files of weights that are mapped into this process."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        if not sys.platform.startswith("linux"):
            return
        self.madvise = ctypes.CDLL(None, use_errno=True).madvise
        self.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(".safetensors"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                self.ranges.append((start, end))

    def give_back(self, tensor: Tensor) -> None:
        """Let the kernel drop the pages of a tensor inside such a file; they are read again if they are wanted.

        Nothing ever writes into the mapped weights, so no change is lost.
        """
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if first < last and any(start <= first and last <= end for start, end in self.ranges):
            self.madvise(first, last - first, mmap.MADV_DONTNEED)
