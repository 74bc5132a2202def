"""Tasks: what to tell the model, for each kind of problem. Training and solving use the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.ends import THOUGHT, THOUGHT_END, chat_text, encode, first_tokens
from colasearch.problem import Problem


def _math_request(problem: Problem) -> str:
    return f"{problem.text.strip()}\nPut the final answer in \\boxed{{}}."


def _countdown_request(problem: Problem) -> str:
    numbers = problem.data.get("numbers")
    if numbers is None:
        return problem.text.strip()
    listed = ", ".join(str(n) for n in numbers)
    often = "exactly" if problem.data.get("use") == "all" else "at most"
    return (
        f"Use the numbers {listed}, each {often} once, with + - * / and parentheses to make "
        f"{problem.data['target']}.\nPut the final expression in \\boxed{{}}."
    )


@dataclass(frozen=True, slots=True)
class Task:
    """How problems of one kind are put to the model.

    Attributes:
        name: As in ``--task``; the verifier registry uses the same name.
        request: The user's message for a problem.
        branch_below: Where steps of a search end, unless the user says otherwise; see ``WorldConfig.branch_below``.
        text_tokens: Longest text that a solution is expected to take, in tokens; see ``defaults.text_limit``.
        system: The system text that the task asks for; empty leaves that to the model's chat template.
    """

    name: str
    request: Callable[[Problem], str]
    branch_below: float = 0.0
    text_tokens: int = 1024
    system: str = ""


TASKS = {
    "math": Task("math", _math_request, branch_below=0.9),
    "countdown": Task("countdown", _countdown_request, branch_below=0.9),
    "procedural": Task("procedural", _math_request),
    "format": Task("format", lambda problem: problem.text.strip()),
}


def get_task(name: str) -> Task:
    """The task called ``name``.

    Raises:
        InputError: There is none.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; known tasks are {', '.join(sorted(TASKS))}")
    return TASKS[name]


def behind_thought(text: str) -> str:
    """``text`` without the thought that it begins with; nothing where the thought is not closed."""
    _, closed, behind = text.rpartition(THOUGHT_END)
    return behind if closed or THOUGHT not in text else ""


def prompt_text(tokenizer: Any, problem: Problem) -> str:
    """The prompt of ``problem``: the tokenizer's chat template where it has one, else a plain layout.

    Without a system text of the task's own, a template writes the one that its model was trained with, if any.
    """
    task = get_task(problem.task)
    request = task.request(problem)
    if not getattr(tokenizer, "chat_template", None):
        return f"{task.system}\n\n" * bool(task.system) + f"Problem: {request}\nSolution: "
    asked = {"role": "user", "content": request}
    if not task.system:
        return chat_text(tokenizer, [asked], answer_next=True)
    try:
        return chat_text(tokenizer, [{"role": "system", "content": task.system}, asked], answer_next=True)
    except PrerequisiteError:  # some templates (Gemma's) know no system text
        asked["content"] = f"{task.system}\n\n{request}"
        return chat_text(tokenizer, [asked], answer_next=True)


def prompt_tokens(tokenizer: Any, problem: Problem) -> list[int]:
    """Token ids of the prompt of ``problem``; a plain layout begins as the tokenizer begins texts (BOS)."""
    tokens = encode(tokenizer, prompt_text(tokenizer, problem))
    return tokens if getattr(tokenizer, "chat_template", None) else [*first_tokens(tokenizer), *tokens]
