"""Requests of ``/v1/chat/completions``: what they may say, and the problem that a chat states."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.serve.errors import bad
from colasearch.tasks import get_task
from colasearch.tasks.reading import parse_problems

MOST_CHOICES = 128
MOST_STOPS = 4
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles that a message may have, and what the model's chat template is told."""
IGNORED = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "parallel_tool_calls", "reasoning_effort", "verbosity"),
        *("safety_identifier", "prompt_cache_key"),
    }
)
"""Fields that change nothing here."""
NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "top_p": ((1,), "a search draws as the server was told; leave it out, or give 1"),
    "frequency_penalty": ((0,), "a search has no penalties; leave it out, or give 0"),
    "presence_penalty": ((0,), "a search has no penalties; leave it out, or give 0"),
    "logit_bias": (({},), "a search has no biases; leave it out"),
    "tools": (([],), "the model calls no tools; leave it out"),
    "tool_choice": (("none", "auto"), "the model calls no tools; leave it out"),
    "functions": (([],), "the model calls no functions; leave it out"),
    "function_call": (("none", "auto"), "the model calls no functions; leave it out"),
    "response_format": (({"type": "text"},), 'texts are plain; leave it out, or give {"type": "text"}'),
    "modalities": ((["text"],), "texts alone are made; leave it out"),
    "audio": ((), "texts alone are made; leave it out"),
    "prediction": ((), "a search takes no prediction; leave it out"),
    "web_search_options": ((), "nothing is looked up; leave it out"),
    "top_logprobs": ((0,), "the token that was taken is the only one told; leave it out, or give 0"),
}
"""Fields that this server cannot obey, with the values that ask for nothing, and what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, its role as a chat template knows it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that can be obeyed.

    Attributes:
        model: Name, as it was sent.
        messages: The chat; the last one is the user's, and states the problem.
        n: Most choices.
        max_tokens: Longest text; None: as the server says.
        temperature: Of codes (or tokens); None: as the server says.
        seed: None: as the server says.
        stop: Texts are cut before the first of these.
        stream: Whether the answer comes in events.
        include_usage: Whether the last of them tells the tokens.
        logprobs: Whether log-probabilities of tokens are wanted.
    """

    model: str
    messages: tuple[Message, ...]
    n: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    logprobs: bool = False


FIELDS = frozenset(
    {
        *("model", "messages", "n", "max_tokens", "max_completion_tokens", "temperature", "seed", "stop", "logprobs"),
        *("stream", "stream_options"),
    }
)
"""Fields that are obeyed."""


