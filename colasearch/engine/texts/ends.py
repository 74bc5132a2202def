"""Where steps and texts end, judged on tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colasearch.model.ends import THOUGHT, THOUGHT_END, opens_thought, thinks
from colasearch.tasks import Task
from colasearch.verifiers.extract import boxed

BOUNDARY_MARKS = (".", "!", "?", "\n")


class TextEnds:
    r"""Knows a tokenizer's step boundaries and finished texts.

    A step ends after a token that closes a sentence or a line. A text is finished at an end token, or as soon as its
    ``\\boxed{...}`` is closed, where what would follow cannot change the answer (``Task.ends_at_box``). What a thinking
    model writes between ``<think>`` and ``</think>`` is no part of its answer.
    """

    def __init__(self, tokenizer: Any, end_ids: frozenset[int]) -> None:
        self.tokenizer, self.end_ids = tokenizer, end_ids
        pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        self.boundaries = frozenset(i for i, piece in enumerate(pieces) if piece.rstrip(" ").endswith(BOUNDARY_MARKS))
        self.closers = frozenset(i for i, piece in enumerate(pieces) if "}" in piece)
        self._thinks = thinks(tokenizer)
        self._in_thought_at_first = self._thinks and opens_thought(tokenizer)

    def is_boundary(self, token: int) -> bool:
        """Whether a step ends after ``token``."""
        return token in self.boundaries

    def finish_of(self, task: Task) -> Callable[[Sequence[int]], bool]:
        """What says whether a text of ``task`` is complete."""
        return self.is_finished if task.ends_at_box else self.is_ended

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Whether a text with these tokens (without its prompt) is complete, by an end token or a closed box."""
        if self.is_ended(tokens):
            return True
        return bool(tokens) and tokens[-1] in self.closers and any(c for _, _, c in boxed(self.said(tokens)))

    def is_ended(self, tokens: Sequence[int]) -> bool:
        """Whether a text has an end token."""
        return bool(tokens) and tokens[-1] in self.end_ids

    def said(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens`` behind its thought: all of it where it has none, nothing while it is within one."""
        if not self._thinks:
            return self.decode(tokens)
        # The marks may be special tokens, which ``decode`` leaves out.
        text = str(self.tokenizer.decode([token for token in tokens if token not in self.end_ids]))
        _, closed, behind = text.rpartition(THOUGHT_END)
        if not closed and (self._in_thought_at_first or THOUGHT in text):
            return ""
        return behind

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, special tokens left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
