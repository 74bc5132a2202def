"""Keys and values of rows and nodes: exactness, memory, eviction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colasearch.engine.decoding.decoder import Decoder, decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.inference import inference_of
from colasearch.engine.memory.panels import COLUMNS, LONG_PROMPT, SLOTS, RowBatch
from colasearch.engine.memory.store import KVStore
from colasearch.engine.settings import Sampling
from colasearch.errors import PrerequisiteError, ResourceError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.packed import PackedLinear, PaddedLinear, can_pack, inference_copy

NEVER = Rules(lambda token: False, lambda tokens: False, max_step_tokens=1 << 20, rollout=True)


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(1, 250, length).tolist()


@pytest.fixture(params=["float32", "packed"])
def any_lm(lm, request):
    if request.param == "packed":
        if not can_pack():
            pytest.skip("this torch has no FBGEMM")
        lm.base.packed = True
    yield lm
    lm.base.packed = False


def test_cached_logits_equal_recomputed_ones(lm):
    """Prompt, two segments and a few fed tokens, across a panel's edge, against one pass over the whole text."""
    actor = Actor(lm, Sampling(), engine="tree")
    start = prompt(COLUMNS - 5)
    _, segments = actor.prefill([start])
    batch = actor.new_batch()
    place = batch.enter("row", segments)
    batch.enter("other", segments)
    tokens = list(start)
    for token in prompt(12, seed=1):
        batch.make_room()
        order = [p.item for p in batch.places()]
        features = actor.feed([token if item == "row" else 7 for item in order], batch)
        tokens.append(token)
        hidden = lm.base.hidden(torch.tensor([tokens]))
        here = order.index("row")
        wanted = lm.base.logits(hidden[0, -1])
        torch.testing.assert_close(lm.base.logits(features.hidden_BD[here]), wanted, atol=1e-4, rtol=0)
        scores = lm.latents.policy(hidden)[0, -1]
        torch.testing.assert_close(features.scores_BA[here], scores, atol=1e-4, rtol=1e-4)
    assert place.length == len(tokens)
    assert place.panel.columns == 2 * COLUMNS


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_rows_come_and_go_without_touching_each_other(wide_base, data):
    """Random entering, feeding and leaving; a row's hidden states are bit for bit those it has alone."""
    actor = Actor(LatentLM("plain", wide_base, None), Sampling(), latent=False)
    lengths = data.draw(st.lists(st.integers(1, 2 * COLUMNS + 3), min_size=2, max_size=SLOTS + 4), label="lengths")
    prompts = [prompt(n, seed=i) for i, n in enumerate(lengths)]
    segments = [actor.prefill([p])[1] for p in prompts]
    steps = data.draw(st.integers(1, 6), label="steps")
    alone = []
    for i in range(len(prompts)):
        single = actor.new_batch()
        single.enter(i, segments[i])
        states = []
        for step in range(steps):
            single.make_room()
            states.append(actor.feed([(5 * i + step) % 250], single).hidden_BD[0])
        alone.append(states)
    batch, waiting, fed = actor.new_batch(), list(range(len(prompts))), dict.fromkeys(range(len(prompts)), 0)
    while waiting or list(batch.places()):
        for _ in range(data.draw(st.integers(0, 3), label="enter") if waiting else 0):
            if waiting:
                i = waiting.pop()
                batch.enter(i, segments[i])
        batch.make_room()
        places = list(batch.places())
        if not places:
            i = waiting.pop()
            batch.enter(i, segments[i])
            places = list(batch.places())
            batch.make_room()
            places = list(batch.places())
        features = actor.feed([(5 * p.item + fed[p.item]) % 250 for p in places], batch)
        for row, place in enumerate(places):
            assert torch.equal(features.hidden_BD[row], alone[place.item][fed[place.item]])
            fed[place.item] += 1
        for place in places:
            if fed[place.item] == steps:
                batch.leave(place)
    assert batch.memory.used == 0


