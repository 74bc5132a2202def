"""One thread that searches for all requests: a queue, slots, and the batches that requests join while others run.

The server's own thread only talks to clients; it hands over a ``Job`` and waits for its two futures. Everything of the
model happens here, one pass after the other. A job's result depends on its problem and settings alone.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from colasearch.engine.prompt import prompt_of
from colasearch.engine.scheduler import Searched, Status
from colasearch.engine.settings import SearchSettings
from colasearch.model.latent_lm import LatentLM
from colasearch.model.likelihood import likelihoods
from colasearch.problem import Problem
from colasearch.serve.errors import ApiError, api_error
from colasearch.serve.lanes import MOST_LANES, Lane, lane_key, new_lane
from colasearch.storage.traces import Trace

NOTHING = Status(0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class TokenLog:
    """The log-probability of one token under the base model."""

    text: str
    log_prob: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a job.

    Attributes:
        searched: Result and trace.
        logs: Of each distinct text that was asked for: its tokens.
    """

    searched: Searched
    logs: dict[str, list[TokenLog]]


@dataclass(eq=False, slots=True)
class Job:
    """A problem on its way.

    Attributes:
        problem: A copy of its own: jobs are told apart by it.
        settings: How it is searched.
        deadline: ``time.monotonic()`` at which it must be done.
        logs: How many of the candidates' texts want log-probabilities.
        accepted: Done once the prompt is known to fit, with its number of tokens.
        done: Done with the job; an error is in it.
        status: How far it is; replaced by the engine as it goes.
        begun: It has a slot.
        cancelled: Nobody waits for it any more.
    """

    problem: Problem
    settings: SearchSettings
    deadline: float
    logs: int = 0
    accepted: Future[int] = field(default_factory=Future)
    done: Future[Answer] = field(default_factory=Future)
    status: Status = NOTHING
    begun: bool = False
    cancelled: bool = False


@dataclass(slots=True)
class Totals:
    """What the engine has done so far."""

    searches: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0


