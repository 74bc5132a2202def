"""Whether a checkpoint holds exactly the tensors of its model: what is missing would silently be random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError

SHOWN = 6
"""Names in a message."""
OLD_BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
               ".position_ids")  # fmt: skip
"""Constants that older versions of transformers saved with the weights; models make them anew."""


def check_tensors(folder: Path, loading: Mapping[str, Any]) -> None:
    """Check what transformers reports of a load (``output_loading_info=True``); a tied head may be missing.

    Raises:
        CorruptFileError: Tensors are missing, unexpected, of other shapes or unreadable.
    """
    missing = sorted(loading.get("missing_keys", ()))
    unexpected = sorted(key for key in loading.get("unexpected_keys", ()) if not key.endswith(OLD_BUFFERS))
    shapes = sorted(
        f"{name} ({tuple(found)}, not {tuple(wanted)})" for name, found, wanted in loading.get("mismatched_keys", ())
    )
    errors = [str(error) for error in loading.get("error_msgs", ())]
    faults = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
            ("unreadable", errors),
        )
        if names
    ]
    if not faults:
        return
    prefix = _prefix(missing, unexpected)
    if prefix:
        raise CorruptFileError(
            f"{folder}: the names of {len(unexpected)} tensors begin with {prefix!r}, which a wrapper of the model "
            f"(DataParallel, torch.compile) leaves there: {_some(unexpected)}; rename them without it and save again"
        )
    raise CorruptFileError(
        f"{folder}: its tensors are not those of its config.json ({'; '.join(faults)}); fetch or copy the folder "
        "again, or save the model again with its own config"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _prefix(missing: Iterable[str], unexpected: list[str]) -> str:
    """What all unexpected names have before the name of a missing tensor; empty where that explains nothing."""
    wanted = set(missing)
    if not unexpected:
        return ""
    name = unexpected[0]
    cuts = [cut for cut in range(1, len(name)) if name[cut - 1] == "." and name[cut:] in wanted]
    if not cuts:
        return ""
    prefix = name[: cuts[0]]
    return prefix if all(n.startswith(prefix) and n.removeprefix(prefix) in wanted for n in unexpected) else ""