def needle_text(lm: LatentLM, others: int, place: int, *, keyed_by_place: bool = False) -> tuple[list[int], list[int]]:
    """A row's text among ``others`` rows; ``keyed_by_place`` plants the fault that the check must find."""
    actor = Actor(lm, Sampling(temperature=2.0))
    _, (needle, hay) = actor.prefill([prompt(70, seed=99), prompt(61, seed=5)])
    rows = [Row([hay], 1 + i, seeded_uniforms(8 + i % 20, i)) for i in range(others)]
    key = place if keyed_by_place else 0
    rows.insert(place, Row([needle], 30, seeded_uniforms(30, "needle", key)))
    decode(actor, rows, NEVER)
    return rows[place].tokens, rows[place].codes


def test_a_needle_decodes_alike_alone_and_among_63_others(any_lm):
    alone = needle_text(any_lm, 0, 0)
    assert len(set(alone[1])) > 1  # else nothing was drawn
    for place in (0, 17, 63):
        assert needle_text(any_lm, 63, place) == alone


def test_the_needle_check_finds_a_fault(any_lm):
    alone = needle_text(any_lm, 0, 0)
    assert any(needle_text(any_lm, 63, place, keyed_by_place=True) != alone for place in (17, 40))


def test_linear_layers_give_a_row_the_same_bits_in_any_batch():
    torch.manual_seed(0)
    plain = torch.nn.Linear(48, 80)
    x = torch.randn(240, 48)
    layers = [PaddedLinear(plain), *([PackedLinear(plain)] if can_pack() else [])]
    for layer in layers:
        whole = layer(x)
        for count in (*range(1, 40), *range(115, 126), 239):  # FBGEMM cuts batches into blocks of 120 rows
            assert torch.equal(layer(x[:count]), whole[:count]), (type(layer), count)
        torch.testing.assert_close(whole, plain(x), atol=2e-3, rtol=2e-3)


def test_a_layer_that_float16_cannot_hold_stays_in_float32():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight[0, 0] = 1e6
    copy = inference_copy(model, packed=can_pack())
    assert isinstance(copy[0], PaddedLinear)
    assert isinstance(copy[1], PackedLinear if can_pack() else PaddedLinear)
    assert isinstance(model[0], torch.nn.Linear)  # the original is as it was


def test_the_inference_copy_follows_the_weights(lm):
    first = inference_of(lm)
    assert inference_of(lm) is first
    with torch.no_grad():
        lm.latents.policy.head.weight.add_(1.0)
    assert inference_of(lm) is not first
    assert first.lm.base.model.base_model.embed_tokens.weight is lm.base.model.base_model.embed_tokens.weight


def test_a_row_of_nan_stops_alone(lm):
    """One row's keys are NaN; the others decode as without it, also one that takes its place afterwards."""
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill([*(prompt(20, seed=i) for i in range(3)), prompt(30, seed=3)])
    clean = [Row([segments[i]], 30 + i, seeded_uniforms(12, i)) for i in range(3)]
    decode(actor, clean, NEVER)
    poison = segments[3].clone()
    poison[0, :, :, 25] = float("nan")  # beyond the end of the row that gets the slot next
    rows = [Row([segments[i]], 30 + i, seeded_uniforms(12, i)) for i in range(3)]
    bad = Row([poison], 9, seeded_uniforms(12, "bad"))
    decoder = Decoder(actor, 3)  # the third clean row waits until the bad one has gone
    decoder.submit([bad, *rows], NEVER)
    while len(decoder):
        decoder.step()
    assert bad.broken
    assert [r.tokens for r in rows] == [r.tokens for r in clean]
    assert not any(r.broken for r in rows)


def test_without_clearing_a_poisoned_slot_its_next_row_breaks(lm, monkeypatch):
    """The inverse of the test above: it can fail."""
    monkeypatch.setattr(torch.Tensor, "zero_", lambda self: self)
    with pytest.raises(AssertionError):
        test_a_row_of_nan_stops_alone(lm)


def test_cancelled_rows_leave_batch_and_queue(lm):
    """Of one tree, whether they are being decoded or wait; another's are decoded as if they had not been there."""
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill([prompt(20)])
    rows = [Row(segments, 30 + i, seeded_uniforms(8, i), tree=tree) for i, tree in enumerate((1, 1, 2, 1))]
    decoder = Decoder(actor, 1)
    decoder.submit(rows, NEVER)
    decoder.step()
    assert set(map(id, decoder.cancel(1))) == {id(rows[i]) for i in (0, 1, 3)}
    assert len(decoder) == 1
    while len(decoder):
        decoder.step()
    assert [id(row) for row in decoder.take_done()] == [id(rows[2])]
    alone = Row(segments, 32, seeded_uniforms(8, 2), tree=2)
    decode(actor, [alone], NEVER)
    assert rows[2].tokens == alone.tokens


