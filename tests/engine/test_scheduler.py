"""Many problems in slots: results belong to a problem alone, and a problem's troubles stay its own."""

from __future__ import annotations

import itertools
import math
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from colasearch.engine.decoding.decoder import Decoder
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.forward.actor import Actor
from colasearch.engine.memory.panels import RowBatch
from colasearch.engine.scheduler import Scheduler, Searched, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.trees.table import NodeTable
from colasearch.engine.trees.world import LatentWorld
from colasearch.errors import InputError
from colasearch.problem import Problem, StopReason
from colasearch.storage.traces import Trace

# Steps are lines, whose tokens are drawn: so trees show it where random numbers are not the problem's own.
WORLD = WorldConfig(max_tokens=14, max_step_tokens=4, branch_below=0.0, references=3)
SETTINGS = SearchSettings(sims=12, leaves_in_flight=4, world=WORLD, options={"max_num_considered_actions": 4})
PROBLEMS = [Problem.from_text(f"What is {i} + {i * i}?" + " Think!" * (i % 4)) for i in range(9)]
NEEDLE = Problem.from_text("How many needles are in a haystack of 12 needles?")


def comparable(done: Searched) -> tuple[object, object]:
    """Everything but the time."""
    assert done.result is not None
    return replace(done.result, seconds=0.0), done.trace


def by_id(lm, problems, settings=SETTINGS, slots=16) -> dict[str, tuple[object, object]]:
    return {d.problem.id: comparable(d) for d in search_problems(lm, problems, settings, slots=slots)}


@pytest.mark.parametrize("searcher", ["gumbel", "puct", "majority", "best_of_n", "greedy", "beam"])
def test_results_do_not_depend_on_slots_rows_or_neighbours(wide_lm, searcher):
    settings = replace(SETTINGS, sims=4, searcher=searcher, options={})
    problems = PROBLEMS[:4]
    together = by_id(wide_lm, problems, settings)
    alone = by_id(wide_lm, problems[2:3], settings, slots=1)
    assert alone == {problem.id: together[problem.id] for problem in problems[2:3]}
    crowded = replace(settings, world=replace(WORLD, rows=3))
    assert by_id(wide_lm, problems[::-1], crowded, slots=4) == together
    other = by_id(wide_lm, problems[:1], replace(settings, seed=1))[problems[0].id][1]
    assert other.nodes != together[problems[0].id][1].nodes  # the rest tells the seed itself


@pytest.mark.parametrize("packed", [False, True])
def test_a_needle_problem_gives_the_same_tree_alone_and_in_a_batch_of_64(wide_lm, packed):
    """Ten places of the batch, from the first to the last: five in each arithmetic."""
    wide_lm.base.packed = packed
    try:
        settings = replace(SETTINGS, sims=2, world=replace(WORLD, max_tokens=6))
        batch = [Problem.from_text(f"{i}?" + "x" * (i % 50)) for i in range(64)]
        among = by_id(wide_lm, batch, settings, slots=64)
        assert len(among) == 64
        for place in [round(i * 63 / 9) for i in range(10)][packed::2]:
            assert by_id(wide_lm, [batch[place]], settings)[batch[place].id] == among[batch[place].id], place
    finally:
        wide_lm.base.packed = False


def test_the_needle_check_can_fail(wide_lm, monkeypatch):
    """A world whose random numbers depend on what else it decodes is found out."""
    drawn = 0

    def by_order(count: int, *key: object):
        nonlocal drawn
        drawn += 1
        return seeded_uniforms(count, drawn)

    monkeypatch.setattr("colasearch.engine.trees.forest.seeded_uniforms", by_order)
    alone = by_id(wide_lm, [NEEDLE])
    drawn = 0
    assert by_id(wide_lm, [*PROBLEMS, NEEDLE])[NEEDLE.id] != alone[NEEDLE.id]


