"""Tokenised text on disk, for corpora that do not belong into memory: written once, by several processes, then mapped.

A store is a folder of the cache: ``tokens.bin`` (all documents end to end, uint32), ``index.npy`` (``[documents, 3]``:
where each ends, its ``start``, its ``prompt``) and ``store.json``, which is written last. Its name is a digest of all
that its tokens depend on, so a run that is resumed, or begun anew on the same text, tokenises nothing.

Rows come from jsonl, from parquet, or from a stream of the `datasets` package (``hf:OWNER/NAME:SPLIT``).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from colasearch.errors import InputError, PrerequisiteError
from colasearch.rows import Row, read_rows, row_of, text_of
from colasearch.storage.files import cache_dir, folder_atomic, read_json, sha256_of, write_json
from colasearch.training.data.documents import (
    Corpus,
    Document,
    Layout,
    corpus_digest,
    is_episode,
    is_rollout,
    tokens_digest,
)

Progress = Callable[[int, int], None]
CHUNK_ROWS = 512
STREAM = "hf:"
FORMAT = 1


class StoredDocuments(Sequence[Document]):
    """The documents of a store, read through a memory map.

    Attributes:
        ends: ``[documents + 1]`` where each document's tokens begin and end.
    """

    def __init__(self, folder: Path, most: int | None = None) -> None:
        index = np.load(folder / "index.npy", mmap_mode="r")[:most]
        self.folder = folder
        self.ends = np.concatenate([[0], index[:, 0]])
        self._index = index
        self._tokens = np.memmap(folder / "tokens.bin", dtype=np.uint32, mode="r")

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        tokens = self._tokens[int(self.ends[place]) : int(self.ends[place + 1])]
        return Document(tuple(tokens.tolist()), int(self._index[place, 1]), int(self._index[place, 2]))

    def first(self, most_tokens: int) -> StoredDocuments:
        """The first documents, until ``most_tokens`` of their tokens count in the loss."""
        counted = np.cumsum(np.diff(self.ends) - self._index[:, 1])
        return StoredDocuments(self.folder, int(np.searchsorted(counted, most_tokens)) + 1)

    @property
    def counted(self) -> int:
        """Tokens that count in the loss."""
        return int(self.ends[-1] - self._index[:, 1].sum())


def stored_corpus(
    sources: Sequence[Path | str], layout: Layout, *, processes: int | None = None, progress: Progress | None = None
) -> Corpus:
    """The corpus of ``sources``, from its store or tokenised into one now.

    Args:
        sources: jsonl or parquet files, or streams (``hf:OWNER/NAME:SPLIT``).
        layout: How rows become tokens.
        processes: That tokenise; None: as many as there are cores.
        progress: Called with rows done and 0 (how many there are is not known beforehand).

    Raises:
        PrerequisiteError: A package to read a file is missing.
        InputError: A file is missing, a row is unusable, or none is.
    """
    key = hashlib.sha256(json.dumps([FORMAT, layout.digest, [_identity(s) for s in sources]]).encode())
    folder = cache_dir() / "tokens" / key.hexdigest()[:24]
    if not (folder / "store.json").is_file():
        with folder_atomic(folder) as temporary:
            _write(temporary, sources, layout, processes or len(os.sched_getaffinity(0)), progress)
    return Corpus(StoredDocuments(folder), str(read_json(folder / "store.json")["sha256"]))


def _identity(source: Path | str) -> list[str]:
    if str(source).startswith(STREAM):
        return [str(source)]
    if not Path(source).is_file():
        raise InputError(f"data file {source} does not exist; give a jsonl or parquet file, or hf:OWNER/NAME:SPLIT")
    return [Path(source).suffix, sha256_of(Path(source))]


def _write(
    folder: Path, sources: Sequence[Path | str], layout: Layout, processes: int, progress: Progress | None
) -> None:
    digest = corpus_digest()
    index: list[np.ndarray] = []
    rows = end = 0
    chunks = itertools.chain.from_iterable(_chunks(source) for source in sources)
    with (folder / "tokens.bin").open("wb") as stream, _workers(processes, layout) as each:
        for part in each(chunks):
            digest.update(part.digested)
            stream.write(part.tokens.tobytes())
            index.append(part.index + np.array([end, 0, 0]))
            end += len(part.tokens)
            rows += part.rows
            if progress is not None:
                progress(rows, 0)
    table = np.concatenate(index) if index else np.zeros((0, 3), np.int64)
    if not len(table):
        raise InputError(f"no usable row in {', '.join(map(str, sources))}")
    np.save(folder / "index.npy", table)
    write_json(folder / "store.json", {"sha256": digest.hexdigest(), "documents": len(table), "tokens": end})


Chunk = tuple[str, int, list[Any]]


@dataclass(frozen=True, slots=True)
class Tokenised:
    """A chunk of rows as documents.

    Attributes:
        rows: How many there were.
        tokens: ``[T]`` uint32, of all documents end to end.
        index: ``[documents, 3]``: where each ends, its ``start``, its ``prompt``.
        digested: What the documents add to the corpus' digest.
    """

    rows: int
    tokens: np.ndarray
    index: np.ndarray
    digested: bytes


def _chunks(source: Path | str) -> Iterator[Chunk]:
    """Rows in the order of the source, in chunks with the number of the first: lines of jsonl, or mappings."""
    number = 1
    for rows in _batched(_rows(source)):
        yield str(source), number, rows
        number += len(rows)


def _batched(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, CHUNK_ROWS)):
        yield chunk


def _rows(source: Path | str) -> Iterator[Any]:
    if str(source).startswith(STREAM):
        yield from _streamed(str(source))
    elif Path(source).suffix == ".parquet":
        yield from _parquet(Path(source))
    elif Path(source).suffix in (".csv", ".json"):
        yield from (row.fields for row in read_rows(Path(source)))
    else:
        with Path(source).open("rb") as stream:
            yield from stream


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise PrerequisiteError(
            f"reading {path} needs the pyarrow package; install it with `pip install '.[parquet]'`"
        ) from None
    try:
        for batch in ParquetFile(str(path)).iter_batches():
            yield from batch.to_pylist()
    except ArrowInvalid as error:
        raise InputError(f"{path} is no readable parquet file: {error}") from None


def _streamed(source: str) -> Iterator[dict[str, Any]]:
    name, _, split = source.removeprefix(STREAM).partition(":")
    try:
        from datasets import load_dataset
    except ImportError:
        raise PrerequisiteError(
            f"reading {source} needs the datasets package; install it with `pip install '.[data]'`"
        ) from None
    try:
        yield from load_dataset(name, split=split or "train", streaming=True)
    except (OSError, ValueError) as error:
        raise PrerequisiteError(f"{source} cannot be read: {error}; give hf:OWNER/NAME:SPLIT") from None


_LAYOUT: Layout | None = None


def _begin(layout: Layout) -> None:
    global _LAYOUT
    _LAYOUT = layout


def _tokenise(chunk: Chunk) -> Tokenised:
    assert _LAYOUT is not None
    layout = _LAYOUT
    source, number, rows = chunk
    made = [
        layout.document(_checked(row_of(number + offset, f"{source} line {number + offset}", row)))
        for offset, row in enumerate(rows)
        if not isinstance(row, bytes) or row.strip()
    ]
    kept = [document for document in made if layout.counts(document)]
    ends = np.cumsum([len(d.tokens) for d in kept], dtype=np.int64)
    index = np.stack([ends, [d.start for d in kept], [d.prompt for d in kept]], axis=1) if kept else ends.reshape(0, 3)
    tokens = np.fromiter(itertools.chain.from_iterable(d.tokens for d in kept), np.uint32, int(ends[-1]) if kept else 0)
    return Tokenised(len(rows), tokens, index, b"".join(tokens_digest(d.tokens) for d in kept))


def _checked(row: Row) -> dict[str, Any]:
    if is_episode(row.fields):
        raise InputError(f"{row.where} is an episode, which no store can hold; give episodes as jsonl of up to 64 MB")
    if not is_rollout(row.fields):
        text_of(row)
    return row.fields


@contextmanager
def _workers(processes: int, layout: Layout) -> Iterator[Callable[[Iterable[Chunk]], Iterable[Tokenised]]]:
    """A function over chunks that keeps their order: in this process, or in ``processes`` others."""
    if processes == 1:
        _begin(layout)
        yield lambda chunks: map(_tokenise, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _begin, (layout,)) as pool:
        yield lambda chunks: pool.imap(_tokenise, chunks)
