"""Pools on a real Ray of this machine: whatever happens to workers, each result comes once, and as without them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")

from toys import Squares, SquaresInBatches  # noqa: E402

from colasearch.benchmarks.harness.arms import ArmSettings  # noqa: E402
from colasearch.benchmarks.harness.drawing import Job, sample  # noqa: E402
from colasearch.cluster import Pool, crew  # noqa: E402
from colasearch.cluster import pool as pool_module  # noqa: E402
from colasearch.cluster.connect import Layout, connect  # noqa: E402
from colasearch.cluster.recipes import SearchRecipe  # noqa: E402
from colasearch.engine.scheduler import search_problems  # noqa: E402
from colasearch.engine.settings import SearchSettings, WorldConfig  # noqa: E402
from colasearch.errors import InputError, LostError, PrerequisiteError  # noqa: E402
from colasearch.model.latent_lm import LatentLM  # noqa: E402
from colasearch.problem import Problem  # noqa: E402

SETTINGS = SearchSettings(sims=8, world=WorldConfig(max_tokens=10, branch_below=0.0))
PROBLEMS = [Problem.from_text(f"What is {i} plus {i * i}?") for i in range(20)]


pytestmark = pytest.mark.usefixtures("local_ray")
"""Pools leave it alone, as they do with any that they have not started."""


def lay(workers: int) -> Layout:
    return Layout(workers, 1, 0.5, 0.0, "cpu")


@contextmanager
def toy_pool(workers: int = 2, **changes):
    events: list[str] = []
    with Pool(None, layout=lay(workers), slots=4, on_event=events.append, **changes) as pool:
        pool.events = events
        yield pool


@pytest.fixture(scope="module")
def toys():
    """A pool that more than one test may use: none leaves anything in it but other workers."""
    with toy_pool() as pool:
        yield pool


@pytest.fixture(scope="module")
def pair(pooled_lm):
    """Two workers with the model."""
    with Pool(pooled_lm, layout=lay(2), slots=3) as pool:
        yield pool


@pytest.fixture(scope="module")
def expected(pooled_lm):
    return traces(search_problems(pooled_lm, PROBLEMS, SETTINGS, slots=4))


def traces(searched):
    """The traces by problem; a problem that came twice or with an error is a failure."""
    found = {}
    for one in searched:
        assert one.error is None
        assert one.problem.id not in found, "came out twice"
        found[one.problem.id] = one.trace
    return found


def squares(run):
    """Values and errors by item, each of which must come out once."""
    out = list(run)
    assert set(Counter(item for item, _, _ in out).values()) <= {1}, "came out twice"
    assert all((value is None) != (error is None) for _, value, error in out)
    return {item: value for item, value, error in out if error is None}, {
        item: error for item, _, error in out if error
    }


def pids(pool: Pool) -> set[int]:
    return {member.pid for member in pool.crew.members()}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def settle(pool: Pool, without: int = 0) -> None:
    """Wait until all workers are there, and the process ``without`` is none of them."""
    deadline = time.monotonic() + 300  # a busy machine takes a minute to start them
    while pool.crew.size < pool.layout.workers or without in pids(pool):
        assert time.monotonic() < deadline, "not all workers have started"
        for member, ref in pool.crew.wait(1.0):
            pool._hear(member, ref)


def test_a_ray_that_is_there_is_not_ours_to_end(toys):
    assert connect(None, 1) is False


def test_two_workers_search_and_sample_as_one_process_does(pooled_lm, pair, expected):
    settle(pair)
    before = pids(pair)
    assert traces(pair.search(PROBLEMS, SETTINGS)) == expected
    status = pair.status()
    assert (status.workers, status.replaced, status.done, status.pending) == (2, 0, len(PROBLEMS), 0)
    settings = ArmSettings(world=SETTINGS.world)
    jobs = [Job(problem, texts=2) for problem in PROBLEMS[:8]]
    alone = {
        one["majority"].problem.id: one["majority"].texts for one in sample(pooled_lm, jobs, ["majority"], settings)
    }
    pooled = [one["majority"] for one in pair.sample(jobs, ["majority"], settings)]
    assert len(pooled) == len(jobs)
    assert {one.problem.id: one.texts for one in pooled} == alone
    assert pids(pair) == before


def test_new_latent_modules_reach_all_workers_without_a_restart(pooled_lm, pair, new_modules, expected):
    """Also one that takes the place of a worker killed in the midst of a search, which loses and doubles nothing."""
    settle(pair)
    before, replaced = pids(pair), pair.status().replaced
    modules = new_modules(2)
    theirs = traces(search_problems(LatentLM("wide", pooled_lm.base, modules), PROBLEMS, SETTINGS, slots=4))
    assert theirs != expected
    try:
        pair.submit(SearchRecipe(SETTINGS), PROBLEMS[0], "tag")
        with pytest.raises(InputError, match="1 problems are in progress"):
            pair.broadcast(modules)
        pair.forget()
        pair._confirmed = 4
        pair.broadcast(modules)
        assert pair._confirmed == 0, "that the old modules gave NaN says nothing of the new ones"
        out = []
        for one in pair.search(PROBLEMS, SETTINGS):
            assert pids(pair) == before or len(out) >= 3, "restarted"
            out.append(one)
            if len(out) == 3:
                victim = max(pair.crew.members(), key=lambda member: pair.ledger.flying(member.number))
                assert pair.ledger.flying(victim.number) > 0, "it must have something to lose"
                os.kill(victim.pid, signal.SIGKILL)
        assert traces(out) == theirs
        assert pair.status().replaced == replaced + 1
        settle(pair, without=victim.pid)
        assert len(pids(pair) & before) == 1
        assert traces(pair.search(PROBLEMS, SETTINGS)) == theirs
    finally:
        pair.broadcast(pooled_lm.latents)
    assert traces(pair.search(PROBLEMS[:4], SETTINGS)) == {p.id: expected[p.id] for p in PROBLEMS[:4]}


@pytest.mark.parametrize("recipe", [Squares(), SquaresInBatches()])
def test_items_are_taken_as_they_are_needed(toys, recipe):
    taken = []

    def items():
        for item in range(1, 201):
            taken.append(item)
            yield item

    for count, (item, value, error) in enumerate(toys.run(recipe, items()), 1):
        assert (value, error) == (item**2, None)
        assert len(taken) - count <= 2 * 2 * (4 + 1), "more than the pool needs are held"
    assert count == 200
    assert toys.pending == 0


def test_an_item_that_kills_its_workers_is_given_up_and_all_others_finish():
    with toy_pool(retries=2) as pool:
        values, errors = squares(pool.run(Squares(kills=(7,)), range(20)))
        events = pool.events
        status = pool.status()
    assert values == {n: n * n for n in range(20) if n != 7}
    assert list(errors) == [7]
    assert isinstance(errors[7], LostError)
    assert "3 workers were lost" in str(errors[7])
    assert "2 retries" in str(errors[7])
    assert len(events) == status.replaced == 3
    assert status.done == 19


def test_an_engine_that_raises_once_is_replaced_and_nothing_is_missing(toys, tmp_path):
    settle(toys)
    before, known = pids(toys), len(toys.events)
    values, errors = squares(toys.run(Squares(breaks=(5,), once=str(tmp_path / "once")), range(20)))
    assert (values, errors) == ({n: n * n for n in range(20)}, {})
    settle(toys)
    assert len(pids(toys) & before) == 1
    (event,) = toys.events[known:]
    assert "ValueError: bad item 5" in event


def test_a_worker_that_hangs_is_replaced_and_nothing_is_missing(tmp_path):
    with toy_pool(silent_seconds=3.0) as pool:
        recipe = Squares(hangs=(5,), once=str(tmp_path / "hung"))
        values, errors = squares(pool.run(recipe, range(20)))
        assert values == {i: i * i for i in range(20)}
        assert not errors
        assert len(pool.events) == 1
        assert "has not moved" in pool.events[0]


def test_an_item_at_which_every_worker_hangs_is_given_up():
    with toy_pool(silent_seconds=1.5, retries=2) as pool:
        values, errors = squares(pool.run(Squares(hangs=(5,)), range(8)))
        assert values == {i: i * i for i in range(8) if i != 5}
        assert list(errors) == [5]
        assert "has not moved" in str(errors[5])


def test_a_long_step_that_gets_on_is_no_hanging(tmp_path):
    with toy_pool(workers=1, silent_seconds=2.5) as pool:
        values, _ = squares(pool.run(SquaresInBatches(pause=4.0, beats=16), range(1, 4)))
        assert values == {i: i * i for i in range(1, 4)}
        assert not pool.events


def test_a_stopped_process_is_replaced_and_ended_though_it_does_not_hear_of_it(monkeypatch):
    monkeypatch.setattr(pool_module, "DEAF_S", 3.0)
    with toy_pool() as pool:
        settle(pool)
        stopped = min(pids(pool))
        os.kill(stopped, signal.SIGSTOP)
        values, errors = squares(pool.run(Squares(pause=0.05), range(1, 30)))
        assert values == {i: i * i for i in range(1, 30)}
        assert not errors
        (event,) = pool.events
        assert "has not answered" in event
        deadline = time.monotonic() + 30
        while alive(stopped) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(stopped)


def test_why_a_worker_broke_is_told_each_time(toys):
    """The broken worker must not be gone before its report has arrived."""
    known = len(toys.events)
    values, errors = squares(toys.run(Squares(breaks=(5,)), range(10)))
    assert values == {n: n * n for n in range(10) if n != 5}
    assert "ValueError: bad item 5" in str(errors[5])
    assert len(toys.events) == known + 4
    assert all("ValueError: bad item 5" in event for event in toys.events[known:])


def test_a_worker_that_gives_nothing_but_nan_is_replaced_and_not_believed(toys, tmp_path):
    known = len(toys.events)
    values, errors = squares(toys.run(Squares(sick=True, once=str(tmp_path / "once"), pause=0.01), range(1, 21)))
    assert (values, errors) == ({n: n * n for n in range(1, 21)}, {})
    (event,) = toys.events[known:]
    assert "NaN" in event


def test_nan_that_two_workers_give_is_the_result(toys):
    values, errors = squares(toys.run(Squares(nans=(3, 9)), range(1, 21)))
    assert errors == {}
    assert sorted(values) == list(range(1, 21))
    assert {n for n, value in values.items() if value != value} == {3, 9}


def test_a_model_that_gives_only_nan_comes_to_an_end():
    with toy_pool() as pool:
        values, errors = squares(pool.run(Squares(sick=True), range(1, 31)))
        assert errors == {}
        assert sorted(values) == list(range(1, 31))
        assert all(value != value for value in values.values())
        assert 1 <= pool.status().replaced <= 6, "workers are doubted again and again"


def test_a_loop_left_early_leaves_nothing_behind(toys):
    for _ in toys.run(Squares(pause=0.02), range(1, 50)):
        break
    assert toys.pending == 0
    assert squares(toys.run(Squares(), range(100, 110))) == ({n: n * n for n in range(100, 110)}, {})


def test_a_refused_recipe_ends_the_work_and_the_pool_goes_on(toys):
    with pytest.raises(InputError, match="squares are refused"):
        list(toys.run(Squares(refused=True), range(5)))
    assert toys.pending == 0
    assert squares(toys.run(Squares(), range(5))) == ({n: n * n for n in range(5)}, {})


def test_units_of_two_recipes_share_the_workers_and_urgent_ones_begin_first(toys):
    first, second = Squares(), SquaresInBatches(pause=0.001)
    for n in range(12):
        toys.submit(first, n, ("first", n), (1,))
        toys.submit(second, n, ("second", n), (0,))
    out = []
    while toys.pending:
        out += toys.advance()
    assert Counter(tag for tag, _, _ in out) == Counter((name, n) for name in ("first", "second") for n in range(12))
    assert all(value == tag[1] ** 2 for tag, value, _ in out)
    order = [tag[0] for tag, _, _ in out]
    assert order.index("first") > 0
    assert order[-1] == "first"


def test_a_driver_that_is_busy_elsewhere_does_not_mistake_that_for_workers_that_never_start():
    with toy_pool(start_seconds=0.5) as pool:
        starting = [member.calls[0] for member in pool.crew._members.values()]
        assert ray.wait(starting, num_returns=1, timeout=120)[0]
        time.sleep(0.6)  # nobody has listened to the workers yet
        assert squares(pool.run(Squares(), range(5)))[0] == {n: n * n for n in range(5)}


def test_workers_that_fit_nowhere_are_given_up_with_what_to_do():
    layout = Layout(1, 1, 64.0, 0.0, "cpu")
    with Pool(None, layout=layout, start_seconds=0.5) as pool, pytest.raises(PrerequisiteError) as caught:
        list(pool.run(Squares(), range(3)))
    assert "each needs 64 CPUs" in str(caught.value)
    assert "fewer --workers" in str(caught.value)


def test_losses_without_end_end_the_work(monkeypatch):
    """Every item kills, and may be tried for ever; then it is the pool that gives up."""
    monkeypatch.setattr(crew, "LOSSES_IN_A_ROW", -1)
    with (
        toy_pool(workers=1, retries=100) as pool,
        pytest.raises(PrerequisiteError, match="4 workers in a row were lost"),
    ):
        list(pool.run(Squares(kills=tuple(range(10))), range(1, 10)))
