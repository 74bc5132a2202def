"""Data parallelism of stages 1 and 2: several processes, one model each, that share every batch's passes.

A batch is cut into the same passes whatever the number of processes; rank r of n takes passes r, r + n, ...; gradients
and metrics are summed. So n processes walk the curve of one, up to the order of float sums. The modules are a few
hundred million parameters on a frozen base, so nothing is sharded. Start with ``torchrun --nproc-per-node N -m
colasearch train actions ...`` or ``accelerate launch``: the processes find each other through accelerate.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from colasearch.errors import PrerequisiteError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0; the first writes the run folder.
        count: How many there are.
        state: accelerate's ``PartialState``; None for a process alone.
    """

    rank: int = 0
    count: int = 1
    state: Any = None

    @classmethod
    def current(cls, device: str = "auto") -> Ranks:
        """The processes that a launcher (torchrun, accelerate, Ray Train) has started this one with.

        Raises:
            PrerequisiteError: The launcher's processes cannot find each other.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        from accelerate import PartialState

        try:
            state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
        except (RuntimeError, ValueError) as error:
            raise PrerequisiteError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes cannot find each other ({error}); start "
                "them with torchrun or `accelerate launch`, or unset WORLD_SIZE"
            ) from None
        return cls(state.process_index, state.num_processes, state)

    @property
    def first(self) -> bool:
        """Whether this process writes what all of them find."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """The device of this process, where the user has said ``asked``: one GPU each."""
        alone = self.state is None or asked not in ("auto", "cuda")
        return asked if alone else str(self.state.device)

    def share(self, passes: Sequence[T]) -> list[tuple[int, T]]:
        """Those of a batch's passes that this process does, with their numbers."""
        return list(enumerate(passes))[self.rank :: self.count]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors, in each of them."""
        if self.count == 1:
            return tensor
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    def sum_metrics(self, metrics: dict[str, float], device: torch.device) -> dict[str, float]:
        """The sum of all processes' metrics of equal names."""
        if self.count == 1:
            return metrics
        total = self.sum(torch.tensor(list(metrics.values()), dtype=torch.float64, device=device))
        return dict(zip(metrics, total.tolist(), strict=True))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of all processes; one that had no pass has zeros."""
        if self.count == 1:
            return
        trained = list(parameters)
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in trained if p.grad is not None])
        torch.distributed.all_reduce(flat)
        begin = 0
        for parameter in trained:
            assert parameter.grad is not None
            parameter.grad.copy_(flat[begin : begin + parameter.numel()].view_as(parameter))
            begin += parameter.numel()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.state is not None:
            self.state.wait_for_everyone()


ALONE = Ranks()
