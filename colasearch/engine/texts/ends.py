"""Where steps and texts end, judged on tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colasearch.verifiers.extract import boxed

BOUNDARY_MARKS = (".", "!", "?", "\n")


class TextEnds:
    r"""Knows a tokenizer's step boundaries and finished texts.

    A step ends after a token that closes a sentence or a line. A text is finished at an end token, or as soon as its
    ``\\boxed{...}`` is closed: what would follow cannot change the answer.
    """

    def __init__(self, tokenizer: Any, end_ids: frozenset[int]) -> None:
        self.tokenizer, self.end_ids = tokenizer, end_ids
        pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        self.boundaries = frozenset(i for i, piece in enumerate(pieces) if piece.rstrip(" ").endswith(BOUNDARY_MARKS))
        self.closers = frozenset(i for i, piece in enumerate(pieces) if "}" in piece)

    def is_boundary(self, token: int) -> bool:
        """Whether a step ends after ``token``."""
        return token in self.boundaries

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Whether a text with these tokens (without its prompt) is complete."""
        if not tokens:
            return False
        if tokens[-1] in self.end_ids:
            return True
        return tokens[-1] in self.closers and any(content for _, _, content in boxed(self.decode(tokens)))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, special tokens left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
