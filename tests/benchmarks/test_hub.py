"""The hub, by a local fake: what is tried again, what is explained, what the cache saves."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, items_sha256, make_item
from colasearch.benchmarks.data_sets.hub import TRIES, cache_path, datasets_rows, fetch
from colasearch.benchmarks.data_sets.load import load
from colasearch.errors import ColasearchError, CorruptFileError, PrerequisiteError

ROWS = [{"q": f"What is {i}+1?", "a": str(i + 1)} for i in range(4)]


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Any:
    return make_item(f"{config}-{number}", row["q"], row["a"])


GOOD = items_sha256([convert(row, i, None) for i, row in enumerate(ROWS)])
HUB = Hub("someone/sums", "c" * 40, ("test",), convert)
BENCHMARK = Benchmark("sums", "sums", "math", HUB, rows=4, sha256=GOOD, binding=True)


class Response:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code, self.headers = status, headers


class HubError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = Response(status, **headers)


class FakeHub:
    """Answers each request with the next outcome: an exception to raise, or rows; the last one stays."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.requests = list(outcomes), []

    def __call__(self, hub: Hub, config: str | None, split: str, anew: bool) -> Iterable[Mapping[str, Any]]:
        self.requests.append((config, split, anew))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def got(hub: FakeHub, benchmark: Benchmark = BENCHMARK) -> tuple[list[Any], list[float], list[str]]:
    waits: list[float] = []
    said: list[str] = []
    return fetch(benchmark, said.append, loader=hub, sleep=waits.append), waits, said


def test_rows_are_fetched_once_and_then_come_from_the_cache():
    hub = FakeHub(ROWS)
    items, waits, _ = got(hub)
    assert [i.labelled.gold for i in items] == ["1", "2", "3", "4"]
    assert waits == []
    broken = FakeHub(AssertionError("the hub was asked again"))
    assert got(broken)[0] == items
    assert broken.requests == []


def test_the_cache_works_without_any_socket(monkeypatch):
    got(FakeHub(ROWS))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(load(BENCHMARK).items) == 4


@pytest.mark.parametrize("error", [HubError(429), HubError(503), TimeoutError("slow")])
def test_what_passes_is_tried_again_with_growing_waits(error):
    items, waits, said = got(FakeHub(error, error, error, ROWS))
    assert len(items) == 4
    assert len(waits) == 3
    assert all(base <= wait <= 1.5 * base for wait, base in zip(waits, (1, 2, 4), strict=True))
    assert "trying again" in said[-1]


def test_the_server_says_how_long_to_wait():
    _, waits, _ = got(FakeHub(HubError(429, **{"Retry-After": "17"}), ROWS))
    assert 17 <= waits[0] <= 17 * 1.5


def test_waits_are_jittered():
    assert len({got(FakeHub(HubError(503), ROWS), replace(BENCHMARK, name=f"s{i}"))[1][0] for i in range(5)}) > 1


def test_after_five_tries_it_says_how_to_get_the_data():
    hub = FakeHub(HubError(429))
    with pytest.raises(PrerequisiteError, match=r"429.*tried 5 times.*someone/sums at revision c+.*--data") as caught:
        got(hub)
    assert len(hub.requests) == TRIES
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (HubError(404), "does not have it"),
        (ConnectionError("down"), "cannot be reached: down"),
        (HubError(401), "hf auth login"),
        (HubError(403), "terms"),
        (ValueError("BuilderConfig 'x' not found"), "BuilderConfig 'x' not found"),
    ],
)
def test_what_does_not_pass_is_explained_at_once(error, says):
    hub = FakeHub(error)
    with pytest.raises(PrerequisiteError, match=says) as caught:
        got(hub)
    assert len(hub.requests) == 1
    assert "--data FILE.jsonl" in str(caught.value)


def test_a_cause_further_down_is_seen():
    outer = RuntimeError("could not load")
    outer.__cause__ = HubError(503)
    assert len(got(FakeHub(outer, ROWS))[0]) == 4


