"""A prompt leaves room for the text that is to follow it."""

from __future__ import annotations

import pytest

from colasearch.engine.prompt import prompt_of
from colasearch.errors import InputError
from colasearch.problem import Problem


def test_prompt_and_text_fill_the_context_and_no_more(lm):
    problem = Problem("sum", "What is 2+2?")
    length = len(prompt_of(lm, problem, 1))
    room = lm.base.context_length - length
    assert len(prompt_of(lm, problem, room)) == length
    with pytest.raises(InputError, match=f"its prompt has {length} tokens and --max-tokens is {room + 1}, but"):
        prompt_of(lm, problem, room + 1)
