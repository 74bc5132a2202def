"""The two interfaces between the search and its keys and values: who holds them, and how rows attend to them.

Trees and decoder hand segments and places about and never look inside; the model's layers call an attention and never
ask where the keys are. Another way to keep them (pages in a pool, say) or to attend (a kernel over block tables) is a
class with these methods and a line in ``choose.py``.

Holding is ``NodeMemory`` for what a tree's nodes own and ``RowMemory`` for the texts in progress; one object may be
both. Attending is ``Attention``, and ``RowAttention`` where rows are fed one token each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from colasearch.engine.memory.shape import Segment


class NodeMemory(Protocol):
    """Keys and values of tree nodes, under a budget. Whoever misses an entry computes it again.

    Attributes:
        budget: Most bytes to keep; None keeps all.
        used, peak: Bytes held now, and at most so far.
        evicted: Entries thrown out so far.
    """

    budget: int | None
    used: int
    peak: int
    evicted: int

    def put(self, key: Hashable, segment: Segment) -> None:
        """Keep ``segment`` as the entry used last, in place of an old one of that key."""

    def get(self, key: Hashable) -> Segment | None:
        """The entry, which now counts as used last; None when it is gone."""

    def drop(self, key: Hashable) -> None:
        """Forget an entry if it is there."""


class Place(Protocol):
    """Where a row's keys and values are. ``item`` is what the row's owner knows it by, ``length`` its tokens held."""

    @property
    def item(self) -> Any:
        """As it was given to ``RowMemory.enter``."""

    @property
    def length(self) -> int:
        """Tokens held at this place; a prompt that is held elsewhere does not count."""


class RowMemory(Protocol):
    """Keys and values of the rows in a batch. A ``place`` is one that this object gave out."""

    def places(self) -> Iterator[Any]:
        """All rows in the order in which tokens are fed and features come back."""

    def enter(self, item: Any, path: Sequence[Segment]) -> Any:
        """Add a row that continues the segments of ``path``; returns its place."""

    def leave(self, place: Any, *, poisoned: bool = False) -> None:
        """Take a row out; ``poisoned`` says that NaN or infinity may be among its keys and values."""

    def make_room(self) -> None:
        """See to it that each row can take one more token; call before tokens are chosen for ``places``."""

    def columns(self, place: Any, begin: int, end: int) -> Segment:
        """A row's keys and values from ``begin`` to ``end``, counted as ``Place.length`` is, for a node to keep."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a layer's queries score keys.

    Attributes:
        scale: Scores are products times this; None: 1 over the root of the head size.
        window: A token sees so many tokens, itself included; None: all before it.
        cap: Scores become cap * tanh(score / cap); None leaves them. Gemma 2 does so.
        sinks: ``[heads]`` score of a key that is always there and has no value; None without. gpt-oss has them.
    """

    scale: float | None = None
    window: int | None = None
    cap: float | None = None
    sinks: Tensor | None = None

    def scaled(self, head_dim: int) -> Scoring:
        """The same with its scale."""
        return self if self.scale is not None else replace(self, scale=head_dim**-0.5)

    def within(self, longest: int) -> Scoring:
        """The same without a window that no text of at most ``longest`` tokens reaches."""
        return self if self.window is None or self.window < longest else replace(self, window=None)


PLAIN = Scoring()


class Attention(Protocol):
    """Keeps a layer's new keys and values, and attends."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Shapes as in ``model.blocks.Attention`` with B = 1, tokens of different rows side by side."""


class RowAttention(Attention, Protocol):
    """Attention of one new token of each row to the row's own past."""

    def begin(self) -> Tensor:
        """Plan a pass that feeds one token to each row; returns their positions ``[N]``."""

    def commit(self) -> None:
        """The pass is done: each row is one token longer."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Tokens that go through the model together.

    Attributes:
        tokens: Of one or several prompts side by side.
        position_N: Their positions.
        ends: Prompts that end here: a prompt's number, and which of the tokens is its last.
    """

    tokens: list[int]
    position_N: Tensor
    ends: list[tuple[int, int]]


class PromptAttention(Attention, Protocol):
    """Causal attention within each of several prompts.

    Attributes:
        computed: Tokens that went through the model, once ``passages`` is through.
    """

    computed: int

    def passages(self) -> Iterator[Passage]:
        """What to run through the model, one after another, with this object as attention."""

    def segments(self) -> list[Segment]:
        """Keys and values of each prompt, once all passages are through."""


class PieceAttention(PromptAttention, Protocol):
    """The same for more tokens of one text, of which there is a part already."""

    def runs(self, lengths: Sequence[int]) -> list[Segment]:
        """The new tokens' keys and values, in parts of these lengths."""


class AttendedRows(RowMemory, RowAttention, Protocol):
    """Rows whose keys and values are held, and attended to."""
