"""Tests that want the machine for themselves have it, and are not kept waiting by those that do not."""

from __future__ import annotations

import fcntl
import random
import threading
import time
from types import SimpleNamespace

import pytest
import turns


@pytest.fixture(autouse=True)
def other_locks(tmp_path, monkeypatch):
    """Those of this very run are held."""
    for name in ("QUEUE", "MACHINE"):
        (tmp_path / name).touch()
        monkeypatch.setattr(turns, name, tmp_path / name)


def test_one_that_runs_alone_has_nobody_beside_it():
    inside: list[bool] = []
    most_together, wrong = 0, []
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal most_together
        draw = random.Random(number)
        for _ in range(20):
            alone = draw.random() < 0.3
            with turns.turn(alone):
                with lock:
                    inside.append(alone)
                    most_together = max(most_together, len(inside))
                    if any(inside) and len(inside) > 1:
                        wrong.append(list(inside))
                time.sleep(0.001)
                with lock:
                    inside.remove(alone)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert most_together > 1


def queued() -> bool:
    """Whether somebody waits for the machine."""
    with turns.QUEUE.open() as queue:
        try:
            fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_who_asks_later_waits_behind_one_that_wants_to_be_alone():
    order: list[str] = []

    def take(name: str, alone: bool) -> None:
        with turns.turn(alone):
            order.append(name)

    with turns.turn(False):
        waiting = [
            threading.Thread(target=take, args=("alone", True)),
            threading.Thread(target=take, args=("later", False)),
        ]
        waiting[0].start()
        while not queued():
            time.sleep(0.01)
        waiting[1].start()
        time.sleep(0.1)
        assert order == []
    for thread in waiting:
        thread.join()
    assert order == ["alone", "later"]


class Node:
    """One of pytest-xdist's processes, as its schedulers see it."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="one")
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.mark.parametrize("count", [2, 3])
def test_the_process_with_ray_ends_with_it_where_two_others_are_left(count):
    tests = [f"{file}::{n}" for file in ("r1", "r2", "b", "c", "d", "e", "z") for n in range(3)]
    corners = {"r1": turns.RAY, "r2": turns.RAY, "z": turns.ALONE}
    tx = ["popen"] * count
    config = SimpleNamespace(
        getvalue=lambda name: tx,
        getoption=lambda name, default=None: False,
        option=SimpleNamespace(loadscopereorder=False),
    )
    scheduler = turns.scheduling(config, None, corners.get)
    nodes = [Node() for _ in range(count)]
    for node in nodes:
        scheduler.add_node(node)
    for node in nodes:
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    done = set()
    while scheduler.has_pending:
        for node in nodes:
            if (index := next((one for one in node.given if one not in done), None)) is not None:
                done.add(index)
                scheduler.mark_test_complete(node, index)
    files = [{tests[index].partition("::")[0] for index in node.given} for node in nodes]
    assert sum(len(node.given) for node in nodes) == len(tests)
    assert files[0] >= {"r1", "r2"}
    assert (files[0] == {"r1", "r2"}) == (count == 3)
    assert all(node.shutting_down for node in nodes)
