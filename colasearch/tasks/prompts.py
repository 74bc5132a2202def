"""The prompt of a problem, in the style that its task asks for. Training and solving use the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.ends import THOUGHT, THOUGHT_END, chat_text, encode, first_tokens
from colasearch.problem import Problem
from colasearch.rows import read_rows
from colasearch.tasks.problems import problem_of
from colasearch.tasks.registry import get_task
from colasearch.tasks.styles import FEW_SHOT, style_of
from colasearch.tasks.task import Task

Messages = list[dict[str, str]]
_ROLES = {"user": "User", "assistant": "Assistant", "system": "System"}


def behind_thought(text: str) -> str:
    """``text`` without the thought that it begins with; nothing where the thought is not closed."""
    _, closed, behind = text.rpartition(THOUGHT_END)
    return behind if closed or THOUGHT not in text else ""


def prompt_text(tokenizer: Any, problem: Problem) -> str:
    """The prompt of ``problem``: the tokenizer's chat template where it has one and the style uses it.

    Without a system text of the task's own, a template writes the one that its model was trained with, if any.

    Raises:
        InputError: The examples of ``few-shot`` cannot be read.
        PrerequisiteError: The chat template cannot lay out the messages.
    """
    task = get_task(problem.task)
    style, file = style_of(task.prompt)
    messages = task.messages(problem)
    if style == FEW_SHOT:
        at = int(messages[0]["role"] == "system")
        messages[at:at] = [dict(one) for one in _examples(file, problem.task)]
    if style == "paper":
        return _paper(messages)
    if not _has_template(tokenizer, task):
        return _plain(messages)
    if messages[0]["role"] != "system":
        return chat_text(tokenizer, messages, answer_next=True)
    try:
        return chat_text(tokenizer, messages, answer_next=True)
    except PrerequisiteError:  # some templates (Gemma's) know no system text
        system, first, *rest = messages
        first = {**first, "content": f"{system['content']}\n\n{first['content']}"}
        return chat_text(tokenizer, [first, *rest], answer_next=True)


def prompt_tokens(tokenizer: Any, problem: Problem) -> list[int]:
    """Token ids of the prompt of ``problem``; a plain layout begins as the tokenizer begins texts (BOS)."""
    tokens = encode(tokenizer, prompt_text(tokenizer, problem))
    task = get_task(problem.task)
    if _has_template(tokenizer, task) or task.style == "paper":
        return tokens
    return [*first_tokens(tokenizer), *tokens]


def _has_template(tokenizer: Any, task: Task) -> bool:
    """Whether the tokenizer's chat template lays out the prompt."""
    return task.style not in ("plain", "paper") and bool(getattr(tokenizer, "chat_template", None))


def _plain(messages: Messages) -> str:
    system = [one["content"] for one in messages if one["role"] == "system"]
    turns = [
        f"Problem: {one['content']}\nSolution: " if one["role"] == "user" else f"{one['content']}\n\n"
        for one in messages
        if one["role"] != "system"
    ]
    return "".join((*(f"{text}\n\n" for text in system), *turns))


def _paper(messages: Messages) -> str:
    system = [one["content"] for one in messages if one["role"] == "system"]
    turns = [f"{_ROLES.get(m['role'], m['role'])}: {m['content']}\n" for m in messages if m["role"] != "system"]
    return "".join((*(f"{text}\n\n" for text in system), *turns, "Assistant: "))


@lru_cache(maxsize=8)
def _examples(file: str, ref: str) -> tuple[dict[str, str], ...]:
    """The solved problems of a file as messages.

    Raises:
        InputError: It cannot be read, or a row has neither a solution nor an answer.
    """
    task = get_task(ref)
    found: Messages = []
    for row in read_rows(Path(file), task.columns):
        shown = row.fields.get("solution") or row.fields.get("answer")
        if not isinstance(shown, str | int | float):
            raise InputError(f"{row.lacks('solution', ' or answer')}; an example of {FEW_SHOT} is a solved problem")
        found.append(task.messages(problem_of(row, ref))[-1])
        found.append({"role": "assistant", "content": str(shown)})
    return tuple(found)
