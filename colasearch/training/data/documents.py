"""What training reads: documents of tokens, and the layout that makes one of a row of text.

A row has ``problem`` and, where there is one, ``solution`` (and ``answer``); or ``text``. Rows are laid out with the
prompt that solving uses, so that the codes are learned where they will be used. Rows of a rollout log (``train
rollouts``) are token ids already, ``prompt`` and ``tokens``: what a model has written, of which only the text counts.
An episode of an environment has ``instruction``, ``observation`` and ``turns``; only its actions count.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from colasearch.agents.layout import Layout as EpisodeLayout
from colasearch.agents.layout import Turn, frame_of
from colasearch.model.ends import encode, first_tokens
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, slots=True)
class Document:
    """One token sequence.

    Attributes:
        tokens: Token ids.
        start: The loss counts targets from here on; before it stands wording that all prompts share.
        prompt: Tokens of the prompt at the beginning; 0 for plain text.
        spans: Where only parts of it count, the first and the last token but one of each: the actions of an episode.
    """

    tokens: tuple[int, ...]
    start: int
    prompt: int = 0
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """The spans of tokens that are targets of the loss: from ``start`` on, but for those given."""
        return self.spans or ((self.start, len(self.tokens)),)

    @property
    def counted(self) -> int:
        """Tokens that are targets of the loss."""
        return sum(end - begin for begin, end in self.parts)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents (a list, or a store on disk), and the SHA-256 over everything that made them."""

    documents: Sequence[Document]
    sha256: str

    @property
    def tokens(self) -> int:
        """Number of tokens that count in the loss."""
        counted = getattr(self.documents, "counted", None)
        return int(sum(d.counted for d in self.documents) if counted is None else counted)


def length_of(documents: Sequence[Document], index: int) -> int:
    """Tokens of document ``index``, without reading them where they lie in a store."""
    ends = getattr(documents, "ends", None)
    return len(documents[index].tokens) if ends is None else int(ends[index + 1] - ends[index])


def solution_text(row: Mapping[str, Any]) -> str | None:
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


@dataclass(frozen=True)
class Layout:
    """How rows become documents; can be sent to other processes.

    Attributes:
        tokenizer: The base's.
        end_id: Token that ends a solution.
        max_tokens: Longer documents are cut off here.
    """

    tokenizer: Any
    end_id: int
    max_tokens: int

    @cached_property
    def fixed(self) -> dict[str, int]:
        """Tokens at the beginning that all prompts of a task share."""
        examples = {
            "math": [Problem("", text) for text in ("a", "b")],
            "countdown": [Problem("", "", "countdown", {"numbers": [n], "target": n}) for n in (1, 2)],
        }
        both = {task: [prompt_tokens(self.tokenizer, p) for p in pair] for task, pair in examples.items()}
        return {task: _shared_prefix(*pair) for task, pair in both.items()}

    @property
    def digest(self) -> str:
        """Changes with anything that the tokens of a row depend on."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        words = backend.to_str() if backend is not None else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        template = str(getattr(self.tokenizer, "chat_template", None))
        prompts = [prompt_tokens(self.tokenizer, Problem("", "a")), self.fixed]
        whole = json.dumps([words, template, prompts, self.end_id, self.max_tokens])
        return hashlib.sha256(whole.encode()).hexdigest()

    def document(self, row: Mapping[str, Any]) -> Document:
        """The document of a row."""
        if is_episode(row):
            return self._episode(row)
        spans: list[tuple[int, int]] = []
        if is_rollout(row):
            tokens = [*row["prompt"], *row["tokens"]]
            start = prompt = len(row["prompt"])
            spans = _spans_after(row.get("where", ()), self.max_tokens)
        elif "problem" in row:
            problem = _problem(row)
            tokens = prompt_tokens(self.tokenizer, problem)
            prompt, start = len(tokens), self.fixed[problem.task]
            if "messages" in row:
                start = max(1, _shared_prefix(tokens, prompt_tokens(self.tokenizer, Problem("", "a"))))
            solution = solution_text(row)
            if solution is not None:
                tokens = [*tokens, *encode(self.tokenizer, solution), self.end_id]
        else:
            opening = first_tokens(self.tokenizer)
            tokens = [*opening, *encode(self.tokenizer, row["text"]), self.end_id]
            start, prompt = max(1, len(opening)), 0
        tokens = tokens[: self.max_tokens]
        return Document(tuple(tokens), start, min(prompt, len(tokens)), tuple(spans))

    def _episode(self, row: Mapping[str, Any]) -> Document:
        """An episode, of which the actions count."""
        frame = frame_of(self.tokenizer, self.end_id)
        layout = EpisodeLayout(self.tokenizer, frame, self.max_tokens, str(row["instruction"]))
        turns = [Turn(str(turn["action"]), str(turn["observation"]), 0.0) for turn in row["turns"]]
        tokens, spans = layout.document(str(row["observation"]), turns)
        kept = [(begin, min(end, self.max_tokens)) for begin, end in spans if begin < self.max_tokens]
        start = spans[0][0]
        tokens = tokens[: self.max_tokens]
        return Document(tuple(tokens), start, min(start, len(tokens)), tuple(kept))

    @staticmethod
    def counts(document: Document) -> bool:
        """Whether there is anything to learn from it."""
        if document.start == document.prompt:  # a rollout, or an episode
            return len(document.tokens) > document.start
        return len(document.tokens) > document.start + 1


def _spans_after(places: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Spans of the tokens that follow ascending ``places``, below ``most``: what a model wrote of an episode."""
    spans: list[tuple[int, int]] = []
    for place in places:
        token = place + 1
        if token >= most:
            break
        if spans and spans[-1][1] == token:
            spans[-1] = (spans[-1][0], token + 1)
        else:
            spans.append((token, token + 1))
    return spans


def is_episode(row: Mapping[str, Any]) -> bool:
    """Whether a row is an episode (``train problems --kind env:NAME``): what was seen first, and turns."""
    turns = row.get("turns")
    return (
        isinstance(turns, list)
        and bool(turns)
        and all(isinstance(turn, Mapping) and {"action", "observation"} <= {*turn} for turn in turns)
        and isinstance(row.get("observation"), str)
        and isinstance(row.get("instruction"), str)
    )


def is_rollout(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of a rollout log: token ids of a prompt and of the text after it."""
    return all(
        isinstance(row.get(name), list) and row[name] and all(type(token) is int for token in row[name])
        for name in ("prompt", "tokens")
    )


def corpus_digest() -> Any:
    """The digest that ``Corpus.sha256`` begins with; the tokens of each document and a -1 follow as int64.

    So corpora of equal digests have equal documents, and one's hidden states are the other's.
    """
    return hashlib.sha256(b"corpus-2")


def tokens_digest(tokens: Sequence[int]) -> bytes:
    """What a document's tokens add to ``Corpus.sha256``."""
    return np.asarray([*tokens, -1], dtype=np.int64).tobytes()


def _shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    same = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        same += 1
    return same


def _problem(row: Mapping[str, Any]) -> Problem:
    """The problem of a row; with ``numbers`` and ``target`` one of Countdown. One that came as messages stays so."""
    if "messages" in row:
        return Problem.from_text(row["problem"], data={"messages": row["messages"]})
    if "numbers" in row and "target" in row:
        return Problem.from_text(row["problem"], "countdown", {"numbers": row["numbers"], "target": row["target"]})
    return Problem.from_text(row["problem"])
