"""The routes, and the limits that keep one client from taking what belongs to all."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colasearch.defaults import text_limit
from colasearch.engine.settings import SearchSettings
from colasearch.problem import StopReason
from colasearch.serve.chat import ChatRequest, problem_of_chat, read_chat
from colasearch.serve.engine import Answer, Engine, Job
from colasearch.serve.errors import ApiError, api_error, bad
from colasearch.serve.lanes import draws_texts
from colasearch.serve.metrics import TYPE, Metrics
from colasearch.serve.names import Names
from colasearch.serve.replies import Reply, event, model_entry, progress_line

CHAT = "/v1/chat/completions"
DRAINED = 64 << 20
"""Bytes beyond the limit that are read and dropped: a client that is cut off while it sends hardly hears why."""
COLDEST = 0.01
"""A temperature of 0 is taken for this: draws divide by it, and what is most probable has nearly all weight."""
OPEN_PATHS = ("/health",)
"""Paths that want no key."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the server is told.

    Attributes:
        names: Of the model.
        search: How problems are searched where a request says nothing.
        max_tokens: Longest text that may be asked for; None: whatever the context holds.
        task, prompt, columns: As in ``solve``.
        api_key: None: none is asked for.
        body_bytes: Most bytes of a request.
        body_seconds: Longest time in which its body must be here.
        timeout: Seconds from a request to its answer, waiting included.
        send_seconds: A client that takes nothing for so long has gone.
        tick: Seconds between two events of a stream.
    """

    names: Names
    search: SearchSettings
    max_tokens: int | None = None
    task: str | None = None
    prompt: str | None = None
    columns: Mapping[str, str] | None = None
    api_key: str | None = None
    body_bytes: int = 1 << 20
    body_seconds: float = 10.0
    timeout: float = 600.0
    send_seconds: float = 30.0
    tick: float = 0.5


class App:
    """The ASGI application."""

    def __init__(self, engine: Engine, service: Service) -> None:
        self.engine, self.service = engine, service
        self.metrics = Metrics(engine)
        self.created = int(time.time())
        self.requests = 0
        routes = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route(CHAT, self._chat, methods=["POST"]),
            ],
            exception_handlers={ApiError: _refuse, HTTPException: _refuse_http, Exception: _refuse},
        )
        self._routes: ASGIApp = routes
        self._paths = ("/health", "/metrics", "/v1/models", CHAT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if its key is right, and count it."""
        if scope["type"] != "http":
            return
        begun, status = time.monotonic(), 499  # as others count clients that left before there was an answer

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.requests += 1
        try:
            if scope["path"] not in OPEN_PATHS and not self._allowed(scope):
                await _answer(ApiError(401, "the key is missing or wrong; send Authorization: Bearer KEY"))(
                    scope, receive, counted
                )
                return
            await self._routes(scope, receive, counted)
        finally:
            self.requests -= 1
            path = scope["path"] if scope["path"] in self._paths else "other"
            self.metrics.count(path, status, time.monotonic() - begun)

    def _allowed(self, scope: Scope) -> bool:
        key = self.service.api_key
        if key is None:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {key}".encode())

    # Routes.

    async def _health(self, request: Request) -> Response:
        if not self.engine.alive:
            return JSONResponse({"status": "the engine has ended"}, 503)
        return JSONResponse({"status": "ok", "running": self.engine.running, "waiting": self.engine.waiting})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=TYPE)

    async def _models(self, request: Request) -> Response:
        names = self.service.names.listed()
        return JSONResponse({"object": "list", "data": [model_entry(name, self.created) for name in names]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.service.names.read(name)
        return JSONResponse(model_entry(name, self.created))

    async def _chat(self, request: Request) -> Response:
        arrived = time.monotonic()
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return Response(status_code=499)
        chat = read_chat(body)
        job = self._job(chat, arrived)
        self.engine.submit(job)
        gone, handed_on = asyncio.create_task(_gone(request)), False
        try:
            if not await _first(job.accepted, gone):
                return Response(status_code=499)
            reply = Reply(chat, job.accepted.result())
            if chat.stream:
                handed_on = True
                return Stream(self, job, reply)
            if not await _first(job.done, gone):
                return Response(status_code=499)
            answer = self._checked(job.done.result())
            return Response(json.dumps(reply.completion(answer), ensure_ascii=False), media_type="application/json")
        except Exception as error:
            raise api_error(error) from None
        finally:
            gone.cancel()
            if not handed_on and not job.done.done():
                self.engine.cancel(job)

    async def _body(self, request: Request) -> bytes:
        """The body, within its limits.

        Raises:
            ApiError: 408, 413, 415.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, f"the content type is {kind!r}; it must be application/json")
        most = self.service.body_bytes
        large = ApiError(
            413,
            f"the body has more than {most:,} bytes, which is this server's limit (--max-body); send a shorter chat",
            headers={"Connection": "close"},
        )
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most + DRAINED:
            raise large
        body, length = bytearray(), 0
        try:
            async with asyncio.timeout(self.service.body_seconds):
                async for part in request.stream():
                    length += len(part)
                    if length <= most:
                        body += part
                    elif length > most + DRAINED:
                        break
            if length > most:
                raise large
        except TimeoutError:
            raise ApiError(
                408,
                f"the body was not here after {self.service.body_seconds:g} s; send it at once",
                headers={"Connection": "close"},
            ) from None
        return bytes(body)

    def _job(self, chat: ChatRequest, arrived: float) -> Job:
        """What the engine is to do for a request.

        Raises:
            ApiError: 400 or 404.
        """
        service = self.service
        searcher, sims = service.names.read(chat.model)
        problem = problem_of_chat(chat.messages, service.task, service.prompt, service.columns)
        most = service.max_tokens
        if chat.max_tokens is not None and most is not None and chat.max_tokens > most:
            raise bad("max_tokens", f"max_tokens is {chat.max_tokens}; this server allows {most} (--max-tokens)")
        limit = chat.max_tokens or most or text_limit(self.engine.lm.base, [problem.task])
        own = service.search
        settings = replace(
            own,
            searcher=searcher,
            sims=sims,
            seed=own.seed if chat.seed is None else chat.seed,
            options=self._options(searcher, chat.temperature),
            world=replace(own.world, max_tokens=limit),
        )
        if chat.temperature is not None and searcher != "greedy":
            heat = max(chat.temperature, COLDEST)
            sampling = replace(settings.world.sampling, temperature=heat, token_temperature=heat)
            settings = replace(settings, world=replace(settings.world, sampling=sampling))
        if chat.logprobs and not (settings.actions == "sampled" and draws_texts(settings)):
            raise bad(
                "logprobs",
                "logprobs mean something only where whole texts are drawn from the base model itself: start the server "
                f"with --actions sampled, and take a model such as {service.names.model}:greedy or "
                f"{service.names.model}:majority-8",
                "unsupported_parameter",
            )
        logs = chat.n if chat.logprobs else 0
        return Job(replace(problem), settings, deadline=arrived + service.timeout, logs=logs)

    def _options(self, searcher: str, temperature: float | None) -> dict[str, Any]:
        """Options of a searcher: the server's, where it is the server's. A request's temperature goes before theirs."""
        own = self.service.search
        given = own.options if searcher == own.searcher else {}
        return {name: value for name, value in given.items() if name != "temperature" or temperature is None}

    def _checked(self, answer: Answer) -> Answer:
        """An answer worth giving.

        Raises:
            ApiError: 408: the time was up before there was any text.
        """
        result = answer.searched.result
        if result is not None and result.stop is StopReason.MAX_SECONDS and not result.text:
            raise ApiError(408, f"the time was up before there was an answer: {result.why}")
        return answer

    async def events(self, job: Job, reply: Reply) -> AsyncIterator[str]:
        """The events of a stream: how far the search is, a few times a second; then the texts."""
        for part in reply.opening():
            yield part
        done, said = asyncio.wrap_future(job.done), (-1, -1)
        done.add_done_callback(lambda one: one.cancelled() or one.exception())  # it is looked at below, if at all
        while not done.done():
            await asyncio.wait([done], timeout=self.service.tick)
            status = job.status
            if not done.done():
                now = status.sims, status.finished
                yield ": still here\n\n" if now == said else reply.progress(progress_line(status))
                said = now
        try:
            for part in reply.closing(self._checked(done.result())):
                yield part
        except Exception as error:
            yield event(api_error(error).body())


class Stream(Response):
    """The events of one job. A client that goes away, or takes nothing any more, ends its search."""

    media_type = "text/event-stream"

    def __init__(self, app: App, job: Job, reply: Reply) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.app, self.job, self.reply = app, job, reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end, or the client has gone."""
        gone = asyncio.create_task(_gone(Request(scope, receive)))
        sent = asyncio.create_task(self._send(send))
        try:
            await asyncio.wait([gone, sent], return_when=asyncio.FIRST_COMPLETED)
            error = sent.exception() if sent.done() else None
            if error is not None and not isinstance(error, OSError):  # that is the client's end of the line
                raise error
        finally:
            for task in (gone, sent):
                task.cancel()
            await asyncio.gather(gone, sent, return_exceptions=True)
            if not self.job.done.done():
                self.app.engine.cancel(self.job)

    async def _send(self, send: Send) -> None:
        async def one(message: Message) -> None:
            async with asyncio.timeout(self.app.service.send_seconds):
                await send(message)

        await one({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for part in self.app.events(self.job, self.reply):
            await one({"type": "http.response.body", "body": part.encode(), "more_body": True})
        await one({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(request: Request) -> None:
    """Returns when the client has gone; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _first(future: Any, gone: asyncio.Task[None]) -> bool:
    """Wait for a future of the engine; False where the client goes away first."""
    wanted = asyncio.wrap_future(future)
    wanted.add_done_callback(lambda one: one.cancelled() or one.exception())  # an error is read from ``future`` itself
    await asyncio.wait([wanted, gone], return_when=asyncio.FIRST_COMPLETED)
    return wanted.done()


def _answer(error: ApiError) -> Response:
    headers = {"WWW-Authenticate": "Bearer", **error.headers} if error.status == 401 else error.headers
    return JSONResponse(error.body(), error.status, headers)


async def _refuse(request: Request, error: Exception) -> Response:
    return _answer(api_error(error))


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    message = {404: f"there is nothing at {path}", 405: f"{request.method} is not for {path}"}.get(error.status_code)
    return _answer(ApiError(error.status_code, message or error.detail, headers=dict(error.headers or {})))
