"""What came of a search, as OpenAI's clients expect it: completions, chunks of a stream, lists of models."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from colasearch.engine.scheduler import Status
from colasearch.problem import SolveResult, StopReason
from colasearch.serve.chat import ChatRequest
from colasearch.serve.engine import Answer, TokenLog

LEAST_LOG_PROB = -9999.0
"""In place of minus infinity, which JSON has not."""
OUT_OF_ROOM = (StopReason.MAX_SECONDS, StopReason.MAX_TOKENS, StopReason.INTERRUPTED)
"""Reasons for which a search without an answer might have found one later."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer in the making.

    Attributes:
        request: What was asked.
        prompt_tokens: Of the prompt.
        id, created: Of the completion; ``created`` in seconds since 1970.
    """

    request: ChatRequest
    prompt_tokens: int
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole answer."""
        result = _result(answer)
        return {
            **self._head("chat.completion"),
            "choices": [
                {
                    "index": at,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": logs,
                    "finish_reason": reason,
                }
                for at, (text, reason, logs) in enumerate(self._choices(answer))
            ],
            "usage": self._usage(result),
            "colasearch": result.to_json(),
        }

    def opening(self) -> Iterator[str]:
        """The first event of a stream."""
        yield self._event([_delta(0, {"role": "assistant", "content": ""})])

    def progress(self, text: str) -> str:
        """An event that says how far the search is, where clients show a model's reasoning."""
        return self._event([_delta(0, {"reasoning_content": text})])

    def closing(self, answer: Answer) -> Iterator[str]:
        """The events with the texts, their ends, the usage, and the mark of the end."""
        result = _result(answer)
        for at, (text, reason, logs) in enumerate(self._choices(answer)):
            role = {"role": "assistant"} if at else {}
            yield self._event([{**_delta(at, {**role, "content": text}), "logprobs": logs}])
            more = {} if at else {"colasearch": result.to_json()}
            yield self._event([_delta(at, {}, reason)], **more)
        if self.request.include_usage:
            yield self._event([], usage=self._usage(result))
        yield "data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.request.model}

    def _event(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> str:
        usage = {"usage": None} if self.request.include_usage else {}
        return event({**self._head("chat.completion.chunk"), "choices": choices, **usage, **more})

    def _usage(self, result: SolveResult) -> dict[str, int]:
        generated = result.generated_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self.prompt_tokens + generated,
        }

    def _choices(self, answer: Answer) -> Iterator[tuple[str, str, Any]]:
        """Text, reason of its end, and log-probabilities of each choice, the best first."""
        result = _result(answer)
        texts = [one.text for one in result.candidates[: self.request.n]] or [result.text]
        texts[0] = result.text
        reason = "stop"
        if result.answer is None and (result.stop in OUT_OF_ROOM or not result.text):
            reason = "length"
        for text in texts:
            kept = cut_at(text, self.request.stop)
            yield kept, reason, _logs_of(answer.logs.get(text, []), kept) if self.request.logprobs else None


def _result(answer: Answer) -> SolveResult:
    assert answer.searched.result is not None
    return answer.searched.result


def _delta(index: int, delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def cut_at(text: str, stops: Iterable[str]) -> str:
    """``text`` before the first of ``stops`` in it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _logs_of(logs: Sequence[TokenLog], kept: str) -> dict[str, Any]:
    """Log-probabilities of the tokens of a text, as far as it was kept."""
    found: list[dict[str, Any]] = []
    length = 0
    for one in logs:
        if length >= len(kept):
            break
        length += len(one.text)
        found.append(
            {
                "token": one.text,
                "logprob": max(LEAST_LOG_PROB, one.log_prob),
                "bytes": list(one.text.encode()),
                "top_logprobs": [],
            }
        )
    return {"content": found, "refusal": None}


def progress_line(status: Status) -> str:
    """How far a search is, in a line; the queue where it has not begun."""
    if not status.sims_total:
        return "waiting for a free slot\n"
    return (
        f"{status.sims}/{status.sims_total} simulations, {status.finished} finished texts, "
        f"{status.generated_tokens} tokens, {status.seconds:.0f} s\n"
    )


def event(data: Mapping[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def model_entry(name: str, created: int) -> dict[str, Any]:
    """One entry of ``/v1/models``."""
    return {"id": name, "object": "model", "created": created, "owned_by": "colasearch"}
