"""A tiny model that gives bit for bit the same in any batch, and others of its latent modules."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def new_modules(wide_base):
    """Makes latent modules whose codes matter; another seed gives others."""
    from tiny import speaking

    from colasearch.model.latent_lm import new_latents

    def make(seed: int):
        return speaking(new_latents(wide_base, seed=seed, num_codes=8)).requires_grad_(False).eval()

    return make


@pytest.fixture(scope="session")
def pooled_lm(wide_base, new_modules):
    """A model that no test changes."""
    from colasearch.model.latent_lm import LatentLM

    return LatentLM("wide", wide_base, new_modules(1))
