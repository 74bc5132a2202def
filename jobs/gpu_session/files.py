"""What is brought home, in few and small files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from colasearch.model.latent_lm import LatentModules

FILE_TOKENS, TEXT_FILES = 5_000_000, 2
"""Texts that are brought home: about 2 bytes a token once compressed, and a file may have 16 MiB."""


def save(modules: LatentModules, out: Path, value: dict[str, Tensor]) -> None:
    """The modules in float16, in three files: what comes back is at most 8 files of 16 MiB."""
    from safetensors.torch import save_file

    parts: dict[str, dict[str, Tensor]] = {"rest": dict(value)}
    for key, value in modules.state_dict().items():
        part = key.split(".")[0]
        parts.setdefault(part if part in ("idm", "policy") else "rest", {})[key] = value.half().cpu().contiguous()
    for part, tensors in parts.items():
        save_file(tensors, str(out / f"own-{part}.safetensors"))


def keep_texts(out: Path, problems: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
    """The texts in at most ``TEXT_FILES`` files of ``FILE_TOKENS`` tokens; those beyond are not kept."""
    ends = np.cumsum([len(text) for text in texts])
    for number in range(TEXT_FILES):
        begin, end = (int(np.searchsorted(ends, n * FILE_TOKENS, "right")) for n in (number, number + 1))
        if begin == end:
            return
        np.savez_compressed(
            out / f"rollouts-{number}.npz",
            tokens=np.array([t for text in texts[begin:end] for t in text], np.uint32),
            ends=ends[begin:end] - (int(ends[begin - 1]) if begin else 0),
            problem=np.array(problems[begin:end]),
        )
