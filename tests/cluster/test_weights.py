"""Models taken apart into arrays and put together again."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings

import numpy as np
import pytest
import torch

from colasearch.cluster.weights import freeze, place, swap, thaw
from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.model.packed import can_pack
from colasearch.problem import Problem

SETTINGS = SearchSettings(sims=4, world=WorldConfig(max_tokens=8))
PROBLEMS = [Problem.from_text(f"What is {i} times 7?") for i in range(3)]


def traces(lm: LatentLM):
    return {one.problem.id: one.trace for one in search_problems(lm, PROBLEMS, SETTINGS)}


def tensors(lm: LatentLM) -> dict[str, torch.Tensor]:
    found = {f"base.{name}": t for name, t in lm.base.model.state_dict().items()}
    return found | {f"latents.{name}": t for name, t in lm.latents.state_dict().items()}


def as_workers_get_it(lm: LatentLM) -> LatentLM:
    """Through a pickle with its arrays outside, read-only, as the object store has them."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(freeze(lm), protocol=5, buffer_callback=buffers.append)
    frozen = pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])
    assert not any(array.flags.writeable for array in frozen.arrays)
    return thaw(frozen)


def test_a_thawed_model_has_the_same_weights_and_searches_the_same(pooled_lm):
    expected = traces(pooled_lm)
    assert all(trace is not None and len(trace.nodes) > 2 for trace in expected.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = as_workers_get_it(pooled_lm)
    ours, theirs = tensors(pooled_lm), tensors(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
    assert not any(p.requires_grad for p in (*other.base.model.parameters(), *other.latents.parameters()))
    assert not other.base.model.training
    assert (other.name, other.base.identity, other.latents.config) == (
        pooled_lm.name, pooled_lm.base.identity, pooled_lm.latents.config,
    )  # fmt: skip
    assert traces(other) == expected


def test_nothing_is_copied_and_the_structure_holds_no_weights(pooled_lm):
    frozen = freeze(pooled_lm)
    distinct = {p.data_ptr(): p.nbytes for p in tensors(pooled_lm).values()}
    buffers = sum(t.nbytes for t in pooled_lm.base.model.buffers())  # of which a state dict has not all
    assert sum(distinct.values()) <= frozen.nbytes <= sum(distinct.values()) + 2 * buffers
    weight = pooled_lm.base.model.get_input_embeddings().weight
    assert weight.numpy().tobytes() not in frozen.structure
    addresses = {array.ctypes.data for array in frozen.arrays}
    assert all(p.data_ptr() in addresses for p in tensors(pooled_lm).values()), "freezing copies"
    assert all(p.data_ptr() in addresses for p in tensors(thaw(frozen)).values()), "thawing copies"


def test_tied_weights_stay_one_tensor(pooled_lm):
    assert pooled_lm.base.model.lm_head.weight is pooled_lm.base.model.get_input_embeddings().weight
    model = thaw(freeze(pooled_lm)).base.model
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert isinstance(model.lm_head.weight, torch.nn.Parameter)


def test_bfloat16_keeps_every_bit(base_folder, new_modules, wide_base):
    base = BaseModel.load(str(base_folder), device="cpu", dtype="bfloat16")
    frozen = freeze(LatentLM("half", base, None))
    other = thaw(frozen)
    assert {array.dtype for array in frozen.arrays} >= {np.dtype(np.int16)}
    for name, tensor in base.model.state_dict().items():
        mine = other.base.model.state_dict()[name]
        assert mine.dtype == tensor.dtype == torch.bfloat16
        assert torch.equal(mine.view(torch.int16), tensor.view(torch.int16)), name
    tokens = torch.tensor([[1, 2, 3, 4]])
    assert torch.equal(other.base.hidden(tokens), base.hidden(tokens))


def test_scalars_strided_and_integer_tensors():
    odd = {
        "scalar": torch.tensor(3.5, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "turned": torch.arange(6.0).view(2, 3).T,
        "whole": torch.tensor([1, 2, 3]),
        "bits": torch.tensor([True, False]),
    }
    other = thaw(freeze(odd))
    for name, tensor in odd.items():
        assert (other[name].dtype, other[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(other[name], tensor), name


def test_a_packed_model_stays_packed(pooled_lm):
    if not can_pack():
        pytest.skip("this build of torch has no FBGEMM, so no model is packed here")
    packed = LatentLM("packed", dataclasses.replace(pooled_lm.base, packed=True), pooled_lm.latents)
    expected = traces(packed)  # the engine's packed copy is made before the model is taken apart, as in a driver
    other = place(as_workers_get_it(packed), "cpu")
    assert other.base.packed
    assert traces(other) == expected


def test_other_latent_modules_take_over_in_place(pooled_lm, new_modules):
    lm = thaw(freeze(pooled_lm))
    first = traces(lm)
    for seed in (2, 3):
        modules = new_modules(seed)
        expected = traces(LatentLM("wide", pooled_lm.base, modules))
        assert expected != first, "the modules must make a difference"
        swap(lm, thaw(freeze(modules)))
        assert traces(lm) == expected
    swap(lm, None)
    assert lm.latents is None


def test_modules_in_training_are_settled_and_those_of_the_driver_left_alone(pooled_lm, new_modules):
    training = copy.deepcopy(new_modules(2)).double().train().requires_grad_(True)
    lm = thaw(freeze(pooled_lm))
    swap(lm, thaw(freeze(training)))
    assert not lm.latents.training
    assert not any(p.requires_grad for p in lm.latents.parameters())
    assert {p.dtype for p in lm.latents.parameters()} == {torch.float32}
    assert training.training
    assert all(p.requires_grad and p.dtype == torch.float64 for p in training.parameters())
