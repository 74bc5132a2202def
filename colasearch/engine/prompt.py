"""From a problem to its prompt, with which a tree begins."""

from __future__ import annotations

from colasearch.errors import InputError
from colasearch.model.base import BaseModel
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens


def prompt_of(base: BaseModel, problem: Problem, max_tokens: int) -> tuple[int, ...]:
    """The problem's prompt, which leaves room for a text of ``max_tokens``.

    Raises:
        InputError: It leaves no such room in the base's context, or the task is unknown.
    """
    prompt = tuple(prompt_tokens(base.tokenizer, problem))
    if len(prompt) + max_tokens > base.context_length:
        raise InputError(
            f"problem {problem.id}: its prompt has {len(prompt)} tokens and --max-tokens is {max_tokens}, but the "
            f"context of {base.identity.name} holds {base.context_length}; "
            "shorten the problem, lower --max-tokens, or use a model with a longer context"
        )
    return prompt