def test_evicted_nodes_are_computed_again_and_nothing_changes(wide_lm, monkeypatch):
    plenty = by_id(wide_lm, PROBLEMS[:4])
    scheduler = Scheduler(wide_lm, replace(SETTINGS, world=replace(WORLD, kv_bytes=120_000)), slots=4)
    replayed = encoded = 0
    path, encode_again = NodeTable.path, NodeTable._encode_again

    def watched_path(table, state):
        nonlocal replayed
        kept, lost = path(table, state)
        replayed += sum(len(node.tokens) for node in lost)
        return kept, lost

    def watched_encoding(table, root):
        nonlocal encoded
        encoded += len(root.tokens)
        return encode_again(table, root)

    monkeypatch.setattr(NodeTable, "path", watched_path)
    monkeypatch.setattr(NodeTable, "_encode_again", watched_encoding)
    scarce = {d.problem.id: comparable(d) for d in scheduler.run(PROBLEMS[:4])}
    assert scheduler.world.store.evicted > 10
    assert min(replayed, encoded) > 10
    assert scheduler.world.actor.repeated_tokens == replayed + encoded
    assert scheduler.world.store.peak <= 120_000
    assert scarce == plenty


def test_nothing_is_left_when_all_problems_are_done(wide_lm):
    scheduler = Scheduler(wide_lm, SETTINGS, slots=2)
    assert len(list(scheduler.run(PROBLEMS[:5]))) == 5
    world = scheduler.world
    assert (world.nodes, world.trees, world.table.prompts, world._jobs) == ({}, {}, {}, {})
    assert (world.store.used, len(world.decoder), world.decoder.batch.memory.used) == (0, 0, 0)
    assert world.store.peak > 0


def test_equal_prompts_are_encoded_once_and_keep_their_own_searches(wide_lm):
    twins = [Problem("first", "2 + 2?"), Problem("second", "2 + 2?")]
    scheduler = Scheduler(wide_lm, SETTINGS)
    done = {d.problem.id: d for d in scheduler.run(twins)}
    assert scheduler.world.actor.prompt_tokens == len(done["first"].trace.prompt_tokens)
    assert comparable(done["first"])[1] == by_id(wide_lm, twins[:1])["first"][1]
    texts = {name: [n.tokens for n in d.trace.nodes] for name, d in done.items()}
    assert texts["first"] != texts["second"]  # random numbers belong to the problem's id


def test_a_tree_stores_each_token_once(wide_lm):
    scheduler = Scheduler(wide_lm, SETTINGS)
    peak = 0
    for done in scheduler.run(PROBLEMS[:1]):
        peak = scheduler.world.store.peak
        own = sum(len(n.tokens) for n in done.trace.nodes if n.end == "")
        shape = scheduler.world.actor.shape
        per_token = 2 * shape.layers * shape.heads * shape.head_dim * 4
        assert peak <= 1.1 * (len(done.trace.prompt_tokens) + own) * per_token
    assert peak


def test_a_problem_that_does_not_fit_is_reported_and_the_others_go_on(wide_lm):
    long = Problem.from_text("x" * 600)
    done = {d.problem.id: d for d in search_problems(wide_lm, [PROBLEMS[0], long, PROBLEMS[1]], SETTINGS)}
    assert isinstance(done[long.id].error, InputError)
    assert done[long.id].result is None
    assert done[PROBLEMS[1].id].result.stop == StopReason.BUDGET


def test_a_problem_whose_numbers_break_stops_as_nan_and_the_others_are_untouched(wide_lm, monkeypatch):
    clean = by_id(wide_lm, PROBLEMS[:5])
    broken = PROBLEMS[2]
    check = LatentWorld.open

    def open_with_poison(self, *given):
        trees = check(self, *given)
        for tree in trees:
            if self.trees[tree].problem == broken:
                root = self.nodes[self.trees[tree].root]
                self.store.put(root.key, torch.full_like(self.store.get(root.key), math.nan))
        return trees

    # References off: their rows are taken before the poison is in.
    settings = replace(SETTINGS, world=replace(WORLD, references=0))
    clean = by_id(wide_lm, PROBLEMS[:5], settings)
    monkeypatch.setattr(LatentWorld, "open", open_with_poison)
    done = by_id(wide_lm, PROBLEMS[:5], settings)
    assert done[broken.id][0].stop == StopReason.NAN
    for problem in PROBLEMS[:5]:
        if problem != broken:
            assert done[problem.id] == clean[problem.id]


