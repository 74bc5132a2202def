"""The tasks that colasearch has. One of your own is made in the same way (docs/tasks.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.problem import Problem
from colasearch.rows import COUNTDOWN_DATA, Row, countdown_of, countdown_text
from colasearch.tasks.task import Task

PAPER = "Please reason step by step, and put your final answer within \\boxed{}.\n\n{problem}"
"""How CoLA's published evaluation asks."""


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


def _countdown_data(row: Row, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return countdown_of(row, defaults)


BUILTIN = (
    Task("math", branch_below=0.9, equations=True, uses_numbers=True, paper=PAPER),
    Task(
        "countdown",
        _countdown_request,
        verifier="countdown",
        branch_below=0.9,
        data=(*COUNTDOWN_DATA[:2], f"{COUNTDOWN_DATA[2]}?"),
        read=_countdown_data,
        wording=countdown_text,
    ),
    Task("procedural", verifier="procedural", data=("gym?",), paper=PAPER),
    Task("numeric", verifier="numeric", paper=PAPER),
    Task("choice", "{problem}\nPut the letter of the right choice in \\boxed{}.", verifier="choice"),
    Task("format", "{problem}", verifier="format"),
)
