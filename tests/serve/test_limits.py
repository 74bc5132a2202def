"""Limits, crowds, slow clients and those that leave: nobody takes what belongs to all, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import openai
import pytest
from loopback import Served, serving

from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.problem import StopReason
from colasearch.serve import running
from colasearch.serve.engine import Engine
from colasearch.serve.lanes import MOST_LANES, SearchLane
from colasearch.solving import search_one
from colasearch.tasks.reading import parse_problem

WORLD = WorldConfig(max_tokens=8, max_step_tokens=4, branch_below=0.0, references=2)
SETTINGS = SearchSettings(sims=3, leaves_in_flight=4, world=WORLD)
LONG = replace(SETTINGS, sims=1000, world=replace(WORLD, max_tokens=30))
"""A search that does not end while a test looks."""


def body(text: str = "What is 1 + 1?", **more: Any) -> bytes:
    return json.dumps({"model": "wide", "messages": [{"role": "user", "content": text}], **more}).encode()


def head(length: int) -> bytes:
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def get(served: Served, path: str) -> str:
    with urllib.request.urlopen(served.url + path, timeout=300) as answer:
        return str(answer.read().decode())


def post(served: Served, data: bytes, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=300)
    connection.request("POST", "/v1/chat/completions", data, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    read = json.loads(answer.read()), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return answer.status, *read


@contextlib.contextmanager
def sent(served: Served, data: bytes) -> Iterator[socket.socket]:
    """A request whose answer nobody has read yet."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=300) as connection:
        connection.sendall(head(len(data)) + data)
        yield connection


def test_bodies_are_limited_in_size_kind_and_time(wide_lm):
    with serving(wide_lm, SETTINGS, body_bytes=2000, body_seconds=300.0) as served:
        status, told, _ = post(served, body("x" * 10_000_000))
        assert (status, told["error"]["type"]) == (413, "invalid_request_error")
        assert "2,000 bytes" in told["error"]["message"]
        assert post(served, body("x" * 3000))[0] == 413
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=300)
        parts = (b"x" * 500 for _ in range(9))  # in chunks, of no declared length
        connection.request("POST", "/v1/chat/completions", parts, {"Content-Type": "application/json"})
        assert connection.getresponse().status == 413
        connection.close()
        assert post(served, body(), **{"Content-Type": "text/plain"})[0] == 415
        for wrong in (b"{", b"[]", b"\xff", b"[" * 1900):
            assert post(served, wrong)[0] == 400
        assert post(served, body())[0] == 200
        served.app.service = replace(served.app.service, body_seconds=0.2)
        with socket.create_connection(("127.0.0.1", served.port), timeout=300) as slow:
            slow.sendall(head(1000) + b"{")
            assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        served.until(served.idle)


def test_a_connection_that_says_nothing_is_closed(wide_lm, monkeypatch):
    monkeypatch.setattr(running, "HEADER_SECONDS", 0.2)
    with (
        serving(wide_lm, SETTINGS) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=300) as silent,
    ):
        silent.sendall(b"GET /health HTTP/1.1\r\n")
        assert silent.recv(100) == b""
        assert json.loads(get(served, "/health"))["status"] == "ok"


