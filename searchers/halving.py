"""Sequential halving: which visit count the next root simulation must extend.

Source: Danihelka et al. 2022, "Policy improvement by planning with Gumbel", section 2; budget as in mctx.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from colasearch.searchers.tree import Ints


def considered_visits(num_considered: int, sims: int) -> list[int]:
    """Visit count of the action that each of ``sims`` simulations goes to, ``num_considered`` actions competing.

    ``⌈log2 m⌉`` phases; each gives its ``k`` surviving actions ``max(1, ⌊sims/(⌈log2 m⌉·k)⌋)`` visits, then
    ``k ← max(2, ⌊k/2⌋)``; what is left of the budget goes to the last two. Cost O(sims).

    Examples:
        >>> considered_visits(4, 8)
        [0, 0, 0, 0, 1, 1, 2, 2]
    """
    if num_considered <= 1:
        return list(range(sims))
    phases = math.ceil(math.log2(num_considered))
    sequence: list[int] = []
    visits, surviving = 0, num_considered
    while len(sequence) < sims:
        for _ in range(max(1, sims // (phases * surviving))):
            sequence += [visits] * surviving
            visits += 1
        surviving = max(2, surviving // 2)
    return sequence[:sims]


@lru_cache(maxsize=64)
def considered_visits_table(max_considered: int, sims: int) -> Ints:
    """Rows 0 to ``max_considered`` of :func:`considered_visits`, ``[max_considered + 1, sims]``, read-only."""
    table = np.array([considered_visits(m, sims) for m in range(max_considered + 1)], np.int64)
    table = table.reshape(max_considered + 1, sims)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def phases_table(max_considered: int, sims: int) -> Ints:
    """Halving phase that each simulation belongs to, ``[max_considered + 1, sims]``, read-only.

    Within a phase the competing actions are fixed, so its simulations may run at the same time.
    """
    table = np.zeros((max_considered + 1, sims), np.int64)
    for m in range(2, max_considered + 1):
        phases = math.ceil(math.log2(m))
        start, phase, surviving = 0, 0, m
        while start < sims:
            end = start + surviving * max(1, sims // (phases * surviving))
            table[m, start:end] = phase
            # With two actions left no later phase drops one, so all that follows is one phase.
            phase += surviving > 2
            start, surviving = end, max(2, surviving // 2)
    table.flags.writeable = False
    return table