def read_chat(data: bytes) -> ChatRequest:
    """The request of a body.

    Raises:
        ApiError: 400; it says which field is wrong, and the rule.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad("body", f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise bad("body", f"the body is a {type(body).__name__}; it must be a JSON object with model and messages")
    body = {name: value for name, value in body.items() if value is not None}
    _refuse_what_cannot_be_done(body)
    if not isinstance(body.get("model"), str):
        raise bad("model", "model is missing; GET /v1/models lists the names")
    most = {_whole(body, name, 1, 1 << 31) for name in ("max_tokens", "max_completion_tokens")} - {None}
    if len(most) > 1:
        raise bad("max_tokens", "max_tokens and max_completion_tokens differ; both mean the longest text: give one")
    stream, options = _flag(body, "stream"), body.get("stream_options", {})
    if not isinstance(options, dict) or (options and not stream):
        raise bad("stream_options", 'stream_options is for streams: {"stream": true, "stream_options": {...}}')
    return ChatRequest(
        model=body["model"],
        messages=_messages(body.get("messages")),
        n=_whole(body, "n", 1, MOST_CHOICES) or 1,
        max_tokens=next(iter(most), None),
        temperature=_temperature(body),
        seed=_whole(body, "seed", -(1 << 63), (1 << 63) - 1),
        stop=_stops(body.get("stop", ())),
        stream=stream,
        include_usage=_flag(options, "include_usage"),
        logprobs=_flag(body, "logprobs"),
    )


def _refuse_what_cannot_be_done(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in FIELDS or name in IGNORED:
            continue
        if name not in NEUTRAL:
            near = get_close_matches(name, [*FIELDS, *NEUTRAL], n=1)
            raise bad(name, f"the field {name!r} is not known here." + (f" Did you mean {near[0]}?" if near else ""))
        neutral, advice = NEUTRAL[name]
        if value not in neutral:
            raise bad(name, f"{name} is {_shown(value)}, which cannot be obeyed: {advice}", "unsupported_parameter")


def _whole(body: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise bad(name, f"{name} is {_shown(value)}; it must be a whole number from {least} to {most}")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad(name, f"{name} is {_shown(value)}; it must be true or false")
    return bool(value)


def _temperature(body: Mapping[str, Any]) -> float | None:
    value = body.get("temperature")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise bad("temperature", f"temperature is {_shown(value)}; it must be a number from 0 to 2")
    return float(value)


def _stops(value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if stops is None or len(stops) > MOST_STOPS or not all(isinstance(one, str) and one for one in stops):
        raise bad(
            "stop", f"stop is {_shown(value)}; it must be a text that is not empty, or up to {MOST_STOPS} of them"
        )
    return stops


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise bad("messages", "messages is missing or empty; give at least one, with role user")
    found = tuple(_message(one, at) for at, one in enumerate(value))
    if found[-1].role != "user":
        raise bad(
            "messages", f"the last message is of role {value[-1]['role']!r}; it must be user: it states the problem"
        )
    if not found[-1].content:
        raise bad("messages", "the last message is empty; it must state the problem")
    late = next((at for at, one in enumerate(found) if at and one.role == "system"), None)
    if late is not None:
        raise bad("messages", f"messages[{late}] is a system message; there may be one, and it must come first")
    return found


def _message(value: Any, at: int) -> Message:
    where = f"messages[{at}]"
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        role = value.get("role") if isinstance(value, dict) else None
        raise bad("messages", f"{where} has the role {_shown(role)}; it must be one of {', '.join(ROLES)}")
    content = value.get("content")
    if isinstance(content, list):
        parts: list[Any] = [one.get("text") for one in content if isinstance(one, dict) and one.get("type") == "text"]
        if len(parts) != len(content) or not all(isinstance(one, str) for one in parts):
            raise bad("messages", f'{where} has parts that are no text; give {{"type": "text", "text": "..."}} alone')
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise bad("messages", f"{where} has the content {_shown(content)}; it must be a text")
    if "\0" in content or any("\ud800" <= letter <= "\udfff" for letter in content):
        raise bad("messages", f"{where} holds a NUL or half of a surrogate pair; it must be plain text")
    # As `solve` reads a file: so the same problem has the same id, and the same answer.
    text = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip()
    return Message(ROLES[value["role"]], text)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def problem_of_chat(
    messages: tuple[Message, ...],
    task: str | None,
    prompt: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Problem:
    """The problem that a chat states: its last message, read as ``solve`` reads a file.

    The task words the request that the model sees in the last message's place. A system message and earlier turns come
    before it, as they are; the system message stands in for the task's own. A chat of one message is the very problem
    that ``solve`` makes of its text. The id of any other is a digest of all that is said, so that another chat is
    another problem.

    Args:
        messages: As :func:`read_chat` gives them.
        task: As in ``--task``.
        prompt: As in ``--prompt``.
        columns: As in ``--columns``.

    Raises:
        ApiError: The message states no problem, or several.
    """
    *earlier, last = messages
    try:
        problems = parse_problems(last.content, "-", task, prompt=prompt, columns=columns)
        if len(problems) > 1:
            raise InputError(f"the last message holds {len(problems)} problems; send one a request")
        (problem,) = problems
        if "messages" in problem.data:
            raise InputError("the last message has messages of its own; send them as the messages of the request")
        if not earlier:
            return problem
        asked = get_task(problem.task).request_of(problem)
    except InputError as error:
        raise bad("messages", str(error)) from None
    return _continued(problem, [{"role": one.role, "content": one.content} for one in earlier], asked)


def _continued(problem: Problem, told: list[dict[str, str]], asked: list[dict[str, str]]) -> Problem:
    """The problem with what was said before it."""
    is_system: Callable[[dict[str, str]], bool] = lambda one: one["role"] == "system"  # noqa: E731
    if is_system(told[0]):
        asked = [one for one in asked if not is_system(one)]
    elif is_system(asked[0]):
        told, asked = [asked[0], *told], asked[1:]
    whole = [*told, *asked]
    digest = hashlib.sha256(json.dumps([problem.id, whole]).encode()).hexdigest()[:16]
    return replace(problem, id=digest, data={**problem.data, "messages": whole})