@pytest.mark.parametrize("searcher", ["gumbel", "puct", "best_of_n"])
def test_the_model_calls_of_a_lone_problem_are_the_passes_of_the_base(wide_lm, monkeypatch, searcher):
    calls = 0

    def counted(whole):
        def call(*args):
            nonlocal calls
            calls += 1
            return whole(*args)

        return call

    for name in ("step", "prefill"):
        monkeypatch.setattr(Actor, name, counted(getattr(Actor, name)))
    (done,) = search_problems(wide_lm, PROBLEMS[:1], replace(SETTINGS, searcher=searcher, options={}))
    assert done.result.model_calls == calls > 4


def test_a_token_limit_stops_a_problem_after_the_round_that_passes_it(wide_lm):
    (free,) = search_problems(wide_lm, PROBLEMS[:1], SETTINGS)
    limit = free.result.generated_tokens // 2
    (done,) = search_problems(wide_lm, PROBLEMS[:1], replace(SETTINGS, max_tree_tokens=limit))
    assert done.result.stop == StopReason.MAX_TOKENS
    assert limit <= done.result.generated_tokens < free.result.generated_tokens


def test_a_time_limit_gives_what_was_found_by_then(wide_lm):
    settings = replace(SETTINGS, sims=10_000, max_seconds=0.2)
    done = list(search_problems(wide_lm, PROBLEMS[:2], settings))
    assert [d.result.stop for d in done] == [StopReason.MAX_SECONDS] * 2
    assert all(d.result.seconds < 5 for d in done)


def test_ctrl_c_yields_the_problems_in_progress_and_begins_no_more(wide_lm):
    calls = 0

    def interrupt(status) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt

    done = list(search_problems(wide_lm, PROBLEMS, SETTINGS, slots=3, on_status=interrupt))
    assert [d.result.stop for d in done] == [StopReason.INTERRUPTED] * 3


def interrupting(monkeypatch, owner, name: str, call: int, times: int = 1) -> None:
    """Ctrl-C arrives just after the ``call``-th call of a method, ``times`` in a row."""
    method, calls = getattr(owner, name), itertools.count(1)

    def interrupted(self, *args, **options):
        result = method(self, *args, **options)
        if next(calls) == call:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Decoder, "take_done", 3),  # rows are in no list but the caller's
        (RowBatch, "enter", 1),
        (RowBatch, "enter", 20),  # the batch has a row that still waits
        (RowBatch, "leave", 15),
        (Scheduler, "_take", 5),
        (Scheduler, "_end", 2),  # the problem has left its slot and was not yielded
        (LatentWorld, "open", 1),
        (LatentWorld, "submit", 4),
    ],
)
def test_ctrl_c_in_the_midst_of_a_change_waits_for_its_end(wide_lm, monkeypatch, owner, name, call):
    scheduler = Scheduler(wide_lm, SETTINGS, slots=3)
    interrupting(monkeypatch, owner, name, call)
    done = list(scheduler.run(PROBLEMS))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len({d.problem.id for d in done}) == len(done)
    stops = Counter(d.result.stop for d in done)
    interrupted = stops.pop(StopReason.INTERRUPTED)
    assert (stops.total(), interrupted) == ((2, 2) if name == "_end" else (0, 3))


@pytest.mark.usefixtures("handlers")
def test_a_second_ctrl_c_is_not_held(wide_lm, monkeypatch):
    scheduler = Scheduler(wide_lm, SETTINGS, slots=3)
    interrupting(monkeypatch, RowBatch, "enter", 20, times=2)
    with pytest.raises(KeyboardInterrupt):
        list(scheduler.run(PROBLEMS))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_problems_that_ended_before_an_error_are_not_lost(wide_lm, monkeypatch):
    end, ended = Scheduler._end, []

    def failing(self, tree):
        ended.append(tree)
        if len(ended) == 3:
            raise RuntimeError("of our own")
        return end(self, tree)

    monkeypatch.setattr(Scheduler, "_end", failing)
    done = []
    # With no time at all they end in one step.
    with pytest.raises(RuntimeError, match="of our own"):
        done.extend(search_problems(wide_lm, PROBLEMS, replace(SETTINGS, max_seconds=1e-9)))
    assert [one.result.stop for one in done] == [StopReason.MAX_SECONDS] * 2


