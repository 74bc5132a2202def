"""Styles of prompts (``--prompt``), by name.

``chat``: the tokenizer's chat template; where it has none, as ``plain``.
``plain``: ``Problem: ... Solution:``, for models that have not learned to chat.
``paper``: ``User: ... Assistant:``, without a beginning-of-text token, as CoLA was trained and evaluated.
``think``: as ``chat``, and the model is asked for ``<think>...</think><answer>...</answer>``.
``few-shot:FILE``: solved problems of a file come first: earlier turns of a chat, or plain blocks without a template.
"""

from __future__ import annotations

from colasearch.errors import InputError

STYLES = ("chat", "plain", "paper", "think")
FEW_SHOT = "few-shot"
THINK = (
    "First reason between <think> and </think>. Then write the final answer, and nothing else, between <answer> and "
    "</answer>."
)
"""What the style ``think`` adds to a request."""
_NEXT = {"plain": "\nProblem:", FEW_SHOT: "\nProblem:", "paper": "\nUser:"}
"""Where a model that goes on by itself begins another problem."""


def style_of(prompt: str) -> tuple[str, str]:
    """Name and file of a style; the file is empty for all but ``few-shot``.

    Raises:
        InputError: There is no such style.
    """
    name, _, path = prompt.partition(":")
    if (name in STYLES and not path) or (name == FEW_SHOT and path):
        return name, path
    raise InputError(f"the prompt style is {prompt!r}; it must be one of {', '.join(STYLES)}, or {FEW_SHOT}:FILE.jsonl")


def cut(text: str, style: str) -> str:
    """``text`` up to where it begins another problem."""
    mark = _NEXT.get(style)
    return text if mark is None else text.partition(mark)[0]
