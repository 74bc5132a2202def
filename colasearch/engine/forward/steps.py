"""One decoding step without the host: fixed buffers by round numbers of rows, one copy in and one out.

On a GPU the step is captured as a CUDA graph, once for each round number of rows and of pages, so that hundreds of
kernels cost one launch. Elsewhere the same function runs as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.forward.features import Features
from colasearch.engine.forward.looks import Together, Wanted, packed
from colasearch.engine.memory.paged import PagedRows
from colasearch.model.spreading import is_spread

if TYPE_CHECKING:
    from colasearch.engine.forward.actor import Actor

LEAST_ROWS = 8
"""Rows of the smallest bucket."""
WARM_UPS = 2
"""Runs before a step is captured: libraries set themselves up in the first ones."""


def bucket(count: int, least: int) -> int:
    """The round number for ``count``: a power of two, or three quarters of one, so that a third at most is idle."""
    size = least
    while size < count:
        if size * 3 // 2 >= count and size % 2 == 0:
            return size * 3 // 2
        size *= 2
    return size


@dataclass(slots=True)
class _Buffers:
    """Of one bucket: numbers on the host, in pinned memory on a GPU, and on the device; and what has been captured."""

    host: Tensor
    device: Tensor
    graphs: dict[tuple[bool, bool], tuple[Any, _Out]]


@dataclass(frozen=True, slots=True)
class _Out:
    features: Features
    numbers: Tensor
    kept: Tensor | None


class DeviceSteps:
    """Steps of an actor over pages: of any batch of rows in them.

    ``rows`` are some without a row, for whose attention the steps are captured.
    """

    def __init__(self, actor: Actor, rows: PagedRows) -> None:
        self._actor, self._rows = actor, rows
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        self._memory: Any = None

    def run(self, tokens: Sequence[int], batch: PagedRows, wanted: Wanted) -> tuple[Features, Together]:
        """Feed one token to each row; what the rows' states are, and what may be asked of them."""
        count = len(tokens)
        rows, width = bucket(count, LEAST_ROWS), bucket(batch.widest, 1)
        buffers = self._buffers.get((rows, width)) or self._new(rows, width)
        numbers = buffers.host.numpy()
        numbers[:2] = 0
        numbers[0, :count] = tokens
        numbers[1, :count] = wanted.uniforms.astype(np.float64).view(np.int64)
        numbers[2:] = batch.described(rows, width)
        buffers.device.copy_(buffers.host, non_blocking=True)
        # Work on several GPUs is not captured: what moves between them waits for both.
        captured = buffers.device.is_cuda and not is_spread(self._actor.lm.base.model)
        out = self._replayed(buffers, wanted) if captured else self.step(buffers.device, wanted)
        kept = None if out.kept is None else out.kept[:count]
        together = Together(out.numbers.cpu().numpy(), self._actor.latent, kept)
        return out.features.rows(slice(0, count)), together

    def _new(self, rows: int, width: int) -> _Buffers:
        device = self._rows.memory.device
        host = torch.zeros(4 + width, rows, dtype=torch.long, pin_memory=device.type == "cuda")
        buffers = self._buffers[rows, width] = _Buffers(host, torch.zeros_like(host, device=device), {})
        return buffers

    def step(self, numbers: Tensor, wanted: Wanted) -> _Out:
        """The step itself, of numbers on the device: nothing here looks at a value or depends on the rows' number."""
        actor = self._actor
        positions = self._rows.attach(numbers[2:])[None]
        features = actor.attended(numbers[:1], positions, self._rows)
        uniforms = numbers[1].view(torch.float64)
        found, kept = packed(actor, features, uniforms, likely=wanted.likely, drawn=wanted.drawn)
        return _Out(features, found, kept)

    def _replayed(self, buffers: _Buffers, wanted: Wanted) -> _Out:
        key = wanted.likely, wanted.drawn
        if key not in buffers.graphs:
            buffers.graphs[key] = self._captured(buffers, wanted)
        graph, out = buffers.graphs[key]
        graph.replay()
        # Nodes keep their features, and the next replay writes over these.
        scores = out.features.scores_BA
        features = Features(out.features.hidden_BD.clone(), None if scores is None else scores.clone())
        return _Out(features, out.numbers, None if out.kept is None else out.kept.clone())

    def _captured(self, buffers: _Buffers, wanted: Wanted) -> tuple[Any, _Out]:
        # Warm-up runs write what the replay writes again: a step depends on its numbers and on what was there before.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.step(buffers.device, wanted)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            out = self.step(buffers.device, wanted)
        self._memory = self._memory or graph.pool()
        return graph, out
