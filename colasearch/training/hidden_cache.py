"""The base's hidden states of a corpus, computed once and kept on disk.

The base is frozen, so stages 1 and 2 need each hidden state once, however many epochs they train. The cache is one
float16 file that is filled in document order; a computation that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from colasearch.errors import ResourceError
from colasearch.files import cache_dir, read_json, write_json
from colasearch.model.base import BaseModel
from colasearch.training.data import Corpus, Document, pack
from colasearch.training.documents import length_of

Progress = Callable[[int, int], None]
DEVICE_SHARE = 0.25
"""Of a GPU's free memory: what the hidden states of a corpus may take there; more stay on disk."""


@dataclass(slots=True)
class Batch:
    """Padded documents on the training device.

    Attributes:
        hidden_BTD: Hidden states, zero where padded.
        tokens_BT: Token ids, zero where padded.
        valid_BT: ``[B, T-1]``; true where the transition t -> t+1 counts in the loss.
    """

    hidden_BTD: Tensor
    tokens_BT: Tensor
    valid_BT: Tensor


class States(Protocol):
    """Hidden states of documents, kept or computed when they are asked for.

    Attributes:
        documents: The corpus' documents.
        device: Where batches are put.
    """

    documents: Sequence[Document]
    device: torch.device

    def of(self, index: int) -> Tensor:
        """Float32 hidden states ``[T, D]`` of document ``index``."""
        ...

    def batch(self, indices: Sequence[int]) -> Batch:
        """The documents ``indices``, padded on the right."""
        ...


class HiddenStates:
    """Hidden states of a corpus' documents, read by index.

    Attributes:
        documents: The corpus' documents.
        hidden: ``[total tokens, D]`` float16: a memory map, or a tensor on ``device``.
    """

    def __init__(self, documents: Sequence[Document], hidden: np.ndarray | Tensor, device: torch.device) -> None:
        self.documents, self.hidden, self.device = documents, hidden, device
        ends = getattr(documents, "ends", None)
        self.offsets = np.concatenate([[0], np.cumsum([len(d.tokens) for d in documents])]) if ends is None else ends

    def of(self, index: int) -> Tensor:
        """Float32 hidden states ``[T, D]`` of document ``index``."""
        rows = self.hidden[int(self.offsets[index]) : int(self.offsets[index + 1])]
        tensor = torch.from_numpy(np.array(rows)) if isinstance(rows, np.ndarray) else rows
        return tensor.to(self.device, torch.float32)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The documents ``indices``, padded on the right."""
        hidden = torch.nn.utils.rnn.pad_sequence([self.of(i) for i in indices], batch_first=True)
        tokens, valid = tokens_and_valid([self.documents[i] for i in indices])
        return Batch(hidden, tokens.to(self.device), valid.to(self.device))


class FreshStates:
    """Hidden states computed each time they are asked for, where all of a corpus fit nowhere.

    Attributes:
        documents: The corpus' documents.
        base: The frozen base; its forward pass is all that a batch costs more.
    """

    def __init__(self, documents: Sequence[Document], base: BaseModel) -> None:
        self.documents, self.base, self.device = documents, base, base.device

    def of(self, index: int) -> Tensor:
        """Float32 hidden states ``[T, D]`` of document ``index``."""
        return self.batch([index]).hidden_BTD[0]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The documents ``indices``, padded on the right."""
        tokens, valid = tokens_and_valid([self.documents[i] for i in indices])
        tokens = tokens.to(self.device)
        with torch.no_grad():
            # Rounded as the cache rounds them, so that either way trains the same.
            hidden = self.base.hidden(tokens).to(torch.float16).float()
        for row, i in enumerate(indices):
            hidden[row, length_of(self.documents, i) :] = 0
        return Batch(hidden, tokens, valid.to(self.device))