class Crowded(RowBatch):
    """Runs out of memory beyond a number of rows."""

    most = 5

    def begin(self):
        if len(list(self.places())) > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 B")
        return super().begin()


def test_running_out_of_memory_halves_the_batch_and_says_so(lm):
    def texts(batch_kind: type[RowBatch]) -> list[list[int]]:
        actor = Actor(lm, Sampling())
        _, segments = actor.prefill([prompt(20)])
        rows = [Row(segments, 30 + i, seeded_uniforms(10, i)) for i in range(12)]
        decoder = Decoder(actor, 12)
        decoder.batch = batch_kind(actor.shape, lm.base.dtype, lm.base.device)
        decoder.submit(rows, NEVER)
        while len(decoder):
            decoder.step()
        assert actor.generated_tokens == sum(len(r.tokens) for r in rows)
        return [r.tokens for r in rows]

    with pytest.warns(UserWarning, match=r"12 rows in a batch: going on with 6|going on with 3"):
        crowded = texts(Crowded)
    assert crowded == texts(RowBatch)


def test_memory_that_never_suffices_is_an_error_with_the_remedy(lm):
    actor = Actor(lm, Sampling())
    _, segments = actor.prefill([prompt(20)])
    decoder = Decoder(actor, 4)
    decoder.batch = Crowded(actor.shape, lm.base.dtype, lm.base.device)
    decoder.batch.most = 0
    decoder.submit([Row(segments, 30, seeded_uniforms(5, i)) for i in range(4)], NEVER)

    def run() -> None:
        while len(decoder):
            decoder.step()

    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(ResourceError, match="--batch-size"):
        run()


def test_the_store_keeps_its_budget_and_throws_out_the_oldest():
    store = KVStore(budget=3 * 400)
    for key in "abc":
        store.put(key, torch.zeros(100))
    assert store.get("a") is not None  # a is now younger than b
    store.put("d", torch.zeros(100))
    assert store.get("b") is None
    assert all(store.get(key) is not None for key in "acd")
    assert (store.used, store.peak, store.evicted) == (1200, 1200, 1)
    store.drop("a")
    assert store.used == 800


def test_a_whole_text_engine_decodes_what_the_tree_decodes(lm):
    texts = {}
    for engine in ("tree", "whole"):
        actor = Actor(lm, Sampling(), engine=engine)
        _, segments = actor.prefill([prompt(9), prompt(30, seed=1)])
        rows = [Row([s], 40, seeded_uniforms(10, i)) for i, s in enumerate(segments)]
        decode(actor, rows, Rules(lambda t: False, lambda t: False, max_step_tokens=4, rollout=True))
        after = [Row([s, r.segment], 50, seeded_uniforms(5, "x")) for s, r in zip(segments, rows, strict=True)]
        decode(actor, after, NEVER)
        texts[engine] = [r.tokens for r in (*rows, *after)]
    assert texts["tree"] == texts["whole"]


def other_base(tmp_path, kind: str) -> LatentLM:
    """A tiny random model of another architecture."""
    from tiny import make_tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    from colasearch.model.base import BaseModel
    from colasearch.model.config import BaseIdentity

    tokenizer = make_tokenizer()
    size = len(tokenizer)
    torch.manual_seed(0)
    model = {
        "qwen2": lambda: Qwen2ForCausalLM(
            Qwen2Config(vocab_size=size, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                        num_attention_heads=4, num_key_value_heads=2)
        ),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=128)),
        "mamba": lambda: MambaForCausalLM(
            MambaConfig(vocab_size=size, hidden_size=16, state_size=4, num_hidden_layers=2)
        ),
    }[kind]()  # fmt: skip
    model = model.requires_grad_(False).eval()
    return LatentLM(kind, BaseModel(model, tokenizer, BaseIdentity(kind)), None)


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_other_attention_models_are_served_by_the_tree(tmp_path, kind):
    lm = other_base(tmp_path, kind)
    actor = Actor(lm, Sampling(), latent=False, engine="tree")
    _, segments = actor.prefill([prompt(9), prompt(4, seed=1)])
    batch = actor.new_batch()
    for i, segment in enumerate(segments):
        batch.enter(i, [segment])
    features = actor.feed([3, 4], batch)
    for i, (start, token) in enumerate(((prompt(9), 3), (prompt(4, seed=1), 4))):
        wanted = lm.base.hidden(torch.tensor([[*start, token]]))[0, -1]
        torch.testing.assert_close(features.hidden_BD[i], wanted, atol=1e-4, rtol=1e-4)


