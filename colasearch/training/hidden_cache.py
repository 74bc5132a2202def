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

import numpy as np
import torch
from torch import Tensor

from colasearch.errors import ResourceError
from colasearch.model.base import BaseModel
from colasearch.storage.files import cache_dir, read_json, write_json
from colasearch.training.data import Corpus, Document, pack

Progress = Callable[[int, int], None]


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


class HiddenStates:
    """Hidden states of a corpus' documents, read by index.

    Attributes:
        documents: The corpus' documents.
        hidden: ``[total tokens, D]`` float16: a memory map, or a tensor on ``device``.
    """

    def __init__(self, documents: Sequence[Document], hidden: np.ndarray | Tensor, device: torch.device) -> None:
        self.documents, self.hidden, self.device = documents, hidden, device
        self.offsets = np.concatenate([[0], np.cumsum([len(d.tokens) for d in documents])])

    def of(self, index: int) -> Tensor:
        """Float32 hidden states ``[T, D]`` of document ``index``."""
        rows = self.hidden[int(self.offsets[index]) : int(self.offsets[index + 1])]
        tensor = torch.from_numpy(np.array(rows)) if isinstance(rows, np.ndarray) else rows
        return tensor.to(self.device, torch.float32)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The documents ``indices``, padded on the right."""
        longest = max(len(self.documents[i].tokens) for i in indices)
        pad = torch.nn.utils.rnn.pad_sequence
        hidden = pad([self.of(i) for i in indices], batch_first=True)
        tokens = pad([torch.tensor(self.documents[i].tokens) for i in indices], batch_first=True)
        valid = torch.zeros(len(indices), longest - 1, dtype=torch.bool)
        for row, i in enumerate(indices):
            document = self.documents[i]
            valid[row, document.start - 1 : len(document.tokens) - 1] = True
        return Batch(hidden, tokens.to(self.device), valid.to(self.device))


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
    total = sum(len(d.tokens) for d in documents)
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
            block = sorted(order[begin : begin + 512], key=lambda i: len(documents[i].tokens))
            for group in pack(documents, block, batch_tokens):
                tokens = torch.nn.utils.rnn.pad_sequence(
                    [torch.tensor(documents[i].tokens) for i in group], batch_first=True
                )
                # Padding is on the right and attention is causal, so real tokens never see it.
                hidden = base.hidden(tokens.to(base.device)).to("cpu", torch.float16).numpy()
                for row, i in enumerate(group):
                    array[result.offsets[i] : result.offsets[i + 1]] = hidden[row, : len(documents[i].tokens)]
                    done += 1
                progress(int(result.offsets[done]), total)
            array.flush()
            write_json(state_path, {"documents": done})
    if base.device.type == "cuda":
        # A few gigabytes at most: kept on the device, they spare a copy a step.
        result.hidden = torch.from_numpy(np.array(array)).to(base.device)
    return result


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise ResourceError(
            f"hidden states need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free; "
            "free some space, set COLASEARCH_CACHE to another disk, or train on less text"
        )
