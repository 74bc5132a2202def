"""Keys and values in pages: the trees of the panels, nothing copied, nothing wasted, nothing left."""

from __future__ import annotations

import random
from dataclasses import replace

import fake_kernel
import numpy as np
import pytest
import torch

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.memory import paged as paged_module
from colasearch.engine.memory.interfaces import Scoring
from colasearch.engine.memory.paged import PagedNodes, PagedRows
from colasearch.engine.memory.pages import FIRST_PAGES, PagePool, Run, table_of
from colasearch.engine.memory.panels import LONG_PROMPT
from colasearch.engine.memory.shape import KVShape
from colasearch.engine.memory.tables import PlainTables, VarlenTables, kernel_page, varlen_serves
from colasearch.engine.scheduler import Scheduler, search_problems
from colasearch.engine.settings import Sampling, SearchSettings, WorldConfig
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem

NEVER = Rules(lambda token: False, lambda tokens: False, max_step_tokens=1 << 20, rollout=True)
SHAPE = KVShape(base_layers=1, policy_layers=0, heads=1, head_dim=4)
WORLD = WorldConfig(max_tokens=14, max_step_tokens=4, branch_below=0.0, references=3)
SETTINGS = SearchSettings(sims=6, leaves_in_flight=4, world=WORLD)
PROBLEMS = [Problem.from_text(f"What is {i} + {i * i}?" + " Think!" * (60 * (i == 2))) for i in range(3)]


def pool_of(page: int = 1, limit: int | None = None) -> PagePool:
    return PagePool(SHAPE, torch.float32, torch.device("cpu"), page, limit)


@pytest.fixture(params=[1, 16])
def page(request, monkeypatch) -> int:
    """Pages of one token, as on a CPU, and longer ones, as a kernel wants them."""
    whole = paged_module.PagePool

    def of_this_size(shape, dtype, device, page, limit):
        return whole(shape, dtype, device, request.param, limit)

    monkeypatch.setattr(paged_module, "PagePool", of_this_size)
    return request.param


@pytest.mark.parametrize(("page", "searcher"), [(1, "gumbel"), (1, "best_of_n"), (16, "puct")], indirect=["page"])
def test_pages_give_the_trees_of_panels(wide_lm, page, searcher):
    """Bit for bit, with a long prompt among short ones, with room for few nodes, and with nothing left in the end."""
    assert len(PROBLEMS[2].text) > LONG_PROMPT
    found = {}
    for engine, kv_bytes in (("tree", None), ("paged", None), ("paged", 120_000)):
        world = replace(WORLD, engine=engine, kv_bytes=kv_bytes)
        scheduler = Scheduler(wide_lm, replace(SETTINGS, searcher=searcher, world=world), slots=3)
        done = {d.problem.id: d for d in scheduler.run(PROBLEMS)}
        found[engine, kv_bytes] = {k: (replace(d.result, seconds=0.0), d.trace) for k, d in done.items()}
        if engine == "paged":
            world = scheduler.world
            assert isinstance(world.decoder.batch, PagedRows)
            assert (world.store.used, world.decoder.batch.memory.used) == (0, 0)
            assert world.decoder.batch.memory.peak > 0
        if kv_bytes and searcher in ("gumbel", "puct"):
            assert world.store.evicted > 0
    assert found["paged", None] == found["tree", None]
    assert found["paged", 120_000] == found["tree", None]


def test_rows_write_in_a_common_page_or_a_copy_and_disturb_nobody(wide_base, page):
    texts = {}
    for engine in ("tree", "paged"):
        actor = Actor(LatentLM("plain", wide_base, None), Sampling(), latent=False, engine=engine)
        prompt = np.random.default_rng(0).integers(1, 250, 21).tolist()
        segments = actor.prefill([prompt])[1]
        rows = [Row(segments, 30 + i, seeded_uniforms(7 + i, i)) for i in range(5)]
        decode(actor, rows, Rules(lambda t: False, lambda t: False, max_step_tokens=3, rollout=False))
        below = [
            Row([*segments, row.segment], 60 + i, seeded_uniforms(20, i, j))
            for i, row in enumerate(rows)
            for j in (0, 1)
        ]
        decode(actor, below, NEVER)
        texts[engine] = [row.tokens for row in (*rows, *below)]
    assert texts["paged"] == texts["tree"]


