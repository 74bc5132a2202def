"""How far a pool is, in numbers: workers, problems, simulations and tokens."""

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
        sims, tokens: As the workers last said of the units they have.
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
    _done: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _now: dict[int, tuple[int, int]] = field(default_factory=dict)

    def now(self, worker: int, sims: int, tokens: int) -> None:
        """What a worker says of the units it has."""
        self._now[worker] = (sims, tokens)

    def done(self) -> None:
        """A unit came out."""
        self._done += 1

    def status(self, workers: int, wanted: int, pending: int) -> PoolStatus:
        """The numbers now."""
        sims = sum(pair[0] for pair in self._now.values())
        tokens = sum(pair[1] for pair in self._now.values())
        seconds = time.monotonic() - self._begun
        return PoolStatus(workers, wanted, self.replaced, self._done, pending, sims, tokens, seconds)