def test_a_full_queue_says_so_and_comes_free(wide_lm):
    with serving(wide_lm, LONG, slots=1, queue=1) as served:
        with sent(served, body()), sent(served, body("What is 2 + 2?")):
            served.until(lambda: (served.app.engine.running, served.app.engine.waiting) == (1, 1))
            status, told, headers = post(served, body())
            assert (status, told["error"]["code"], headers["retry-after"]) == (429, "queue_full", "5")
        served.until(served.idle)  # both have left: one its slot, the other the queue
        text = get(served, "/metrics")
        assert 'colasearch_requests_total{path="/v1/chat/completions",status="429"} 1.0' in text
        assert "colasearch_searches_cancelled_total 2.0" in text
        assert post(served, body(model="wide:gumbel-2", max_tokens=6))[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_the_slot_and_the_others_never_know(wide_lm, stream):
    with serving(wide_lm, LONG, slots=2) as served:
        alone = search_one(wide_lm, parse_problem("What is 3 + 3?"), replace(LONG, sims=3)).result
        with sent(served, body(stream=stream)) as gone:
            served.until(lambda: served.app.engine.running == 1)
            if stream:
                assert b"text/event-stream" in gone.recv(4096)
        status, told, _ = post(served, body("What is 3 + 3?", model="wide:gumbel-3"))
        assert (status, told["colasearch"]["text"]) == (200, alone.text)
        served.until(served.idle)
        assert served.app.engine.totals.cancelled == 1


def test_a_client_that_takes_nothing_any_more_ends_its_search(wide_lm):
    """The kernel takes megabytes for a client that does not read; here ``send`` itself blocks, as it does then."""
    with serving(wide_lm, LONG, slots=2, send_seconds=0.3) as served:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            if len(sent) == 3:
                await asyncio.Event().wait()
            sent.append(message)

        async def ask() -> None:
            parts = iter([{"type": "http.request", "body": body(stream=True), "more_body": False}])

            async def receive() -> Any:
                return next(parts, None) or await asyncio.Event().wait()

            headers = [(b"content-type", b"application/json")]
            scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
            await served.app({**scope, "query_string": b"", "http_version": "1.1", "root_path": ""}, receive, send)

        asyncio.run(ask())
        assert sent[0]["status"] == 200
        served.until(served.idle)
        assert served.app.engine.totals.cancelled == 1


def test_time_that_is_up_is_told_or_gives_what_was_found(wide_lm):
    with serving(wide_lm, LONG, slots=1, timeout=0.5) as served:
        with sent(served, body()), sent(served, body("What is 2 + 2?")):
            served.until(lambda: served.app.engine.running + served.app.engine.waiting == 2)
            status, told, _ = post(served, body("What is 3 + 3?"))
            assert (status, told["error"]["type"]) == (408, "timeout_error")
        served.until(served.idle)
    with serving(wide_lm, replace(LONG, max_seconds=3.0), slots=1) as served:
        status, told, _ = post(served, body())
        if status == 200:
            assert told["colasearch"]["stop"] == "max_seconds"
        else:
            assert (status, told["error"]["type"]) == (408, "timeout_error")


def test_what_breaks_in_one_batch_ends_its_requests_and_nothing_else(wide_lm, monkeypatch, capsys):
    with serving(wide_lm, SETTINGS) as served:
        advance = type(served.app.engine)._step
        broken = iter([True])

        def step(self, lane):
            if next(broken, False):
                lane.step = lambda: (_ for _ in ()).throw(RuntimeError("a secret of the server"))
            return advance(self, lane)

        monkeypatch.setattr(type(served.app.engine), "_step", step)
        status, told, _ = post(served, body())
        assert (status, told["error"]["type"]) == (500, "server_error")
        assert "secret" not in json.dumps(told)
        assert "a secret of the server" in capsys.readouterr().err
        assert post(served, body())[0] == 200
        streamed = iter([True])
        broken = streamed
        with pytest.raises(openai.APIError, match="RuntimeError"):
            list(served.client().chat.completions.create(
                model="wide", messages=[{"role": "user", "content": "1+1?"}], stream=True))  # fmt: skip


def test_every_temperature_gets_its_turn(wide_lm):
    heats = [0.5 + 0.1 * i for i in range(2 * MOST_LANES)]
    with serving(wide_lm, SETTINGS, slots=2 * MOST_LANES) as served:
        threads, found = [], {}
        for heat in heats:

            def ask(heat: float = heat) -> None:
                found[heat] = post(served, body(temperature=heat))[0]

            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert found == dict.fromkeys(heats, 200)
        assert len(served.app.engine._lanes) <= MOST_LANES


@pytest.mark.parametrize("drain", [60.0, 0.2])
def test_requests_in_hand_end_before_the_server_does(wide_lm, monkeypatch, drain):
    search = replace(LONG, sims=4) if drain > 1 else LONG
    both, step = threading.Event(), Engine._step
    monkeypatch.setattr(Engine, "_step", lambda self, lane: both.wait(300) and step(self, lane))
    with serving(wide_lm, search, drain=drain, slots=1) as served:
        with sent(served, body()) as first, sent(served, body("What is 2 + 2?")) as second:
            served.until(lambda: (served.app.engine.running, served.app.engine.waiting) == (1, 1))
            served.server.should_exit = True
            both.set()
            answers = [read_all(one) for one in (first, second)]
        served.thread.join(60)
        assert not served.thread.is_alive()
    first_told = json.loads(answers[0].partition(b"\r\n\r\n")[2])
    if drain > 1:
        assert answers[0].startswith(b"HTTP/1.1 200")
        assert answers[1].startswith(b"HTTP/1.1 200")
        alone = search_one(wide_lm, parse_problem("What is 1 + 1?"), search).result
        assert first_told["colasearch"]["text"] == alone.text
    else:
        assert answers[0].startswith(b"HTTP/1.1 200")
        assert first_told["colasearch"]["stop"] == StopReason.INTERRUPTED
        assert answers[1].startswith(b"HTTP/1.1 503")


def read_all(connection: socket.socket) -> bytes:
    read = b""
    while part := connection.recv(65536):
        read += part
    return read


def text_of(at: int) -> str:
    """Of request ``at`` of a crowd: one of twelve."""
    return f"What is {at % 4} + {at % 3}?"


def crowd(served: Served, count: int, rude: int) -> list[str]:
    """The texts of ``count`` requests at once, a third of them streams, beside ``rude`` clients that leave."""
    texts = [text_of(i) for i in range(count)]

    async def one(create: Any, at: int) -> str:
        asked = {"model": "wide", "messages": [{"role": "user", "content": texts[at]}], "seed": at % 2}
        if at % 3:
            return str((await create(**asked)).choices[0].message.content)
        chunks = [chunk async for chunk in await create(**asked, stream=True)]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def leave(at: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        data = body(texts[at % count], stream=at % 2 == 0)
        writer.write(head(len(data)) + data[: len(data) if at % 3 else 10])
        await writer.drain()
        await asyncio.sleep(0.05 * (at % 5))
        if at % 4 == 0 and at % 3:
            await reader.read(10)
        writer.close()

    async def everybody() -> list[str]:
        url = f"{served.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=1000, max_retries=0) as client:
            asked = [one(client.chat.completions.create, at) for at in range(count)]
            return list((await asyncio.gather(*asked, *(leave(at) for at in range(rude))))[:count])

    return asyncio.run(everybody())


def check_a_crowd(wide_lm, count: int, rude: int) -> None:
    """All get the answers that they would get alone; then nothing is left of them."""
    with serving(wide_lm, SETTINGS, slots=16, queue=count + rude) as served:
        crowd(served, 12, 4)  # what is made once is made
        served.until(served.idle)
        lane = next(lane for lane in served.app.engine._lanes.values() if isinstance(lane, SearchLane))
        world = lane._scheduler.world
        alone = {
            (text, seed): search_one(wide_lm, parse_problem(text), replace(SETTINGS, seed=seed)).result.text
            for text, seed in {(text_of(i), i % 2) for i in range(count)}
        }
        gc.collect()
        objects = len(gc.get_objects())
        found = crowd(served, count, rude)
        assert found == [alone[text_of(i), i % 2] for i in range(count)]
        served.until(served.idle)
        served.until(lambda: not served.server.server_state.connections and not served.server.server_state.tasks)
        assert (world.nodes, world.trees, world._jobs, world.table.prompts, world.store.used) == ({}, {}, {}, {}, 0)
        assert (len(world.decoder), lane._scheduler.free) == (0, 16)
        gc.collect()
        assert len(gc.get_objects()) - objects < 5000 + 2 * count  # a request that is kept alive has hundreds


def test_thirty_at_once_and_some_that_leave(wide_lm):
    check_a_crowd(wide_lm, 30, 12)


@pytest.mark.slow
def test_a_thousand_at_once(wide_lm):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        check_a_crowd(wide_lm, 1000, 200)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