def tokens_and_valid(documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
    """``tokens_BT`` and ``valid_BT`` of a ``Batch`` of documents, on the CPU."""
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(d.tokens) for d in documents], batch_first=True)
    valid = torch.zeros(len(documents), tokens.shape[1] - 1, dtype=torch.bool)
    for row, document in enumerate(documents):
        valid[row, document.start - 1 : len(document.tokens) - 1] = True
    return tokens, valid


def padded(rows: Sequence[Tensor], like: Tensor) -> Tensor:
    """``rows`` of numbers as one tensor of the shape and on the device of ``like`` ``[B, T]``, zero where padded."""
    result = torch.zeros(like.shape, dtype=rows[0].dtype, device=like.device)
    for row, values in enumerate(rows):
        result[row, : len(values)] = values
    return result


def hidden_states(
    base: BaseModel, corpus: Corpus, progress: Progress, folder: Path | None = None, batch_tokens: int = 8192
) -> HiddenStates:
    """Hidden states of every document of ``corpus``, from the cache or computed now (and resumably).

    Args:
        base: The frozen base.
        corpus: Documents.
        progress: Called with tokens done and tokens in all.
        folder: Where to keep them; a folder of the cache by default, named by base and corpus.
        batch_tokens: Padded tokens in one forward pass.

    Raises:
        ResourceError: The disk has no room for them.
    """
    documents = corpus.documents
    total = sum(length_of(documents, i) for i in range(len(documents)))
    if folder is None:
        key = hashlib.sha256(f"{base.identity.weights_sha256} {corpus.sha256}".encode()).hexdigest()[:24]
        folder = cache_dir() / "hidden" / key
    folder.mkdir(parents=True, exist_ok=True)
    data_path, state_path = folder / "hidden.npy", folder / "progress.json"
    shape = (total, base.hidden_size)
    done = read_json(state_path)["documents"] if state_path.exists() and data_path.exists() else 0
    if done == 0:
        _check_space(folder, total * base.hidden_size * 2)
    mode = "r+" if done else "w+"
    array = np.lib.format.open_memmap(str(data_path), mode=mode, dtype=np.float16, shape=None if done else shape)
    if array.shape != shape:
        done = 0
        array = np.lib.format.open_memmap(str(data_path), mode="w+", dtype=np.float16, shape=shape)
    result = HiddenStates(documents, array, base.device)
    order = list(range(done, len(documents)))
    with torch.inference_mode():
        # Sorting by length inside blocks of 512 documents keeps padding low; progress is saved after each block.
        for begin in range(0, len(order), 512):
            block = sorted(order[begin : begin + 512], key=lambda i: length_of(documents, i))
            for group in pack(documents, block, batch_tokens):
                tokens = torch.nn.utils.rnn.pad_sequence(
                    [torch.tensor(documents[i].tokens) for i in group], batch_first=True
                )
                # Padding is on the right and attention is causal, so real tokens never see it.
                hidden = base.hidden(tokens.to(base.device)).to("cpu", torch.float16).numpy()
                for row, i in enumerate(group):
                    array[result.offsets[i] : result.offsets[i + 1]] = hidden[row, : length_of(documents, i)]
                    done += 1
                progress(int(result.offsets[done]), total)
            array.flush()
            write_json(state_path, {"documents": done})
    if base.device.type == "cuda" and array.nbytes < torch.cuda.mem_get_info(base.device)[0] * DEVICE_SHARE:
        # Kept on the device, they spare a copy a step.
        result.hidden = torch.from_numpy(np.array(array)).to(base.device)
    return result


def fits_on_disk(base: BaseModel, corpus: Corpus) -> bool:
    """Whether the hidden states of ``corpus`` take at most half of the free disk of the cache."""
    total = sum(length_of(corpus.documents, i) for i in range(len(corpus.documents)))
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return total * base.hidden_size * 2 <= shutil.disk_usage(folder).free / 2


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise ResourceError(
            f"hidden states need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; "
            "free some space, set COLASEARCH_CACHE to another disk, or train on less text"
        )
