"""Tasks: what to tell the model for each kind of problem, what of its text is the answer, and who judges it.

A task is a :class:`Task`. It is found by its name (:func:`register`), as an entry point of the group
``colasearch.tasks``, or in a file that a user names; docs/tasks.md shows how to bring one.
"""

from colasearch.tasks.problems import labelled_of, problem_of, task_of
from colasearch.tasks.prompts import behind_thought, prompt_text, prompt_tokens
from colasearch.tasks.registry import (
    TASKS,
    adopt,
    columns_of,
    get_task,
    hashes_of,
    plain_columns,
    register,
    settled,
)
from colasearch.tasks.task import BOXED, Task
from colasearch.tasks.verifying import (
    answer_groups,
    answer_key,
    answer_of,
    answer_verifier,
    checkable_verifier,
    is_checkable,
    text_verifier,
)

__all__ = [
    "BOXED",
    "TASKS",
    "Task",
    "adopt",
    "answer_groups",
    "answer_key",
    "answer_of",
    "answer_verifier",
    "behind_thought",
    "checkable_verifier",
    "columns_of",
    "get_task",
    "hashes_of",
    "is_checkable",
    "labelled_of",
    "plain_columns",
    "problem_of",
    "prompt_text",
    "prompt_tokens",
    "register",
    "settled",
    "task_of",
    "text_verifier",
]