def test_a_pool_holds_no_more_than_the_tokens_of_its_texts():
    """Prompts of 1 to 900 tokens, nodes of 1 to 30, rows below them; each token counted once."""
    random_ = random.Random(0)
    pool = pool_of()
    batch = PagedRows(pool, PlainTables())
    paths: list[list[Run]] = []
    for length in (1, 3, 40, 317, 900):
        table: list[int] = []
        for position in range(length):
            pool.room(table, position)
        paths.append([Run(pool, table, 0, length)])
        pool.release(table)
    tokens = sum(path[0].end for path in paths)
    places = []
    for _ in range(80):
        path = random_.choice(paths)
        place = batch.enter("row", path)
        places.append(place)
        begin = place.length
        for _ in range(random_.randint(1, 30)):
            batch.make_room()
            tokens += len(places)
            batch.commit()
        paths.append([*path, batch.columns(place, begin, place.length)])
        if len(places) > 6:
            gone = places.pop(random_.randrange(len(places)))
            held = {number for path in paths for run in path for number in run.pages}
            tokens -= len(set(gone.table) - held - {n for p in places for n in p.table})
            batch.leave(gone)
        assert pool.used <= 1.15 * tokens * pool.token_bytes
        assert pool.used == tokens * pool.token_bytes
    assert pool.data.nbytes <= 2 * (pool.peak + FIRST_PAGES * pool.token_bytes)
    for place in places:
        batch.leave(place)
    paths.clear()
    del path
    assert pool.used == 0


def test_a_pool_that_is_full_asks_for_pages_that_nobody_needs():
    pool = pool_of(limit=10)
    store = PagedNodes(pool, None)
    batch = PagedRows(pool, PlainTables())
    runs = {}
    for key in "ab":
        table: list[int] = []
        for position in range(4):
            pool.room(table, position)
        runs[key] = Run(pool, table, 0, 4)
        pool.release(table)
        store.put(key, runs[key])
    place = batch.enter("row", [runs.pop("a")])
    del runs
    for _ in range(4):  # two pages are free; then b goes, which no row needs, though a was put first
        batch.make_room()
        batch.commit()
    assert (store.get("b"), store.evicted) == (None, 1)
    assert store.get("a") is not None
    for _ in range(2):
        batch.make_room()
        batch.commit()
    with pytest.raises(MemoryError, match="all 10 pages"):
        batch.make_room()
    batch.leave(place)
    store.drop("a")
    assert pool.used == 0


