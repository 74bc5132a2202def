"""Training text: files to documents of tokens, split into training and held-out, packed into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colasearch.errors import InputError
from colasearch.rows import read_rows as rows_of
from colasearch.rows import text_of
from colasearch.training.data.documents import (
    Corpus,
    Document,
    Layout,
    corpus_digest,
    is_episode,
    is_rollout,
    length_of,
    solution_text,
    tokens_digest,
)
from colasearch.training.data.token_store import STREAM, Progress, StoredDocuments, stored_corpus

__all__ = [
    "Corpus",
    "Document",
    "batches",
    "first_texts",
    "load_corpus",
    "pack",
    "read_rows",
    "solution_text",
    "split_heldout",
]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file to learn from, with our names of fields (``colasearch.rows``).

    Raises:
        InputError: The file is missing, or a row cannot be read or has neither a ``problem`` nor a ``text``.
    """
    rows = rows_of(path)
    for row in rows:
        if not is_rollout(row.fields) and not is_episode(row.fields):
            text_of(row)
    return [row.fields for row in rows]


STORE_BYTES = 64 << 20
"""Files that are larger together are tokenised by several processes into a store on disk (``token_store``)."""


def load_corpus(
    paths: Sequence[Path | str],
    tokenizer: Any,
    end_id: int,
    max_tokens: int = 512,
    *,
    store_bytes: int = STORE_BYTES,
    progress: Progress | None = None,
) -> Corpus:
    """Read and tokenise text: in memory, or, where it is much, or no jsonl, into a store on disk.

    Args:
        paths: jsonl or parquet files, or streams of the datasets package (``hf:OWNER/NAME:SPLIT``), read in order.
        tokenizer: The base's tokenizer.
        end_id: Token that ends a solution.
        max_tokens: Longer sequences are cut off here.
        store_bytes: Files larger than this together go into a store.
        progress: Called with the rows that a new store has so far, and 0.

    Raises:
        PrerequisiteError: A package that reads a file is missing.
        InputError: A file is missing, or has an unusable row.
    """
    layout = Layout(tokenizer, end_id, max_tokens)
    plain = all(not str(path).startswith(STREAM) and Path(path).suffix != ".parquet" for path in paths)
    if not plain or sum(Path(path).stat().st_size for path in paths if Path(path).is_file()) > store_bytes:
        return stored_corpus(paths, layout, progress=progress)
    digest = corpus_digest()
    documents = []
    for path in paths:
        for row in read_rows(Path(path)):
            document = layout.document(row)
            if layout.counts(document):
                digest.update(tokens_digest(document.tokens))
                documents.append(document)
    if not documents:
        raise InputError(f"no usable row in {', '.join(map(str, paths))}")
    return Corpus(documents, digest.hexdigest())


def split_heldout(corpus: Corpus, fraction: float) -> tuple[list[int], list[int]]:
    """Indices of the training and held-out documents; which are held out depends on their tokens alone.

    Equal documents always fall on the same side, so nothing held out is also trained on. Nor are other rollouts of a
    problem whose rollouts are held out, or other episodes with the same beginning.
    """
    train: list[int] = []
    held: list[int] = []
    for index, document in enumerate(corpus.documents):
        rollout = document.start == document.prompt
        tokens = document.tokens[: document.prompt] if rollout else document.tokens
        digest = hashlib.sha256(np.asarray(tokens, dtype=np.int64).tobytes()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held if share < fraction else train).append(index)
    return train, held


def first_texts(corpus: Corpus, most_tokens: int) -> Corpus:
    """About ``most_tokens`` counted tokens of ``corpus``: documents in an order that their tokens alone fix.

    Of a store on disk its first documents, which are read as they are asked for.
    """
    documents = corpus.documents
    if corpus.tokens <= most_tokens:
        return corpus
    if isinstance(documents, StoredDocuments):
        return Corpus(documents.first(most_tokens), f"{corpus.sha256} first {most_tokens}")
    chosen: list[Document] = []
    counted = 0
    for document in sorted(documents, key=lambda d: hashlib.sha256(tokens_digest(d.tokens)).digest()):
        if counted >= most_tokens:
            break
        chosen.append(document)
        counted += document.counted
    digest = corpus_digest()
    for document in chosen:
        digest.update(tokens_digest(document.tokens))
    return Corpus(chosen, digest.hexdigest())


def batches(
    documents: Sequence[Document], indices: Sequence[int], batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """One epoch of batches (lists of document indices), each at most ``batch_tokens`` padded tokens.

    Documents are shuffled, then sorted by length within windows of 64 batches, which keeps padding low without
    showing all short documents first. The result depends only on the arguments.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(np.asarray(indices))
    mean = sum(length_of(documents, i) for i in indices) / max(1, len(indices))
    window = max(1, int(64 * batch_tokens / mean))
    result: list[list[int]] = []
    for begin in range(0, len(order), window):
        chunk = sorted(order[begin : begin + window].tolist(), key=lambda i: (length_of(documents, i), i))
        result.extend(pack(documents, chunk, batch_tokens))
    return [result[i] for i in rng.permutation(len(result))]


def pack(documents: Sequence[Document], indices: Sequence[int], most: int) -> Iterator[list[int]]:
    """Consecutive groups of ``indices`` whose padded size (count x longest) is at most ``most`` tokens."""
    group: list[int] = []
    longest = 0
    for index in indices:
        length = max(longest, length_of(documents, index))
        if group and length * (len(group) + 1) > most:
            yield group
            group, length = [], length_of(documents, index)
        group.append(index)
        longest = length
    if group:
        yield group
