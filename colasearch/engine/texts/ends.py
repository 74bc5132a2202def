"""Where steps and texts end, judged on tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from colasearch.engine.texts.writing import Writing, decodes_piecewise
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
        self.piecewise = decodes_piecewise(tokenizer)
        names = tokenizer.convert_ids_to_tokens(range(len(tokenizer))) if self.piecewise else []
        self._bytes = frozenset(i for i, name in enumerate(names) if name and name.startswith("<0x"))
        self._thinks = thinks(tokenizer)
        self._in_thought_at_first = self._thinks and opens_thought(tokenizer)

    def is_boundary(self, token: int) -> bool:
        """Whether a step ends after ``token``."""
        return token in self.boundaries

    def writing(self, tokens: Sequence[int] = ()) -> Writing:
        """A text that begins with ``tokens``, made to grow; of one that grows already, a copy."""
        return tokens.fork() if isinstance(tokens, Writing) else Writing(self, tokens)

    def is_byte(self, token: int) -> bool:
        """Whether a token stands for one byte of a character that several of them may make up (``<0xE2>``)."""
        return token in self._bytes

    def finish_of(self, task: Task) -> Callable[[Sequence[int]], bool]:
        """What says whether a text of ``task`` is complete."""
        return self.is_finished if task.ends_at_box else self.is_ended

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Whether a text with these tokens (without its prompt) is complete, by an end token or a closed box."""
        if self.is_ended(tokens):
            return True
        if not tokens or tokens[-1] not in self.closers:
            return False
        said = self.said(tokens)
        # No opening, no box: most braces close something else, and finding that out costs next to nothing.
        return "box" in said and any(content for _, _, content in boxed(said))

    def is_ended(self, tokens: Sequence[int]) -> bool:
        """Whether a text has an end token."""
        return bool(tokens) and tokens[-1] in self.end_ids

    def said(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens`` behind its thought: all of it where it has none, nothing while it is within one."""
        text = tokens.text if isinstance(tokens, Writing) else self.whole(tokens)
        if not self._thinks:
            return text
        _, closed, behind = text.rpartition(THOUGHT_END)
        if not closed and (self._in_thought_at_first or THOUGHT in text):
            return ""
        return behind

    def whole(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens`` with its thought, whose marks may be special tokens, which ``decode`` leaves out."""
        if not self._thinks:
            return self.decode(tokens)
        return str(self.tokenizer.decode([token for token in tokens if token not in self.end_ids]))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, special tokens left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