def test_wrong_rows_are_downloaded_anew_and_then_refused():
    wrong = [*ROWS[:3], {"q": "What is 3+1?", "a": "5"}]
    hub = FakeHub(wrong, ROWS)
    assert [i.labelled.gold for i in got(hub)[0]] == ["1", "2", "3", "4"]
    assert [anew for _, _, anew in hub.requests] == [False, True]
    with pytest.raises(CorruptFileError, match="must have") as caught:
        got(FakeHub(wrong), replace(BENCHMARK, name="other"))
    assert caught.value.exit_code == 4
    with pytest.raises(CorruptFileError, match="3 rows where 4"):
        got(FakeHub(ROWS[:3]), replace(BENCHMARK, name="third"))


def test_a_hash_that_does_not_bind_is_a_remark(monkeypatch):
    import colasearch.benchmarks.data_sets.hub as module

    monkeypatch.setattr(module, "datasets_rows", FakeHub(ROWS))
    loaded = load(replace(BENCHMARK, sha256="0" * 64, binding=False))
    assert loaded.pinned is False
    assert "are not the sums rows" in loaded.remarks[0]
    assert loaded.source == f"someone/sums@{'c' * 40}"


def test_a_damaged_cache_is_fetched_again():
    got(FakeHub(ROWS))
    path = cache_path(BENCHMARK)
    path.write_text(path.read_text().replace("What is 2", "What is 9"))
    hub = FakeHub(ROWS)
    assert len(got(hub)[0]) == 4
    assert hub.requests


def test_offline_without_cache_says_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = FakeHub(ROWS)
    with pytest.raises(PrerequisiteError, match="HF_HUB_OFFLINE is set"):
        got(hub)
    assert hub.requests == []


def test_splits_and_configurations_are_put_together():
    both = replace(HUB, splits=("train", "test"), configs=("a", "b"))
    hub = FakeHub(ROWS[:1])
    items, _, _ = got(hub, replace(BENCHMARK, source=both, binding=False))
    assert [i.problem.id for i in items] == ["a-0", "a-1", "b-2", "b-3"]
    assert hub.requests == [("a", "train", False), ("a", "test", False), ("b", "train", False), ("b", "test", False)]


def test_ctrl_c_is_not_taken_for_a_failure():
    with pytest.raises(KeyboardInterrupt):
        got(FakeHub(KeyboardInterrupt()))


def test_without_a_network_the_library_is_not_asked(monkeypatch):
    pytest.importorskip("datasets", reason="datasets is not installed: pip install '.[data]'")

    def unknown(*args: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    waits: list[float] = []
    with pytest.raises(PrerequisiteError, match=r"huggingface\.co cannot be resolved.*--data FILE"):
        fetch(BENCHMARK, sleep=waits.append)
    assert waits == []


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PrerequisiteError, match=r"'\.\[data\]'"):
        fetch(BENCHMARK)


def test_the_library_datasets_reads_a_repository(tmp_path):
    """The loader itself, on a local repository of the hub's layout: a folder with a jsonl file a split."""
    pytest.importorskip("datasets", reason="datasets is not installed: pip install '.[data]'")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    local = replace(HUB, repo=str(repository), revision=None)
    assert [dict(row) for row in datasets_rows(local, None, "test", False)] == ROWS
    items = fetch(replace(BENCHMARK, name="local", source=local))
    assert items_sha256(items) == GOOD


def test_an_absent_repository_is_explained_without_a_traceback(tmp_path):
    pytest.importorskip("datasets", reason="datasets is not installed: pip install '.[data]'")
    local = replace(HUB, repo=str(Path(tmp_path) / "absent" / "repo" / "deep"), revision=None)
    with pytest.raises(ColasearchError, match="cannot be read"):
        fetch(replace(BENCHMARK, name="absent", source=local), sleep=lambda seconds: None)
