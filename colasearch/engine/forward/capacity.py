"""How many texts and problems at a time: from the device, the model and the memory, where the user does not say."""

from __future__ import annotations

from colasearch.engine.memory.paged import free_bytes
from colasearch.engine.memory.shape import KVShape
from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM

ROWS = 64
"""Most texts in one batch on a CPU, from where on a batch gains nothing."""
GPU_ROWS = (64, 512)
"""Least and most texts in one batch on a GPU, which reads the weights once a step, whatever the rows."""
GPU_MEMORY = 0.5
"""Share of a GPU's free memory that the texts in a batch may fill; nodes and the passes themselves need some."""
PROMPT = 512
"""Tokens of a long prompt, which texts in a batch have beside their own."""
ROWS_A_TREE = 4
"""Texts that a tree has in the batch on the mean, about: it waits for some before it asks for the next."""


def rows_for(base: BaseModel, shape: KVShape | None, max_tokens: int) -> int:
    """Most texts of ``max_tokens`` to decode in one batch: on a GPU as many as its free memory holds at full length."""
    if base.device.type != "cuda" or shape is None:
        return ROWS
    token = 2 * shape.layers * shape.heads * shape.head_dim * base.dtype.itemsize
    least, most = GPU_ROWS
    return max(least, min(most, int(free_bytes(base.device) * GPU_MEMORY / (token * (PROMPT + max_tokens)))))


def slots_for(lm: LatentLM, rows: int | None, max_tokens: int, problems: int) -> int:
    """How many of ``problems`` to search at a time: as fill a batch of ``rows`` (None: of what the device serves)."""
    try:
        shape = KVShape.of(lm)
    except PrerequisiteError:
        shape = None
    rows = rows or rows_for(lm.base, shape, max_tokens)
    return max(1, min(problems, rows // ROWS_A_TREE))
