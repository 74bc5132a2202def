"""Coming to a cluster, and what each worker gets there. Ray itself is not started here."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

import pytest

from colasearch.cluster import Pool
from colasearch.cluster import connect as module
from colasearch.cluster.connect import Layout, connect, import_ray, lay_out
from colasearch.errors import InputError, PrerequisiteError


@pytest.fixture
def closed_port():
    """A port that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_an_address_without_a_cluster_is_refused_at_once_with_what_to_do(closed_port, form):
    pytest.importorskip("ray", reason="ray is not installed")
    address = form.format(closed_port)
    begun = time.monotonic()
    with pytest.raises(PrerequisiteError) as caught:
        connect(address, 2)
    assert time.monotonic() - begun < 20, "Ray's own search for it takes minutes"
    for part in (address, "ray start --head", "leave --ray-address out", "refused"):
        assert part in str(caught.value)


@pytest.fixture
def mute_port():
    """A port that takes connections and never answers, as of a cluster whose head hangs."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def test_auto_is_looked_up_and_refused_where_nobody_listens(closed_port, monkeypatch):
    """Ray remembers a cluster that has ended; its own search for it takes a quarter of an hour."""
    services = pytest.importorskip("ray._private.services", reason="ray is not installed")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset())
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: f"127.0.0.1:{closed_port}")
    monkeypatch.setattr(module, "_try", lambda address: pytest.fail("nobody listens there"))
    with pytest.raises(PrerequisiteError, match=r"--ray-address 'auto' .*refused"):
        connect("auto", 2)


def test_a_cluster_that_does_not_answer_is_given_up_in_a_stated_time(mute_port, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    assert module.KNOCK_S + module.TRIAL_S < 30
    monkeypatch.setattr(module, "TRIAL_S", 1.0)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{mute_port}")
    with pytest.raises(PrerequisiteError, match="takes connections but has not answered in 1 s"):
        connect("auto", 2)


def test_ctrl_c_ends_the_wait_for_a_cluster_at_once(mute_port, handlers):
    pytest.importorskip("ray", reason="ray is not installed")
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        connect(f"127.0.0.1:{mute_port}", 2)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999"])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(PrerequisiteError, match="ray start --head"):
        connect(address, None)


def test_the_end_of_ray_s_own_processes_is_told(monkeypatch):
    worker = pytest.importorskip("ray._private.worker", reason="ray is not installed")

    class Node:
        ended: tuple[str, ...] = ("log_monitor",)

        def dead_processes(self) -> list[tuple[str, object]]:
            return [(kind, None) for kind in self.ended]

    monkeypatch.setattr(worker, "_global_node", Node())
    module.check_own_ray()  # Ray goes on without its log monitor
    Node.ended = ("raylet",)
    with pytest.raises(PrerequisiteError, match=r"Ray on this machine has ended \(raylet\)"):
        module.check_own_ray()


def test_a_pool_that_cannot_begin_leaves_nothing_behind(closed_port):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(PrerequisiteError), Pool(None, address=f"127.0.0.1:{closed_port}"):
        pytest.fail("there is nothing to enter")
    assert not ray.is_initialized()


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PrerequisiteError, match="pip install ray"):
        import_ray()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"slots": 0}, {"retries": -1}])
def test_numbers_out_of_range_are_refused_before_anything_starts(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Pool(None, **wrong)


@pytest.fixture
def cluster(monkeypatch):
    """Sets what Ray says that it has."""
    resources: dict[str, float] = {}

    class Ray:
        cluster_resources = staticmethod(lambda: resources)

    monkeypatch.setattr(module, "import_ray", lambda: Ray)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    return resources


CASES = [
    # has, workers, threads, device, local -> workers, threads, CPUs, GPUs, device
    ({"CPU": 8}, None, None, "auto", False, Layout(8, 1, 1, 0, "cpu")),
    ({"CPU": 8}, None, 4, "auto", False, Layout(2, 4, 4, 0, "cpu")),
    ({"CPU": 8}, None, 16, "cpu", False, Layout(1, 16, 8, 0, "cpu")),
    ({"CPU": 8}, 2, None, "auto", False, Layout(2, 4, 4, 0, "cpu")),
    ({"CPU": 8}, 16, None, "auto", False, Layout(16, 1, 1, 0, "cpu")),
    ({"CPU": 8}, 2, 1, "auto", False, Layout(2, 1, 1, 0, "cpu")),
    ({"CPU": 12}, 12, None, "auto", True, Layout(12, 1, 1, 0, "cpu")),
    ({"CPU": 6}, 2, None, "auto", True, Layout(2, 3, 1, 0, "cpu")),
    ({"CPU": 16, "GPU": 4}, None, None, "auto", False, Layout(4, 4, 1, 1, "cuda")),
    ({"CPU": 16, "GPU": 4}, 2, None, "cuda", False, Layout(2, 8, 1, 1, "cuda")),
    ({"CPU": 16, "GPU": 2}, 5, None, "cuda", False, Layout(5, 3, 1, 1 / 3, "cuda")),
    ({"CPU": 2, "GPU": 1}, 4, None, "auto", False, Layout(4, 1, 0.5, 1 / 4, "cuda")),
    ({"CPU": 16, "GPU": 4}, 2, None, "cpu", False, Layout(2, 8, 8, 0, "cpu")),
]


@pytest.mark.parametrize(("has", "workers", "threads", "device", "local", "expected"), CASES)
def test_layouts(cluster, has, workers, threads, device, local, expected):
    cluster.update(has)
    layout = lay_out(workers, threads, device, local)
    assert layout == expected
    if layout.gpus:  # Ray places no actor on parts of two cards
        assert int(1 / layout.gpus + 1e-9) * has["GPU"] >= layout.workers


def test_a_cluster_without_gpus_cannot_give_cuda(cluster):
    cluster["CPU"] = 4
    with pytest.raises(PrerequisiteError, match="no node of the Ray cluster has a GPU"):
        lay_out(2, None, "cuda", False)


@pytest.mark.parametrize("heard", [False, True], ids=["nobody hears of it", "who waits has heard"])
def test_a_ray_that_has_ended_ends_a_process_that_waits_for_it(monkeypatch, capsys, heard):
    def gone() -> None:
        raise PrerequisiteError("Ray on this machine has ended")

    ended = threading.Event()
    codes: list[int] = []
    monkeypatch.setattr(module, "GUARD_S", 0.01)
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    monkeypatch.setattr(module, "check_own_ray", gone)
    monkeypatch.setattr(module.os, "_exit", lambda code: (codes.append(code), ended.set(), over.set()))
    module._guard()
    over = module._guarded
    if heard:
        over.set()
    assert ended.wait(1 if heard else 20) is not heard
    over.set()
    assert codes == ([] if heard else [3])
    assert ("Ray on this machine has ended" in capsys.readouterr().err) is not heard
