"""Tasks: what to tell the model, for each kind of problem. Training and solving use the same prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from colasearch.errors import InputError
from colasearch.model.ends import chat_text, encode, first_tokens
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
    """

    name: str
    request: Callable[[Problem], str]
    branch_below: float = 0.0


TASKS = {
    "math": Task("math", _math_request, branch_below=0.9),
    "countdown": Task("countdown", _countdown_request, branch_below=0.9),
    "procedural": Task("procedural", _math_request),
}


def get_task(name: str) -> Task:
    """The task called ``name``.

    Raises:
        InputError: There is none.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; known tasks are {', '.join(sorted(TASKS))}")
    return TASKS[name]


def prompt_text(tokenizer: Any, problem: Problem) -> str:
    """The prompt of ``problem``: the tokenizer's chat template where it has one, else a plain layout."""
    request = get_task(problem.task).request(problem)
    if getattr(tokenizer, "chat_template", None):
        return chat_text(tokenizer, [{"role": "user", "content": request}], answer_next=True)
    return f"Problem: {request}\nSolution: "


def prompt_tokens(tokenizer: Any, problem: Problem) -> list[int]:
    """Token ids of the prompt of ``problem``; a plain layout begins as the tokenizer begins texts (BOS)."""
    tokens = encode(tokenizer, prompt_text(tokenizer, problem))
    return tokens if getattr(tokenizer, "chat_template", None) else [*first_tokens(tokenizer), *tokens]
