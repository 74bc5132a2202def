"""Random numbers keyed by (run seed, problem id), so that a tree's draws do not depend on its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np


def problem_keys(problems: Sequence[Any]) -> list[str]:
    """A name for each problem: its ``id`` if it has one, else its place in the list."""
    keys = []
    for place, problem in enumerate(problems):
        name = getattr(problem, "id", None)
        keys.append(f"#{place}" if name is None else f"{type(name).__name__}:{name}")
    return keys


def generator(seed: int, key: str, purpose: str) -> np.random.Generator:
    """The generator of one problem for one purpose (root noise, rollouts, ...).

    Different purposes give independent streams, so that a new use of randomness leaves old ones unchanged.
    """
    digest = hashlib.sha256(f"{purpose}\0{key}".encode()).digest()
    words = np.frombuffer(digest, np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, *words.tolist()])))
