"""A text while it is written: its tokens, and what they say, at a cost a token that does not grow with the text.

A tokenizer decodes whole texts, and the checks on texts read them whole. Here a text is decoded from a place on before
which nothing can change any more, and the checks are told how much of it they have seen to its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from colasearch.engine.texts.ends import TextEnds

WINDOW = 24
"""Tokens decoded together before an earlier place to begin from is looked for."""
_STEADY = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}
"""Parts of a decoder that look at no more than a token and its neighbours, or at the text's first character."""
_OPEN = frozenset(" 'nvr\ufffd")
"""Characters after which no text is cut: half a character in UTF-8, and what stands within the pieces that tokenizers
replace when they clean spaces up (a blank before a mark, ``n't``, ``'ve``, ``'re``)."""


def decodes_piecewise(tokenizer: Any) -> bool:
    """Whether a text's decoding is known to be that of its parts, cut where ``_OPEN`` allows it.

    So it is for byte-level and for SentencePiece tokenizers.
    """
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if decoder is None:
        return False
    state = json.loads(decoder.__getstate__())
    kinds = {part["type"] for part in state.get("decoders", [state])}
    return kinds == {"ByteLevel"} or kinds <= _STEADY


class Writing(Sequence[int]):
    """A text as it grows: a sequence of tokens that can also be read.

    Attributes:
        looked: Where in ``text`` the next look at its equations may begin: all before is settled.
        base: Where in ``text`` that began which ``looked`` was found for.
    """

    __slots__ = ("_begin", "_cut", "_ends", "_fixed", "_read", "_skip", "_tail", "_tokens", "base", "looked")

    def __init__(self, ends: TextEnds, tokens: Sequence[int] = ()) -> None:
        self._ends = ends
        self._tokens: list[int] = []
        # The text is ``_fixed`` and what the tokens from ``_cut`` on add to it; the token before is decoded with them,
        # as a decoder may treat the first one in a way of its own.
        self._fixed, self._tail = "", ""
        self._cut = self._begin = self._read = self._skip = 0
        self.looked = self.base = 0
        for token in tokens:
            self.append(token)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self._tokens[index]

    def __len__(self) -> int:
        return len(self._tokens)

    def __iter__(self) -> Iterator[int]:
        return iter(self._tokens)

    def append(self, token: int) -> None:
        """Take one more token; it is decoded when somebody reads."""
        self._tokens.append(token)

    def fork(self) -> Writing:
        """A copy that goes on by itself."""
        copy = Writing(self._ends)
        for name in Writing.__slots__:
            setattr(copy, name, getattr(self, name))
        copy._tokens = self._tokens.copy()
        return copy

    @property
    def text(self) -> str:
        """The text so far, as ``TextEnds.whole`` has it."""
        decode = self._ends.whole
        if not self._ends.piecewise:
            return decode(self._tokens)
        while self._read < len(self._tokens):
            # In pieces, also where many tokens have come since: a place to begin from is found within each.
            self._read = min(len(self._tokens), self._read + WINDOW)
            self._tail = decode(self._tokens[self._begin : self._read])[self._skip :]
            if self._read - self._cut >= WINDOW:
                self._settle(decode)
        return self._fixed + self._tail

    def _settle(self, decode: Callable[[Sequence[int]], str]) -> None:
        """Move the place to begin from behind the last token that a text may be cut after, if there is one."""
        for end in range(self._read - 1, max(self._cut, self._read - 2 * WINDOW), -1):
            token = self._tokens[end - 1]
            piece = decode([token])
            if piece and piece[-1] not in _OPEN and not self._ends.is_byte(token):
                self._fixed += decode(self._tokens[self._begin : end])[self._skip :]
                self._begin, self._cut, self._skip = end - 1, end, len(piece)
                self._tail = decode(self._tokens[self._begin : self._read])[self._skip :]
                return

    @property
    def settled(self) -> int:
        """Characters of ``text`` that no further token changes."""
        return len(self._fixed)
