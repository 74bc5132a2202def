"""What a decoding step costs a GPU in launches and waits, counted on tensors without memory; and that it is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import fake_kernel
import numpy as np
import pytest
import torch
from test_paged import PROBLEMS, SETTINGS, WORLD
from tiny import make_tokenizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from colasearch.engine.forward import fused, inference
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.looks import Wanted
from colasearch.engine.memory import paged
from colasearch.engine.scheduler import Scheduler, Searched, search_problems
from colasearch.engine.settings import Sampling
from colasearch.model.base import BaseModel
from colasearch.model.config import BaseIdentity
from colasearch.model.latent_lm import LatentLM, LatentModules, latent_config

LAUNCHES = 600
"""The most kernels of a step of 24 layers."""
EMPTY = ("aten.empty", "aten.new_empty", "aten.empty_like")


class Launches(TorchDispatchMode):
    """Counts operations that compute or copy; those that only look at memory in another way cost a GPU nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not torch.ops.aten.rms_norm.default:  # one kernel on a GPU
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        before = {_memory(x) for x in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        new = [x for x in torch.utils._pytree.tree_leaves(out) if isinstance(x, torch.Tensor)]
        fresh = any(_memory(x) not in before for x in new)
        if (fresh or func._schema.is_mutable) and not str(func).startswith(EMPTY):
            self.found[str(func)] += 1
        return out


def _memory(x: torch.Tensor) -> int:
    return x.untyped_storage()._cdata


@pytest.fixture
def half_billion(monkeypatch):
    """An actor over pages of Qwen2.5-0.5B's shape and fresh modules, on a GPU that is not there."""
    monkeypatch.setattr(fused, "_alike", lambda ours, theirs: ours.shape == theirs.shape)
    monkeypatch.setattr(inference, "_probe", lambda lm, inference: None)
    monkeypatch.setattr(paged, "kernel_page", lambda *given: 16)
    monkeypatch.setattr(paged, "free_bytes", lambda device: 4 << 30)
    config = Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, eos_token_id=0, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config).requires_grad_(False).eval().to(torch.bfloat16)
        base = BaseModel(model, make_tokenizer(), BaseIdentity("half"), packed=False)
        latents = LatentModules(latent_config(base)).requires_grad_(False).eval().to(torch.bfloat16)
    return Actor(LatentLM("half", base, latents), Sampling(), engine="paged")


@pytest.mark.parametrize(("rows", "width"), [(8, 1), (64, 8), (512, 3)])
def test_a_step_issues_few_kernels_and_never_waits(half_billion, rows, width):
    """At any number of rows of any lengths; a look at a value would be an error on tensors without values."""
    numbers = torch.zeros(4 + width, rows, dtype=torch.long, device="meta")
    with torch.inference_mode(), Launches() as launches:
        half_billion._device_steps().step(numbers, Wanted(np.zeros(rows)))
    assert launches.found["torch_attn._varlen_attn_out.default"] == 24 + 2
    assert sum(launches.found.values()) <= LAUNCHES


class Waits(TorchFunctionMode):
    """Counts the host's looks at numbers: each would wait for the device."""

    NAMES = frozenset({"cpu", "item", "tolist", "nonzero", "__bool__", "__int__", "__float__", "__index__"})

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.found += getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("actions", "kv_bytes"), [("latent", None), ("sampled", None), ("latent", 60_000)])
def test_a_step_of_a_search_waits_twice_at_most_and_gives_the_same_trees(wide_lm, monkeypatch, actions, kv_bytes):
    """The path of a GPU, run uncaptured: pages of a few tokens, a kernel over tables, one copy in and one out."""
    world = replace(WORLD, branch_below=0.9, max_tokens=10)
    settings = replace(SETTINGS, sims=6, actions=actions, world=world)
    expected = dict(map(_tree, search_problems(wide_lm, PROBLEMS[:2], settings)))
    fake_kernel.put_in(monkeypatch, page=4)
    # Room for few nodes: those that are lost are computed again, all tokens of a path together.
    world = replace(world, engine="paged", kv_bytes=kv_bytes)
    scheduler = Scheduler(wide_lm, replace(settings, world=world), slots=2)
    assert not list(scheduler.add(PROBLEMS[:2]))
    found, most = {}, 0
    while scheduler._runs:
        with Waits() as waits:
            done = list(scheduler.step())
        most = max(most, waits.found)
        found |= dict(map(_tree, done))
    # Without codes, a CPU looks once more before it draws first tokens (``sample_several``).
    assert most == (2 if actions == "latent" else 3)
    assert found == expected
    assert scheduler.world.decoder.batch.memory.used == 0
    assert bool(scheduler.world.actor.repeated_tokens) == bool(kv_bytes)


def _tree(done: Searched) -> tuple[str, object]:
    """A tree but for its numbers, which differ in rounding."""
    trace = done.trace
    return done.problem.id, ([(n.parent, n.tokens, n.visits) for n in trace.nodes], [t.text for t in trace.texts])
