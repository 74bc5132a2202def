"""What the host learns of a step's states: each number when it is asked for, or all of them in one copy.

On a CPU a look costs nothing, and what nobody asks for must not be computed. On a GPU each look waits for the device:
there all that a step may ask is computed for all rows, packed into one tensor and copied once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.forward.features import Features

if TYPE_CHECKING:
    from colasearch.engine.forward.actor import Actor

NUMBERS = 7
"""Of a row: usable; probability, token and code of the likeliest token; token, code and fine of a draw."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be asked after a pass.

    Attributes:
        uniforms: A number in [0, 1) for each row's draw.
        likely: Whether the most probable token of any row.
        drawn: Whether a draw of any row.
    """

    uniforms: np.ndarray
    likely: bool = True
    drawn: bool = True


Likely = tuple[list[float], list[int], list[int | None]]
"""Probabilities, tokens and codes; codes are None without latent actions."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tokens and codes that were drawn, and whether the model was usable there.

    Attributes:
        tokens, codes, fine: Of each row; codes are None without latent actions.
        kept_BA: As in ``Chosen``.
    """

    tokens: list[int]
    codes: list[int | None]
    fine: list[bool]
    kept_BA: Tensor | None


class Looks(Protocol):
    """Answers to what the decoder asks of rows, by their numbers."""

    def usable(self, rows: Sequence[int]) -> list[bool]:
        """Whether all features are finite."""

    def likely(self, rows: Sequence[int]) -> Likely:
        """As ``Actor.most_probable``."""

    def drawn(self, rows: Sequence[int]) -> Drawn:
        """As ``Actor.next_tokens``."""


class Single:
    """Looks one by one."""

    def __init__(self, actor: Actor, features: Features, uniforms: np.ndarray) -> None:
        self._actor, self._features, self._uniforms = actor, features, uniforms

    def _of(self, rows: Sequence[int]) -> Features:
        return self._features if len(rows) == len(self._features.hidden_BD) else self._features.rows(rows)

    def usable(self, rows: Sequence[int]) -> list[bool]:
        """Whether all features are finite."""
        return [bool(x) for x in self._features.rows(rows).usable().tolist()]

    def likely(self, rows: Sequence[int]) -> Likely:
        """As ``Actor.most_probable``."""
        probability_B, token_B, code_B = self._actor.most_probable(self._of(rows))
        return probability_B.tolist(), token_B.tolist(), [None] * len(rows) if code_B is None else code_B.tolist()

    def drawn(self, rows: Sequence[int]) -> Drawn:
        """As ``Actor.next_tokens``."""
        uniforms = torch.from_numpy(self._uniforms[list(rows)]).to(self._features.hidden_BD.device)
        chosen = self._actor.next_tokens(self._of(rows), uniforms)
        codes = [None] * len(rows) if chosen.code_B is None else chosen.code_B.tolist()
        return Drawn(chosen.token_B.tolist(), codes, chosen.fine_B.tolist(), chosen.kept_BA)


class Together:
    """All looks from one copy of what ``packed`` gave."""

    def __init__(self, numbers: np.ndarray, latent: bool, kept_BA: Tensor | None) -> None:
        self._numbers, self._latent, self._kept_BA = numbers, latent, kept_BA

    def _integers(self, column: int, rows: Sequence[int]) -> list[int]:
        found: list[int] = self._numbers[column, list(rows)].astype(np.int64).tolist()
        return found

    def _codes(self, column: int, rows: Sequence[int]) -> list[int | None]:
        return list(self._integers(column, rows)) if self._latent else [None] * len(rows)

    def usable(self, rows: Sequence[int]) -> list[bool]:
        """Whether all features are finite."""
        return [bool(x) for x in self._numbers[0, list(rows)]]

    def likely(self, rows: Sequence[int]) -> Likely:
        """As ``Actor.most_probable``."""
        return self._numbers[1, list(rows)].tolist(), self._integers(2, rows), self._codes(3, rows)

    def drawn(self, rows: Sequence[int]) -> Drawn:
        """As ``Actor.next_tokens``."""
        kept = self._kept_BA
        if kept is not None and len(rows) < len(kept):
            kept = kept[torch.tensor(list(rows), device=kept.device)]
        fine = [bool(x) for x in self._numbers[6, list(rows)]]
        return Drawn(self._integers(4, rows), self._codes(5, rows), fine, kept)


def packed(
    actor: Actor, features: Features, uniforms_B: Tensor, *, likely: bool, drawn: bool
) -> tuple[Tensor, Tensor | None]:
    """What ``Together`` is made of, ``[NUMBERS, B]`` in float64, and what draws kept; no value is looked at."""
    usable = features.usable()
    blank = torch.zeros_like(usable, dtype=torch.float64)
    columns, kept = [usable.double()] + [blank] * (NUMBERS - 1), None
    if likely:
        probability, token, code = actor.most_probable(features)
        columns[1:4] = [probability.double(), token.double(), blank if code is None else code.double()]
    if drawn:
        chosen = actor.next_tokens(features, uniforms_B, usable)
        kept, code = chosen.kept_BA, chosen.code_B
        columns[4:7] = [chosen.token_B.double(), blank if code is None else code.double(), chosen.fine_B.double()]
    return torch.stack(columns), kept
