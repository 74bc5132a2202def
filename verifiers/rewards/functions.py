"""A user's Python function as a reward: ``f(problems, texts)``, or TRL's ``f(prompts, completions, **columns)``."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from colasearch.errors import InputError, RewardError
from colasearch.problem import LabelledProblem
from colasearch.userfile import attribute_of, load_file
from colasearch.verifiers.rewards.base import Item, Score, checked, plain

TRL = ("prompts", "completions")
TRL_FILLED = ("completion_ids", "trainer_state", "log_extra", "log_metric")
"""Parameters of TRL's reward functions for which there is nothing here; they get None."""
GOLD = ("answer", "solution", "gold")
"""Columns under which a function may ask for the gold answer, where there is one."""


class FunctionReward:
    """Calls a function on a batch; its other parameters are filled with columns of the problems.

    A function that raises is called again text by text, so that one text's fault is that text's alone. What it prints
    goes to standard error.

    Args:
        name: Names it in messages.
        function: Takes lists of equal length: problems' wordings and texts; returns as many numbers or None.
        scale: See ``rewards.base``.

    Raises:
        RewardError: It cannot be called so.
    """

    def __init__(self, name: str, function: Callable[..., Any], scale: str = "given") -> None:
        self.name, self.function, self.scale = name, function, scale
        if not callable(function):
            raise RewardError(f"{name} is no function; write one that takes (problems, texts) and returns a list")
        given: Mapping[str, inspect.Parameter]
        try:
            given = inspect.signature(function).parameters
        except (TypeError, ValueError):  # of a built-in that does not say
            given = {}
        self.any_column = any(p.kind is p.VAR_KEYWORD for p in given.values())
        named = {key: p for key, p in given.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        self.trl = TRL[1] in named or (self.any_column and not named)
        others = [key for key in named if key not in TRL] if self.trl else list(named)[2:]
        if not self.trl and given and len(named) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in given.values()):
            raise RewardError(f"{name} takes {len(named)} argument(s); it must take (problems, texts)")
        self.pass_prompts = TRL[0] in named or self.any_column
        self.needed = [key for key in others if named[key].default is inspect.Parameter.empty]
        self.wanted = others

    @classmethod
    def from_file(cls, text: str, path: str, name: str, scale: str = "given") -> FunctionReward:
        """The function ``name`` of a file, which is run.

        Raises:
            RewardError: There is no such file or function, or the file does not run.
        """
        return cls(text, attribute_of(load_file(path), name, path), scale)

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text; see ``RewardSource``."""
        try:
            return self._called(problems, texts)
        except InputError:
            raise
        except Exception as error:
            if len(texts) == 1:
                return [Score(None, f"{type(error).__name__}: {str(error)[:200]}", failed=True)]
        return [one for item, text in zip(problems, texts, strict=True) for one in self.score([item], [text])]

    def _called(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        wordings = [plain(item).text for item in problems]
        columns = self._columns(problems)
        with contextlib.redirect_stdout(sys.stderr):
            if self.trl:
                prompts = {TRL[0]: wordings} if self.pass_prompts else {}
                found = self.function(**prompts, completions=list(texts), **columns)
            else:
                found = self.function(wordings, list(texts), **columns)
        if inspect.isawaitable(found):
            raise RewardError(f"{self.name} is an async function; write it as a plain one")
        try:
            values = list(found)
        except TypeError:
            raise RewardError(
                f"{self.name} returned {type(found).__name__}; it must return a list of numbers"
            ) from None
        if len(values) != len(texts):
            raise RewardError(f"{self.name} returned {len(values)} numbers for {len(texts)} texts; it must be one each")
        return [checked(value, self.scale) for value in values]

    def _columns(self, problems: Sequence[Item]) -> dict[str, list[Any] | None]:
        rows = [_row(item) for item in problems]
        names = list(self.wanted)
        if self.any_column:
            names += [key for key in dict.fromkeys(key for row in rows for key in row) if key not in names]
        filled: dict[str, list[Any] | None] = {}
        for key in names:
            if any(key in row for row in rows):
                filled[key] = [row.get(key) for row in rows]
            elif key in TRL_FILLED:
                filled[key] = None
            elif key in self.needed:
                known = ", ".join(sorted({key for row in rows for key in row})) or "none"
                raise RewardError(f"{self.name} asks for the column {key!r}; columns of these problems: {known}")
        return filled


def _row(item: Item) -> Mapping[str, Any]:
    """What is known of a problem beside its wording, by name."""
    row = {key: value for key, value in plain(item).data.items() if key not in TRL}
    if isinstance(item, LabelledProblem) and item.gold:
        row = {**dict.fromkeys(GOLD, item.gold), **row}
    return row
