"""A process reward model reads what it has not read before, and says what it would say of the whole."""

from __future__ import annotations

import random

import pytest
import torch
import transformers

from colasearch.model.prefixes import BLOCK, Prefixes, can_be_read_in_parts


def decoder(**more):
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=256, initializer_range=0.4, num_labels=2, **more,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return transformers.LlamaForTokenClassification(config).eval()


def texts(seed, count=8):
    """Texts of which each goes on from somewhere in an earlier one, as those of a tree do."""
    rng = random.Random(seed)
    found = [[rng.randrange(60) for _ in range(rng.randrange(1, 60))]]
    while len(found) < count:
        parent = rng.choice(found)
        kept = parent[: rng.randrange(1, len(parent) + 1)]
        found.append([*kept, *(rng.randrange(60) for _ in range(rng.randrange(0, 40)))])
    return found


@torch.no_grad()
@pytest.mark.parametrize("most", [1 << 30, 30_000])
def test_texts_read_in_parts_are_read_as_whole_ones(most):
    model = decoder()
    prefixes = Prefixes(model, most)
    for seed in range(6):
        rows = texts(seed)
        for begin in range(0, len(rows), 3):
            part = rows[begin : begin + 3]
            for row, found in zip(part, prefixes.logits(part, 0), strict=True):
                wanted = model(input_ids=torch.tensor([row])).logits[0]
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        assert prefixes.size <= most
    assert prefixes.reused > 0


@torch.no_grad()
def test_a_child_is_read_from_where_its_parent_ended():
    prefixes = Prefixes(decoder(), 1 << 30)
    parent = [i % 60 for i in range(5 * BLOCK)]
    prefixes.logits([parent], 0)
    assert (prefixes.computed, prefixes.reused) == (5 * BLOCK, 0)
    size = prefixes.size
    assert prefixes.unread([*parent, 7]) == 1
    prefixes.logits([[*parent, 7], [*parent, 8, 9]], 0)
    assert (prefixes.computed, prefixes.reused) == (5 * BLOCK + 3, 10 * BLOCK)
    assert prefixes.size == size, "nothing new fills a block"
    assert prefixes.unread(parent) == BLOCK, "the last token is always read, so that there is something to read"
    other = [*parent[:BLOCK], 59, *parent[BLOCK:]]
    assert prefixes.unread(other) == len(other) - BLOCK, "equal tokens behind another beginning are another text"


@torch.no_grad()
def test_only_the_columns_that_are_wanted_are_kept():
    model = decoder()
    (found,) = Prefixes(model, 1 << 30, (1,)).logits([[1, 2, 3]], 0)
    torch.testing.assert_close(found, model(input_ids=torch.tensor([[1, 2, 3]])).logits[0, :, [1]])


def test_models_that_look_ahead_or_forget_are_read_whole():
    assert can_be_read_in_parts(decoder())
    torch.manual_seed(0)
    bert = transformers.BertConfig(
        vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.4,
    )  # fmt: skip
    encoder = transformers.BertForTokenClassification(bert).eval()
    assert not can_be_read_in_parts(encoder)
    for module in encoder.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = True  # it says so, and looks ahead all the same
    assert not can_be_read_in_parts(encoder)
    mistral = transformers.MistralConfig(
        vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, sliding_window=8,
    )  # fmt: skip
    assert not can_be_read_in_parts(transformers.MistralForTokenClassification(mistral).eval())
    mamba = transformers.MambaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1)
    assert not can_be_read_in_parts(transformers.MambaForCausalLM(mamba).eval())
