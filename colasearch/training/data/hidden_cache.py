"""The base's hidden states of a corpus, computed once and kept on disk.

The base is frozen, so stages 1 and 2 need each hidden state once, however many epochs they train. The cache is one
float16 file that is filled in document order; a computation that was cut off goes on where it stopped. One process
computes at a time: another one that wants the same states waits for them. States of one element type are never taken
for those of another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from colasearch.errors import ResourceError
from colasearch.model.base import BaseModel
from colasearch.storage.files import cache_dir, read_json, write_json
from colasearch.training.data.corpus import Corpus, Document, pack
from colasearch.training.data.documents import length_of

Progress = Callable[[int, int], None]
LOCK_NAME = ".lock"
WAIT_S = 0.5
"""Between two looks at the progress of another process."""
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
        for begin, end in document.parts:
            valid[row, begin - 1 : end - 1] = True
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
    lengths = [length_of(documents, i) for i in range(len(documents))]
    made_of = {"base": base.identity.weights_sha256, "dtype": str(base.dtype), "corpus": corpus.sha256}
    if folder is None:
        folder = cache_dir() / "hidden" / hashlib.sha256(" ".join(made_of.values()).encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with _alone(folder, lambda: progress(int(offsets[_done(folder, made_of, len(documents))]), sum(lengths))):
        array = _complete(base, documents, folder, made_of, progress, batch_tokens)
    result = HiddenStates(documents, array, base.device)
    if base.device.type == "cuda" and array.nbytes < torch.cuda.mem_get_info(base.device)[0] * DEVICE_SHARE:
        # Kept on the device, they spare a copy a step.
        result.hidden = torch.from_numpy(np.array(array)).to(base.device)
    return result


@contextlib.contextmanager
def _alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the kernel's lock of ``folder``, which ends with its process; calls ``waiting`` while another holds it."""
    with (folder / LOCK_NAME).open("a+") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(WAIT_S)
        yield


def _done(folder: Path, made_of: dict[str, str], count: int) -> int:
    """How many documents of this corpus, by this base, are in the file."""
    if not (folder / "hidden.npy").exists():
        return 0
    try:
        known = read_json(folder / "progress.json")
    except FileNotFoundError:
        return 0
    done = known.get("documents")
    same = {key: known.get(key) for key in made_of} == made_of and isinstance(done, int)
    return done if same and isinstance(done, int) and 0 <= done <= count else 0


def _complete(
    base: BaseModel,
    documents: Sequence[Document],
    folder: Path,
    made_of: dict[str, str],
    progress: Progress,
    batch_tokens: int,
) -> Any:
    """Compute what is missing in the file; returns its array ``[total, D]``, read-only."""
    data, state = folder / "hidden.npy", folder / "progress.json"
    offsets = np.concatenate([[0], np.cumsum([length_of(documents, i) for i in range(len(documents))])])
    total = int(offsets[-1])
    shape = (total, base.hidden_size)
    done = _done(folder, made_of, len(documents))
    if done and np.load(data, mmap_mode="r").shape != shape:
        done = 0
    if not done:
        _check_space(folder, total * base.hidden_size * 2)
        state.unlink(missing_ok=True)
        data.unlink(missing_ok=True)  # whoever reads the old file keeps it
    if done < len(documents):
        array = np.lib.format.open_memmap(
            str(data), mode="r+" if done else "w+", dtype=np.float16, shape=None if done else shape
        )
        with torch.inference_mode():
            # Sorting by length inside blocks of 512 documents keeps padding low; progress is saved after each block.
            for begin in range(done, len(documents), 512):
                block = range(begin, min(begin + 512, len(documents)))
                for group in pack(documents, sorted(block, key=lambda i: length_of(documents, i)), batch_tokens):
                    _compute(base, documents, group, array, offsets)
                    done += len(group)
                    progress(int(offsets[done]), total)
                array.flush()
                write_json(state, {"documents": done, **made_of})
        del array
    return np.load(data, mmap_mode="r")


def _compute(
    base: BaseModel, documents: Sequence[Document], group: Sequence[int], array: Any, offsets: np.ndarray
) -> None:
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(documents[i].tokens) for i in group], batch_first=True)
    # Padding is on the right and attention is causal, so real tokens never see it.
    hidden = base.hidden(tokens.to(base.device)).to("cpu", torch.float16).numpy()
    for row, i in enumerate(group):
        array[offsets[i] : offsets[i + 1]] = hidden[row, : length_of(documents, i)]


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
