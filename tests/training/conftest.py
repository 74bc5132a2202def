"""A model for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from colasearch.model.latent_lm import LatentLM


@pytest.fixture
def own(model_folder: Path) -> LatentLM:
    """A model whose base and modules the test may change."""
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    lm.require_latents().float()
    return lm