class Engine:
    """The thread, and the only way to it.

    Attributes:
        totals: Read by the metrics.
    """

    def __init__(self, lm: LatentLM, *, slots: int, most_waiting: int) -> None:
        self.lm, self.slots, self.most_waiting = lm, slots, most_waiting
        self.totals = Totals()
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0
        self._ends_at: float | None = None
        self._waiting: list[Job] = []
        self._running: dict[int, tuple[Job, Lane]] = {}
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._thread = threading.Thread(target=self._work, name="colasearch engine", daemon=True)

    # What other threads call.

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Jobs in slots."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a slot."""
        return max(0, self._open - self.running)

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            ApiError: 429: the queue is full. 503: the server is going down.
        """
        with self._lock:
            if self._ends_at is not None or not self.alive:
                raise ApiError(503, "the server is shutting down; send the request to another one")
            if self._open >= self.slots + self.most_waiting:
                raise ApiError(
                    429,
                    f"{self._open} requests are searched or wait already, which is all that this server takes (--slots "
                    "and --queue); try again later",
                    code="queue_full",
                    headers={"Retry-After": "5"},
                )
            self._open += 1
        job.done.add_done_callback(self._closed)
        self._inbox.put(job)

    def cancel(self, job: Job) -> None:
        """Nobody waits for ``job`` any more: it leaves the queue, or its slot, before the next pass."""
        job.cancelled = True
        self._inbox.put(None)

    def close(self, seconds: float = 0.0) -> None:
        """Take no more jobs; those in hand have so long, then what they found counts. Ends the thread."""
        with self._lock:
            self._ends_at = time.monotonic() + seconds
        self._inbox.put(None)

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(seconds)

    def _closed(self, done: Future[Answer]) -> None:
        with self._lock:
            self._open -= 1

    # The thread.

    def _work(self) -> None:
        try:
            while self._ends_at is None or self._running or self._waiting:
                self._take_in()
                self._drop()
                self._begin()
                for lane in {lane for _, lane in self._running.values()}:
                    self._step(lane)
                self._look()
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            self._give_up(ApiError(503, "the server is shutting down; send the request to another one"))

    def _take_in(self) -> None:
        """What came in; waits for something where there is nothing else to do."""
        idle = not self._running and not self._waiting and self._ends_at is None
        while idle or not self._inbox.empty():
            job, idle = self._inbox.get(), False
            if job is None:
                continue
            try:
                prompt = prompt_of(self.lm, job.problem, job.settings.world.max_tokens)
                lane_key(job.settings)
            except Exception as error:  # a user's task may raise anything
                self._fail(job, error)
                continue
            self.totals.prompt_tokens += len(prompt)
            _settle(job.accepted, len(prompt))
            self._waiting.append(job)

    def _drop(self) -> None:
        """Jobs that nobody waits for, or whose time is up before they began; all, once the server must end."""
        now = time.monotonic()
        for job in [job for job in self._waiting if job.cancelled or now >= job.deadline]:
            self._waiting.remove(job)
            self._fail(job, _late("before the search began"))
        for job, lane in [found for found in self._running.values() if found[0].cancelled]:
            lane.cancel(job.problem)
            self._leave(job)
            self._fail(job, _late("during the search"))
        if self._ends_at is not None and now >= self._ends_at:
            while self._waiting:
                self._fail(self._waiting.pop(), ApiError(503, "the server shut down before the search began"))
            for job, lane in self._running.values():
                lane.interrupt(job.problem)

    def _begin(self) -> None:
        """Give free slots to those that wait, the first first; who needs a lane that there is no room for lets pass."""
        for job in list(self._waiting):
            if len(self._running) >= self.slots:
                return
            try:
                lane = self._lane_for(job.settings)
            except Exception as error:
                self._waiting.remove(job)
                self._fail(job, error)
                continue
            if lane is None:
                continue
            self._waiting.remove(job)
            job.begun = True
            self._running[id(job.problem)] = job, lane
            left = job.deadline - time.monotonic()
            given = job.settings.max_seconds
            settings = replace(job.settings, max_seconds=max(0.001, left if given is None else min(given, left)))
            self._advance(lane, partial(lane.add, job.problem, settings))

    def _lane_for(self, settings: SearchSettings) -> Lane | None:
        """The lane that such problems go to; None where it must be made, and all others are in use."""
        key = lane_key(settings)
        lane = self._lanes.pop(key, None)
        if lane is None:
            used = {id(lane) for _, lane in self._running.values()}
            idle = next((key for key, lane in self._lanes.items() if id(lane) not in used), None)
            if len(self._lanes) >= MOST_LANES:
                if idle is None:
                    return None
                del self._lanes[idle]
            lane = new_lane(self.lm, settings, self.slots)
        self._lanes[key] = lane  # the last used stands last
        return lane

    def _step(self, lane: Lane) -> None:
        self._advance(lane, lane.step)

    def _advance(self, lane: Lane, work: Callable[[], Iterator[Searched]]) -> None:
        """Do a lane's work. What it raises is the end of all that is in it, and of nothing else."""
        try:
            for searched in work():
                self._finish(searched)
        except Exception as error:
            told = api_error(error)
            self._lanes = {key: one for key, one in self._lanes.items() if one is not lane}
            for job in [job for job, its in self._running.values() if its is lane]:
                self._leave(job)
                self._fail(job, told)

    def _finish(self, searched: Searched) -> None:
        job, _ = self._running[id(searched.problem)]
        self._leave(job)
        if searched.error is not None or searched.result is None:
            self._fail(job, searched.error or RuntimeError("no result"))
            return
        self.totals.searches += 1
        self.totals.generated_tokens += searched.result.generated_tokens
        try:
            answer = Answer(searched, self._logs(job, searched))
        except Exception as error:
            self._fail(job, error)
            return
        _settle(job.done, answer)

    def _look(self) -> None:
        for job, lane in self._running.values():
            job.status = lane.status_of(job.problem)

    def _leave(self, job: Job) -> None:
        del self._running[id(job.problem)]

    def _fail(self, job: Job, error: BaseException) -> None:
        if job.cancelled:
            self.totals.cancelled += 1
        else:
            self.totals.failed += 1
        told = api_error(error)
        _settle(job.accepted, error=told)
        _settle(job.done, error=told)

    def _give_up(self, error: ApiError) -> None:
        with self._lock:
            self._ends_at = self._ends_at or time.monotonic()
        jobs = [*self._waiting, *(job for job, _ in self._running.values())]
        while not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                jobs.append(job)
        self._waiting.clear()
        self._running.clear()
        for job in jobs:
            self._fail(job, error)

    def _logs(self, job: Job, searched: Searched) -> dict[str, list[TokenLog]]:
        """Log-probabilities of the best candidates' texts under the base, as whole texts were drawn from it."""
        result, trace = searched.result, searched.trace
        if not job.logs or result is None or trace is None:
            return {}
        texts = [one.text for one in result.candidates[: job.logs]] or [result.text]
        rows = {text: tokens for text in texts if (tokens := _tokens_of(text, trace))}
        prompt = trace.prompt_tokens
        found = likelihoods(self.lm, [(*prompt, *row) for row in rows.values()], [len(prompt)] * len(rows), "tokens")
        decode = self.lm.base.tokenizer.decode
        return {
            text: [
                TokenLog(str(decode([token])), log_prob)
                for token, log_prob in zip(row, one.log_probs_T.tolist(), strict=True)
                if token not in self.lm.base.end_ids
            ]
            for (text, row), one in zip(rows.items(), found, strict=True)
        }


def _tokens_of(text: str, trace: Trace) -> tuple[int, ...]:
    """Tokens of a text that was drawn as a whole."""
    return next((node.tokens for node in trace.nodes[1:] if node.text == text), ())


def _late(when: str) -> ApiError:
    return ApiError(
        408, f"the time of the request was up {when} (--timeout); ask for fewer simulations, or wait longer"
    )


def _settle(future: Future[Any], value: Any = None, *, error: BaseException | None = None) -> None:
    """Give a future its outcome, once, and unless whoever waited for it has gone."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
