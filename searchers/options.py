"""Options that all tree-descent algorithms share, and checks that several options use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from colasearch.errors import InputError


def at_least(name: str, value: float, least: float) -> None:
    """Raise ``InputError`` if the option ``name`` is below ``least`` (or NaN)."""
    if not value >= least:
        raise InputError(f"{name} is {value}; it must be at least {least}; pass a larger {name}")


@dataclass(frozen=True, kw_only=True)
class DescentOptions:
    """Options of every algorithm that descends a tree.

    Attributes:
        max_backup: λ of the backup: 0 mean of returns, 1 best visited child, between them a mix.
        early_stop: Stop a tree once it is fully explored (the best action is then chosen by exact values) or its
            root choice is decided; otherwise all simulations are spent, as in mctx.
        in_flight: How leaves in flight count: ``wu`` (as visits, WU-UCT) or ``virtual_loss``.
        virtual_loss: ℓ of the virtual loss: each leaf in flight counts as a return of -ℓ.
        revisit: Whether simulations go into finished nodes, and subtrees with nothing left in them, again, as in mctx.
            In a deterministic world they find nothing there; without, they go where something is left, and a tree
            that is fully explored ends.
    """

    max_backup: float = 0.0
    early_stop: bool = False
    in_flight: Literal["wu", "virtual_loss"] = "wu"
    virtual_loss: float = 1.0
    revisit: bool = True

    def __post_init__(self) -> None:
        """Check the options."""
        if not 0 <= self.max_backup <= 1:
            raise InputError(f"max_backup is {self.max_backup}; pass a number from 0 (mean) to 1 (max)")
        if self.in_flight not in ("wu", "virtual_loss"):
            raise InputError(f"in_flight is {self.in_flight!r}; pass wu or virtual_loss")
        at_least("virtual_loss", self.virtual_loss, 0)

    @property
    def loss(self) -> float:
        """Virtual loss in force: 0 when leaves in flight count as visits only."""
        return self.virtual_loss if self.in_flight == "virtual_loss" else 0.0