@pytest.mark.usefixtures("handlers")
def test_a_handler_of_the_callers_own_is_left_alone(wide_lm, monkeypatch):
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    interrupting(monkeypatch, Scheduler, "_take", 5)
    assert by_id(wide_lm, PROBLEMS[:3]).keys() == {p.id for p in PROBLEMS[:3]}
    assert heard == [signal.SIGINT]


def test_searches_run_outside_the_main_thread(wide_lm):
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(by_id, wide_lm, PROBLEMS[:3]).result()
    assert found == by_id(wide_lm, PROBLEMS[:3])


def test_samplers_pay_for_their_texts_alone(wide_lm):
    (majority,) = search_problems(wide_lm, PROBLEMS[:1], replace(SETTINGS, searcher="majority", options={}))
    steps = sum(len(n.tokens) for n in majority.trace.nodes)
    assert majority.result.generated_tokens == steps  # no rollouts beside the paths, no reference rollouts
    (gumbel,) = search_problems(wide_lm, PROBLEMS[:1], SETTINGS)
    assert gumbel.result.generated_tokens > sum(len(n.tokens) for n in gumbel.trace.nodes)


def test_traces_are_read_back_as_written(wide_lm, tmp_path):
    (done,) = search_problems(wide_lm, PROBLEMS[:1], SETTINGS)
    done.trace.write(tmp_path / "t.json.gz")
    assert Trace.read(tmp_path / "t.json.gz") == done.trace
    nodes = done.trace.nodes
    assert nodes[0].parent == -1
    assert all(n.parent < i for i, n in enumerate(nodes))
    assert sum(n.visits for n in nodes if n.parent == 0) + 1 == nodes[0].visits
    for node in nodes:
        if node.priors:
            assert sum(node.priors) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sims": 0}, "sims is 0"), ({"max_seconds": 0.0}, "max_seconds"), ({"max_tree_tokens": 0}, "max_tree_tokens")],
)
def test_bad_settings_are_refused(wide_lm, change, message):
    with pytest.raises(InputError, match=message):
        list(search_problems(wide_lm, PROBLEMS, replace(SETTINGS, **change)))
    with pytest.raises(InputError, match="slots is 0"):
        list(search_problems(wide_lm, PROBLEMS, SETTINGS, slots=0))


def test_traces_name_every_code_of_a_child(wide_lm):
    """Codes that lead to the same token share a child."""
    scheduler = Scheduler(wide_lm, replace(SETTINGS, sims=6))
    world, seen = scheduler.world, {}
    fan_out = world.actor.fan_out

    def one_token_for_two_codes(features, *given, **named):
        tokens = fan_out(features, *given, **named).clone()
        tokens[:, 1] = tokens[:, 0]
        seen.update({tuple(row.tolist()): row for row in tokens})
        return tokens

    world.actor.fan_out = one_token_for_two_codes
    (done,) = scheduler.run(PROBLEMS[:1])
    children = [node for node in done.trace.nodes if node.parent >= 0]
    assert any(len(node.codes) > 1 for node in children)
    for node in children:
        tokens = next(row for row in seen.values() if all(row[c] == node.tokens[0] for c in node.codes))
        assert node.codes == tuple(int(c) for c in range(len(tokens)) if tokens[c] == tokens[node.action])


def test_ctrl_c_before_any_problem_has_begun_is_raised(wide_lm, monkeypatch):
    def interrupt(self, *given):
        raise KeyboardInterrupt

    monkeypatch.setattr(LatentWorld, "open", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(search_problems(wide_lm, PROBLEMS, SETTINGS))
