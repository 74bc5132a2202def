"""Training text: jsonl rows to token sequences, split into training and held-out, packed into batches.

A row has ``problem`` and, where there is one, ``solution`` (and ``answer``); or ``text``. Rows are laid out with the
prompt that solving uses, so that the codes are learned where they will be used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from colasearch.errors import InputError
from colasearch.model.ends import encode, first_tokens
from colasearch.problem import Problem
from colasearch.rows import read_rows as rows_of
from colasearch.rows import text_of
from colasearch.tasks import prompt_tokens

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, slots=True)
class Document:
    """One token sequence.

    Attributes:
        tokens: Token ids.
        start: The loss counts targets from here on; before it stands wording that all prompts share.
        prompt: Tokens of the prompt at the beginning; 0 for plain text.
    """

    tokens: tuple[int, ...]
    start: int
    prompt: int = 0


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents, and the SHA-256 over everything that made them."""

    documents: list[Document]
    sha256: str

    @property
    def tokens(self) -> int:
        """Number of tokens that count in the loss."""
        return sum(len(d.tokens) - d.start for d in self.documents)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file to learn from, with our names of fields (``colasearch.rows``).

    Raises:
        InputError: The file is missing, or a row cannot be read or has neither a ``problem`` nor a ``text``.
    """
    rows = rows_of(path)
    for row in rows:
        text_of(row)
    return [row.fields for row in rows]


def solution_text(row: dict[str, Any]) -> str | None:
    r"""A row's worked solution ending in ``\boxed{answer}``; GSM8K's calculator marks and ``####`` line removed."""
    solution = row.get("solution")
    if not isinstance(solution, str) or not solution.strip():
        return None
    text = CALCULATOR_MARK.sub("", solution)
    body, mark, answer = text.rpartition("####")
    if not mark:
        body, answer = text, str(row.get("answer", "") or "")
    body = body.strip()
    answer = answer.strip()
    if "\\boxed" in body or not answer:
        return body
    return f"{body}\nThe answer is \\boxed{{{answer}}}."


def _shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    same = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        same += 1
    return same


def _problem(row: dict[str, Any]) -> Problem:
    """The problem of a row; with ``numbers`` and ``target`` one of Countdown."""
    if "numbers" in row and "target" in row:
        return Problem.from_text(row["problem"], "countdown", {"numbers": row["numbers"], "target": row["target"]})
    return Problem.from_text(row["problem"])


def _fixed_wording(tokenizer: Any) -> dict[str, int]:
    """Tokens at the beginning that all prompts of a task share."""
    examples = {
        "math": [Problem("", text) for text in ("a", "b")],
        "countdown": [Problem("", "", "countdown", {"numbers": [n], "target": n}) for n in (1, 2)],
    }
    return {task: _shared_prefix(*(prompt_tokens(tokenizer, p) for p in both)) for task, both in examples.items()}


def load_corpus(paths: Sequence[Path], tokenizer: Any, end_id: int, max_tokens: int = 512) -> Corpus:
    """Read and tokenise jsonl files.

    Args:
        paths: Files, read in order.
        tokenizer: The base's tokenizer.
        end_id: Token that ends a solution.
        max_tokens: Longer sequences are cut off here.

    Raises:
        InputError: A file is missing, or has an unusable row.
    """
    fixed, opening = _fixed_wording(tokenizer), first_tokens(tokenizer)
    digest = hashlib.sha256(json.dumps(["corpus-1", max_tokens, end_id]).encode())
    documents = []
    for path in paths:
        for row in read_rows(path):
            if "problem" in row:
                problem = _problem(row)
                tokens = prompt_tokens(tokenizer, problem)
                prompt = len(tokens)
                solution = solution_text(row)
                if solution is not None:
                    tokens = [*tokens, *encode(tokenizer, solution), end_id]
                start = fixed[problem.task]
            else:
                tokens = [*opening, *encode(tokenizer, row["text"]), end_id]
                start, prompt = max(1, len(opening)), 0
            tokens = tokens[:max_tokens]
            digest.update(np.asarray([*tokens, -1], dtype=np.int64).tobytes())
            if len(tokens) > start + 1:
                documents.append(Document(tuple(tokens), start, min(prompt, len(tokens))))
    if not documents:
        raise InputError(f"no usable row in {', '.join(map(str, paths))}")
    return Corpus(documents, digest.hexdigest())


def split_heldout(corpus: Corpus, fraction: float) -> tuple[list[int], list[int]]:
    """Indices of the training and held-out documents; which are held out depends on their tokens alone.

    Equal documents always fall on the same side, so nothing held out is also trained on.
    """
    train: list[int] = []
    held: list[int] = []
    for index, document in enumerate(corpus.documents):
        digest = hashlib.sha256(np.asarray(document.tokens, dtype=np.int64).tobytes()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held if share < fraction else train).append(index)
    return train, held


def batches(
    documents: Sequence[Document], indices: Sequence[int], batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """One epoch of batches (lists of document indices), each at most ``batch_tokens`` padded tokens.

    Documents are shuffled, then sorted by length within windows of 64 batches, which keeps padding low without
    showing all short documents first. The result depends only on the arguments.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(np.asarray(indices))
    mean = sum(len(documents[i].tokens) for i in indices) / max(1, len(indices))
    window = max(1, int(64 * batch_tokens / mean))
    result: list[list[int]] = []
    for begin in range(0, len(order), window):
        chunk = sorted(order[begin : begin + window].tolist(), key=lambda i: (len(documents[i].tokens), i))
        result.extend(pack(documents, chunk, batch_tokens))
    return [result[i] for i in rng.permutation(len(result))]


def pack(documents: Sequence[Document], indices: Sequence[int], most: int) -> Iterator[list[int]]:
    """Consecutive groups of ``indices`` whose padded size (count x longest) is at most ``most`` tokens."""
    group: list[int] = []
    longest = 0
    for index in indices:
        length = max(longest, len(documents[index].tokens))
        if group and length * (len(group) + 1) > most:
            yield group
            group, length = [], len(documents[index].tokens)
        group.append(index)
        longest = length
    if group:
        yield group
