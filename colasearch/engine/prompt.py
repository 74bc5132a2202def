"""From a problem to its prompt, with which a tree begins."""

from __future__ import annotations

from dataclasses import replace

from colasearch.errors import InputError
from colasearch.model.known import KNOWN
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens


def prompt_of(lm: LatentLM, problem: Problem, max_tokens: int) -> tuple[int, ...]:
    """The problem's prompt, which leaves room for a text of ``max_tokens``.

    A shipped model is asked in the words that it was trained on; what they leave out, the verifier still holds to.

    Raises:
        InputError: It leaves no such room in the base's context, or the task is unknown.
    """
    base, known = lm.base, KNOWN.get(lm.name)
    unasked = set(known.unasked if known else ()) & set(problem.data)
    if unasked:
        said = {key: value for key, value in problem.data.items() if key not in unasked}
        prompt = tuple(prompt_tokens(base.tokenizer, replace(problem, data=said)))
    else:
        prompt = tuple(prompt_tokens(base.tokenizer, problem))
    if len(prompt) + max_tokens > base.context_length:
        raise InputError(
            f"problem {problem.id}: its prompt has {len(prompt)} tokens and --max-tokens is {max_tokens}, but the "
            f"context of {base.identity.name} holds {base.context_length}; "
            "shorten the problem, lower --max-tokens, or use a model with a longer context"
        )
    return prompt
