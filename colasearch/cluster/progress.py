"""How far a pool is, in numbers: workers, units, simulations and tokens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """How far a pool is.

    Attributes:
        workers, wanted: Workers that are ready; that there should be.
        replaced: Workers replaced so far.
        done: Units that came out with a value.
        pending: Units that have not come out.
        sims, tokens: Work reported so far, of units in progress and of lost workers too.
        seconds: Since the pool was made.
    """

    workers: int
    wanted: int
    replaced: int
    done: int
    pending: int
    sims: int
    tokens: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """Counts what comes in."""

    replaced: int = 0
    units: int = 0
    sims: int = 0
    tokens: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def worked(self, sims: int, tokens: int) -> None:
        """A worker reports what it has done since its last report."""
        self.sims += sims
        self.tokens += tokens

    def done(self) -> None:
        """A unit came out."""
        self.units += 1

    def status(self, workers: int, wanted: int, pending: int) -> PoolStatus:
        """The numbers now."""
        seconds = time.monotonic() - self._begun
        return PoolStatus(workers, wanted, self.replaced, self.units, pending, self.sims, self.tokens, seconds)