@pytest.mark.parametrize("size", [1, 4])
def test_prompts_share_the_pages_of_a_common_beginning(wide_base, size, monkeypatch):
    """As far as the numbers are equal to the last bit; and each prompt's rows decode as without the others."""
    monkeypatch.setattr(paged_module, "PagePool", lambda *a, whole=PagePool: whole(*a[:3], size, a[4]))
    actor = Actor(LatentLM("plain", wide_base, None), Sampling(), latent=False, engine="paged")
    shots = np.random.default_rng(1).integers(1, 250, 70).tolist()
    prompts = [[*shots, *np.random.default_rng(i).integers(1, 250, 9 + i).tolist()] for i in (2, 3, 4)]
    alone = []
    for prompt in prompts:
        row = Row(actor.prefill([prompt])[1], 30, seeded_uniforms(12, "x"))
        decode(actor, [row], NEVER)
        alone.append(row.tokens)
        row.path = []
    pool = actor.new_batch().memory
    assert pool.used == 0
    segments = [run for prompt in prompts for run in actor.prefill([prompt])[1]]
    rows = [Row([run], 30, seeded_uniforms(12, "x")) for run in segments]
    apart = sum(-(-len(prompt) // size) for prompt in prompts)
    assert pool.pages_used == apart - 2 * (len(shots) // size)
    decode(actor, rows, NEVER)
    assert [row.tokens for row in rows] == alone
    with torch.inference_mode():
        pool.data[0, 0, segments[0].pages[8]] += 1.0  # what is not the same is not shared
    again = actor.prefill([prompts[0]])[1][0]
    assert again.pages[:8] == segments[0].pages[:8]
    assert not set(again.pages[8:]) & {page for run in segments for page in run.pages}


def test_a_copied_page_takes_its_parents_place():
    pool = pool_of(page=4)
    table: list[int] = []
    for position in range(6):
        pool.room(table, position)
    root = Run(pool, table, 0, 6)
    pool.release(table)
    pool.settle()
    pool.data[:, :, root.pages[1], 0] = 5.0
    batch = PagedRows(pool, PlainTables())
    one, two = batch.enter(1, [root]), batch.enter(2, [root])
    batch.make_room()
    batch.commit()
    assert one.table == list(root.pages)  # the first goes on where there is room,
    assert two.table[0] == root.pages[0]  # the second in a copy
    assert two.table[1] != root.pages[1]
    assert (pool.data[:, :, two.table[1], 0] == 5.0).all()
    child = batch.columns(two, 6, 7)
    assert table_of([root, child]) == two.table
    batch.leave(one)
    again = batch.enter(3, [root])  # what the first wrote is still in the page: its node may be alive
    batch.make_room()
    assert again.table[1] not in (root.pages[1], two.table[1])


def test_the_kernel_is_used_where_it_runs_alone():
    assert not varlen_serves(torch.device("cpu"), torch.bfloat16)
    assert not varlen_serves(torch.device("cuda"), torch.float32)


def test_the_kernels_arguments_say_what_the_plain_products_compute(monkeypatch):
    fake_kernel.put_in(monkeypatch)
    shape = KVShape(base_layers=2, policy_layers=0, heads=2, head_dim=8)
    torch.manual_seed(0)
    results = []
    for attention in (PlainTables(), VarlenTables()):
        pool = PagePool(shape, torch.float32, torch.device("cpu"), 4)
        batch = PagedRows(pool, attention)
        random_ = torch.Generator().manual_seed(1)
        out = []
        for i in range(5):
            batch.enter(i, [])
            for _ in range(3 * i + 1):
                batch.make_room()
                batch.begin()
                rows = len(list(batch.places()))
                query, *both = (torch.randn(1, heads, rows, 8, generator=random_) for heads in (6, 2, 2))
                out += [
                    batch(0, query, *both),
                    batch(1, query, *both, Scoring(0.4, window=5)),
                ]
                batch.commit()
        results.append(out)
    for plain, kernel_out in zip(*results, strict=True):
        torch.testing.assert_close(plain, kernel_out, atol=1e-5, rtol=1e-5)


def test_an_engine_is_chosen_by_name(wide_lm):
    done = list(search_problems(wide_lm, PROBLEMS[:1], replace(SETTINGS, world=replace(WORLD, engine="paged"))))
    assert done[0].result.candidates is not None


@torch.inference_mode()
def test_a_kernels_prompts_are_computed_once_and_in_pieces(wide_base, monkeypatch):
    """What several have in common, of one call or of an earlier one; a long one in as many passes as it needs."""
    lm = LatentLM("plain", wide_base, None)
    shots, other = (np.random.default_rng(i).integers(1, 250, 30).tolist() for i in (1, 2))
    prompts = [[*shots, 7, 8], [*shots, *range(50, 60)], [*shots[:14], 9], other, [*shots, *range(50, 60), 1, 2, 3]]
    plain = Actor(lm, Sampling(), latent=False, engine="tree").prefill(prompts)[0].hidden_BD
    fake_kernel.put_in(monkeypatch, page=4)
    monkeypatch.setattr("colasearch.engine.memory.prefill.AT_ONCE", 16)
    actor = Actor(lm, Sampling(), latent=False, engine="paged")
    features, segments = actor.prefill(prompts)
    torch.testing.assert_close(features.hidden_BD, plain, atol=1e-4, rtol=1e-4)
    # Shared are whole pages of four tokens: 28, 12, none and 40 of them.
    assert actor.prompt_tokens == 32 + (40 - 28) + (15 - 12) + 30 + (43 - 40)
    assert actor.model_calls >= actor.prompt_tokens / 16
    pool = actor.new_batch().memory
    assert pool.pages_used == 8 + 3 + 1 + 8 + 1
    again, more = actor.prefill(prompts[1:2])
    assert actor.prompt_tokens == 80 + 40 - 36
    torch.testing.assert_close(again.hidden_BD, plain[1:2], atol=1e-4, rtol=1e-4)
    del segments, more
    assert pool.used == 0


def test_the_shortest_pages_that_the_kernel_takes_are_used(monkeypatch):
    given = (torch.device("cpu"), torch.float32, 2, 8)
    fake_kernel.put_in(monkeypatch)
    kernel_page.cache_clear()
    assert kernel_page(*given) == 16
    whole = fake_kernel.varlen_attn_out

    def no_short_ones(out, query, key, *args, **kwargs):
        if key.shape[1] < 64:
            raise RuntimeError("Paged KV cache block size must be divisible by 64")
        return whole(out, query, key, *args, **kwargs)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn_out", no_short_ones)
    kernel_page.cache_clear()
    assert kernel_page(*given) == 64
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn_out", lambda out, *args, **kwargs: out.zero_())
    kernel_page.cache_clear()
    assert kernel_page(*given) is None
    kernel_page.cache_clear()
