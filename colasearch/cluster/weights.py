"""A model as plain arrays, which Ray's object store keeps once a node and maps into every worker there.

``freeze`` takes a model apart into its structure (a pickle without tensors) and its tensors (numpy arrays); ``thaw``
puts it together around arrays that may be read-only memory shared with other processes, without copying them. The
pickle goes from a driver to its own workers, over the channel that carries their code; nothing from a file or from
another user is unpickled here.
"""

from __future__ import annotations

import io
import pickle
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM, LatentModules

VIEWS = {torch.bfloat16: torch.int16}
"""Element types that numpy lacks, and those of equal size that stand for them."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A model taken apart.

    Attributes:
        structure: A pickle in which each tensor is a number.
        arrays: Contents of the tensors.
        dtypes: Their element types.
        parameters: Which of them are ``nn.Parameter``.
    """

    structure: bytes
    arrays: tuple[np.ndarray[Any, Any], ...]
    dtypes: tuple[torch.dtype, ...]
    parameters: tuple[bool, ...]

    @property
    def nbytes(self) -> int:
        """Size of the arrays."""
        return sum(array.nbytes for array in self.arrays)


class _Freezer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.tensors: list[Tensor] = []
        self.numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> int | None:
        """The number of a tensor; tensors that are one object (tied weights) stay one."""
        if not isinstance(thing, Tensor):
            return None
        if id(thing) not in self.numbers:
            self.numbers[id(thing)] = len(self.tensors)
            self.tensors.append(thing)
        return self.numbers[id(thing)]


class _Thawer(pickle.Unpickler):
    def __init__(self, frozen: Frozen) -> None:
        super().__init__(io.BytesIO(frozen.structure))
        self.tensors = [
            _tensor(array, dtype, parameter)
            for array, dtype, parameter in zip(frozen.arrays, frozen.dtypes, frozen.parameters, strict=True)
        ]

    def persistent_load(self, number: Any) -> Tensor:
        """The tensor with this number."""
        tensor: Tensor = self.tensors[number]
        return tensor


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().cpu().contiguous()
    array: np.ndarray[Any, Any] = plain.view(VIEWS.get(plain.dtype, plain.dtype)).numpy()
    return array


def _tensor(array: np.ndarray[Any, Any], dtype: torch.dtype, parameter: bool) -> Tensor:
    with warnings.catch_warnings():
        # The array is read-only memory, and torch warns that writing would be undefined. Nothing trains here.
        warnings.simplefilter("ignore")
        tensor = torch.from_numpy(array)
    tensor = tensor.view(dtype) if tensor.dtype != dtype else tensor
    return nn.Parameter(tensor, requires_grad=False) if parameter else tensor


def freeze(thing: LatentLM | LatentModules) -> Frozen:
    """Take a model, or latent modules, apart. Contents are shared with it where it is on the CPU, not copied."""
    stream = io.BytesIO()
    freezer = _Freezer(stream)
    freezer.dump(thing)
    tensors = freezer.tensors
    return Frozen(
        stream.getvalue(),
        tuple(_array(tensor) for tensor in tensors),
        tuple(tensor.dtype for tensor in tensors),
        tuple(isinstance(tensor, nn.Parameter) for tensor in tensors),
    )


def thaw(frozen: Frozen) -> Any:
    """The model (or latent modules) again, on the CPU, frozen; its memory is that of the arrays."""
    return _Thawer(frozen).load()


def place(lm: LatentLM, device: str) -> LatentLM:
    """Move a thawed model to its device, in place.

    Raises:
        PrerequisiteError: The device is not there.
    """
    from colasearch.model.base import pick_device

    where = pick_device(device)
    base: BaseModel = lm.base
    base.packed = base.packed and where.type == "cpu"
    if where.type != "cpu":
        base.model.to(where)
        if lm.latents is not None:
            lm.latents.to(where)
    return lm


def swap(lm: LatentLM, latents: LatentModules | None) -> None:
    """Give a model other latent modules, in place; the engine notices by itself."""
    if latents is not None:
        latents.to(device=lm.base.device, dtype=lm.base.dtype)
        latents.requires_grad_(False).eval()
    lm.latents = latents