def test_a_model_without_attention_is_refused_by_the_tree_and_served_whole(tmp_path):
    lm = other_base(tmp_path, "mamba")
    with pytest.raises(PrerequisiteError, match="Mamba"):
        Actor(lm, Sampling(), latent=False, engine="tree")
    with pytest.warns(UserWarning, match="slow"):
        actor = Actor(lm, Sampling(), latent=False)
    _, segments = actor.prefill([prompt(5)])
    row = Row(segments, 3, seeded_uniforms(4, 0))
    decode(actor, [row], NEVER)
    assert len(row.tokens) == 5


def test_a_shortlist_gives_the_tokens_of_the_whole_vocabulary_when_it_is_long_enough(wide_lm):
    features, _ = Actor(wide_lm, Sampling()).prefill([prompt(n, seed=n) for n in (5, 30, 61)])
    blank = np.zeros((3, wide_lm.num_codes))
    every, some, few = (
        Actor(wide_lm, Sampling(shortlist=size)).fan_out(features, blank) for size in (0, 120, 2)
    )  # fmt: skip
    assert torch.equal(every, some)
    assert not torch.equal(every, few)  # a shortlist too short is seen


def test_rows_below_a_long_prompt_share_it_and_decode_as_from_scratch(wide_lm):
    """Long and short prompts mixed, against one pass over the whole text."""
    actor = Actor(wide_lm, Sampling(), engine="tree")
    starts = [prompt(LONG_PROMPT + 3), prompt(20, seed=1), prompt(LONG_PROMPT, seed=2)]
    _, segments = actor.prefill(starts)
    batch = actor.new_batch()
    texts = {i: list(starts[i % 3]) for i in range(7)}
    for i in texts:
        batch.enter(i, [segments[i % 3]])
    assert batch.memory.used < 16 * 2 * COLUMNS * 4 * actor.shape.layers * 2 * 32 * 7  # long prompts are not copied
    for step in range(3):
        batch.make_room()
        order = [p.item for p in batch.places()]
        features = actor.feed([7 * i + step for i in order], batch)
        for row, i in enumerate(order):
            texts[i].append(7 * i + step)
            wanted = wide_lm.base.hidden(torch.tensor([texts[i]]))
            torch.testing.assert_close(features.hidden_BD[row], wanted[0, -1], atol=1e-4, rtol=1e-4)
            scores = wide_lm.latents.policy(wanted)[0, -1]
            torch.testing.assert_close(features.scores_BA[row], scores, atol=1e-4, rtol=1e-4)


def test_a_long_prompts_row_has_the_same_bits_in_any_company(wide_lm):
    actor = Actor(wide_lm, Sampling())
    _, (long, other, short) = actor.prefill([prompt(LONG_PROMPT + 9), prompt(LONG_PROMPT, seed=4), prompt(50, seed=5)])

    def states(company: list[torch.Tensor]) -> list[torch.Tensor]:
        batch = actor.new_batch()
        for i, segment in enumerate(company):
            batch.enter(i, [segment])
        batch.enter("needle", [long])
        found = []
        for step in range(4):
            batch.make_room()
            order = [p.item for p in batch.places()]
            features = actor.feed([step + (40 if i == "needle" else i) for i in order], batch)
            found.append(features.hidden_BD[order.index("needle")])
        return found

    alone = states([])
    for company in ([long] * 3, [short] * 20, [long] * 40, [other] * 9 + [short] * 5 + [long] * 23):
        assert all(torch.equal(a, b) for a, b in zip(alone, states(company), strict=True))
