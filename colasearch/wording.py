"""Problems that can be told by their wording alone."""

from __future__ import annotations

import re
from typing import Any

from colasearch.problem import Problem

_LIST = r"(?P<numbers>\d{1,9}(?:(?:, ?| | and |, and )\d{1,9})+)"
COUNTDOWN_WORDINGS = (
    re.compile(
        rf"Make (?P<target>\d{{1,9}}) (?:from|with|using) {_LIST}"
        r"(?:,? (?:us(?:ing|e) )?(?:each|every)(?: number| one)?(?: at most| exactly| only)? once)?\.?",
        re.IGNORECASE,
    ),
    re.compile(
        rf"Use the numbers {_LIST}, each (?:at most|exactly) once,[^\d]*to make (?P<target>\d{{1,9}})\.?[^\d]*",
        re.IGNORECASE,
    ),
)
"""How training rows and the prompt word a Countdown problem. In the first the target comes before the numbers."""
ALL = re.compile(r"(?:exactly|each|every|number|one) once", re.IGNORECASE)
"""Asks for every number; "at most once" and "only once" do not."""


def countdown_data(text: str) -> dict[str, Any] | None:
    """``numbers``, ``target`` (and ``use``, where all must be used) of a Countdown wording; None for any other text."""
    worded = next(filter(None, (pattern.fullmatch(text) for pattern in COUNTDOWN_WORDINGS)), None)
    if worded is None:
        return None
    data: dict[str, Any] = {
        "numbers": [int(n) for n in re.findall(r"\d+", worded["numbers"])],
        "target": int(worded["target"]),
    }
    return data | {"use": "all"} if ALL.search(text) else data


def problem_of(text: str) -> Problem:
    """The problem of a text: Countdown where it is worded so, else mathematics."""
    data = countdown_data(text.strip())
    return Problem.from_text(text) if data is None else Problem.from_text(text.strip(), "countdown", data)
