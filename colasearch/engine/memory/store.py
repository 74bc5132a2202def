"""Keys and values of tree nodes, each entry a tensor of its own, under a budget.

A node owns the keys and values of its own tokens only (a ``Segment``); those of a path are put together row by row when
something is decoded below it (``engine/memory/panels.py``). Codes never enter: they act after the last layer.

The base's layers come first in a segment, the policy's blocks after them. All have the same key/value shape here,
because the latent modules take the base's attention shape.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from colasearch.engine.memory.shape import Segment


class KVStore:
    """Keys and values of tree nodes under a memory budget.

    When the budget is passed, the entries used longest ago go. Nothing is lost: whoever misses one computes it again.

    Attributes:
        budget: Most bytes to keep; None keeps all.
        used, peak: Bytes held now, and at most so far.
        evicted: Entries thrown out so far.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.used = self.peak = self.evicted = 0
        self._entries: OrderedDict[Hashable, Segment] = OrderedDict()

    def put(self, key: Hashable, segment: Segment) -> None:
        """Keep ``segment`` as the entry used last, in place of an old one of that key."""
        self.drop(key)
        self._entries[key] = segment
        self.used += segment.nbytes
        while self.budget is not None and self.used > self.budget and len(self._entries) > 1 and self.evict():
            pass
        self.peak = max(self.peak, self.used)

    def evict(self) -> bool:
        """Forget the entry that was used longest ago, of those that may go; whether there was one."""
        oldest = self._oldest()
        if oldest is None:
            return False
        self.drop(oldest)
        self.evicted += 1
        return True

    def _oldest(self) -> Hashable | None:
        return next(iter(self._entries), None)

    def get(self, key: Hashable) -> Segment | None:
        """The entry, which now counts as used last; None when it is gone."""
        segment = self._entries.get(key)
        if segment is not None:
            self._entries.move_to_end(key)
        return segment

    def drop(self, key: Hashable) -> None:
        """Forget an entry if it is there."""
        segment = self._entries.pop(key, None)
        if segment is not None:
            self.used -= segment.nbytes
