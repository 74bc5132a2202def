"""Random numbers that depend on what is drawn for, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def seeded_uniforms(count: int, *key: object) -> np.ndarray:
    """``count`` numbers in [0, 1) fixed by ``key``: a run seed, a problem id, the tokens of a path.

    They depend on nothing else, so neither batch-mates nor the number of workers can change what is drawn.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big"))).random(count)
