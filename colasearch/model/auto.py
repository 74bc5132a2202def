"""Model folders of ours for ``AutoConfig`` of transformers, which knows them once this module is imported.

    import colasearch.model.auto
    config = transformers.AutoConfig.from_pretrained("runs/policy/model")

``LatentLM.from_pretrained`` imports it; ``import colasearch`` does not, because transformers takes seconds to import.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from colasearch.model.config import MODEL_TYPE, LatentConfig

_OURS = frozenset({"schema", "model_type", *(field.name for field in fields(LatentConfig))})


class LatentAutoConfig(PretrainedConfig):  # type: ignore[misc]
    """``config.json`` of latent modules. The fields of ``LatentConfig`` are attributes; ``latent`` has all of them."""

    model_type = MODEL_TYPE

    def __init__(self, **given: Any) -> None:
        """Read the data of a ``config.json``.

        Raises:
            CorruptFileError: A field is missing or wrong.
        """
        self.latent = LatentConfig.from_dict({key: value for key, value in given.items() if key in _OURS})
        super().__init__(**{key: value for key, value in given.items() if key not in _OURS})

    def __getattr__(self, name: str) -> Any:
        """The fields of ``latent``."""
        if name in _OURS:
            return getattr(self.latent, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return self.latent.to_dict()

    def to_diff_dict(self) -> dict[str, Any]:
        """The same: nothing is left out, so that what is saved can be loaded."""
        return self.to_dict()


AutoConfig.register(MODEL_TYPE, LatentAutoConfig, exist_ok=True)
