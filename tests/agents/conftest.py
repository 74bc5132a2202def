"""A tiny model whose context holds an episode, and a writer over it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "environments"))


@pytest.fixture(scope="session")
def agent_base(tmp_path_factory: pytest.TempPathFactory):
    import torch
    from tiny import make_base

    from colasearch.model.base import BaseModel

    torch.set_num_threads(1)
    folder = make_base(
        tmp_path_factory.mktemp("agent") / "base", context=1024, hidden_size=64, intermediate_size=96, head_dim=32,
        initializer_range=0.2,
    )  # fmt: skip
    return BaseModel.load(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def agent_lm(agent_base):
    from tiny import speaking

    from colasearch.model.latent_lm import LatentLM, new_latents

    modules = speaking(new_latents(agent_base, seed=1, num_codes=8)).requires_grad_(False).eval()
    return LatentLM("agent", agent_base, modules)


@pytest.fixture
def plain_lm(agent_base):
    from colasearch.model.latent_lm import LatentLM

    return LatentLM("plain", agent_base, None)
