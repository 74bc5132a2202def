"""What a task is: how problems of one kind are asked, what of a text is the answer, and who says that it is right."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.rows import GOLD_NAMES, Row
from colasearch.tasks.styles import THINK, cut, style_of
from colasearch.verifiers import canonical_key, extract_answer
from colasearch.verifiers.format import STYLES as FORMS
from colasearch.verifiers.registry import VERIFIERS

Message = Mapping[str, str]
"""A chat message: ``role`` and ``content``."""
BOXED = "{problem}\nPut the final answer in \\boxed{}."
"""The request of a task that names none."""
_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True)
class Task:
    """How problems of one kind are put to the model, and how its texts are judged.

    Attributes:
        name: As in ``--task``, and in messages.
        request: The user's message for a problem: a text in which ``{problem}`` and ``{COLUMN}`` of ``data`` are filled
            in, or a function of the problem that returns a text or a list of chat messages.
        system: The system text that the task asks for; empty leaves that to the model's chat template.
        answer: Finds the answer in a text; None where there is none. Left out: as the verifier does.
        verifier: Name of one of ours (``colasearch.verifiers.registry``), an object with the interface of
            ``verifiers.base``, or a function: ``f(problem, answer)`` where the problem alone says what is right, so
            that a search may use it, or ``f(problem, answer, gold)``. A function returns a bool, a number in [0, 1], or
            None where nothing can be said.
        key: Answers with equal keys are one candidate of a vote. Left out: mathematically equal ones.
        columns: Names of a row's columns in the task's data, ours to theirs: ``{"problem": "Q", "answer": "A"}``.
        data: Columns that a problem carries beside its wording, for ``request`` and ``verifier``; ``?`` behind a name
            says that a row may lack it. The gold answer is none of them: a search sees them.
        prompt: Style of the prompt; see ``tasks.styles``.
        form: What the format reward of training asks for; see ``verifiers.format``.
        branch_below: Where steps of a search end, unless the user says otherwise; see ``WorldConfig.branch_below``.
        text_tokens: Longest text that a solution is expected to take, in tokens; see ``defaults.text_limit``.
        equations: Texts claim their equations between numbers to be true, so a false one is a mistake.
        uses_numbers: Solutions are expected to use the problem's numbers.
        paper: The request in the style ``paper``, where that is another one.
        read: Reads ``data`` from a row (and what rows have unless they say otherwise), in place of ``data``.
        wording: The wording of a problem whose row has none, made of its ``data``.

    Raises:
        InputError: A part cannot be used.
    """

    name: str
    request: str | Callable[[Problem], Any] = BOXED
    system: str = ""
    answer: Callable[[str], str | None] | None = None
    verifier: Any = "math"
    key: Callable[[str], Hashable] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    prompt: str = "chat"
    form: str = "boxed"
    branch_below: float = 0.0
    text_tokens: int = 1024
    equations: bool = False
    uses_numbers: bool = False
    paper: str = ""
    read: Callable[[Row, Mapping[str, Any]], dict[str, Any]] | None = None
    wording: Callable[[Mapping[str, Any]], str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.verifier, str) and self.verifier not in VERIFIERS:
            raise self._wrong(
                f"verifier is {self.verifier!r}; it must be one of {', '.join(sorted(VERIFIERS))}, or a Python "
                "function of (problem, answer) or (problem, answer, gold)"
            )
        if self.form not in FORMS:
            raise self._wrong(f"form is {self.form!r}; it must be one of {', '.join(FORMS)}")
        if not 0 <= self.branch_below <= 1:
            raise self._wrong(f"branch_below is {self.branch_below}; it must be between 0 and 1")
        if self.text_tokens < 1:
            raise self._wrong(f"text_tokens is {self.text_tokens}; it must be at least 1")
        style_of(self.prompt)
        told = {*GOLD_NAMES, self.columns.get("answer", "answer")} & {name.rstrip("?") for name in self.data}
        if told:
            raise self._wrong(
                f"data has {min(told)!r}, the gold answer, which no search may see; leave it out (a verifier with the "
                "parameters problem, answer, gold is given it)"
            )
        if isinstance(self.request, str) and not set(_NAME.findall(self.request)) & {"problem", *self.names}:
            known = ", ".join(f"{{{name}}}" for name in ("problem", *self.names))
            raise self._wrong(f"request {self.request[:60]!r} has no place for the problem; write {known} in it")

    def _wrong(self, what: str) -> InputError:
        return InputError(f"task {self.name!r}: its {what}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of ``data``."""
        return tuple(name.rstrip("?") for name in self.data)

    @property
    def style(self) -> str:
        """Name of the prompt's style, without a file."""
        return style_of(self.prompt)[0]

    @property
    def ends_at_box(self) -> bool:
        r"""Whether a text is over once a ``\\boxed{}`` is closed: nothing behind it changes the answer or the form."""
        return self.answer is None and self.form == "boxed"

    def messages(self, problem: Problem) -> list[dict[str, str]]:
        """The chat messages that ask ``problem``; where the problem itself came as messages, those.

        Raises:
            InputError: The task's function gives neither a text nor messages, or raises.
        """
        found = problem.data.get("messages")
        asked = self.request_of(problem) if found is None else _as_messages(found)
        if self.style == "think":
            asked[-1]["content"] += f"\n{THINK}"
        if self.system and asked[0]["role"] != "system":
            asked.insert(0, {"role": "system", "content": self.system})
        return asked

    def request_of(self, problem: Problem) -> list[dict[str, str]]:
        """The task's request for ``problem`` alone, whatever messages came with it; no system text or style is added.

        Raises:
            InputError: The task's function gives neither a text nor messages, or raises.
        """
        request = self.paper if self.paper and self.style == "paper" else self.request
        return _as_messages(
            self._filled(request, problem) if isinstance(request, str) else self._called(request, problem)
        )

    def _filled(self, request: str, problem: Problem) -> str:
        values = {name: _shown(problem.data[name]) for name in self.names if name in problem.data}
        values["problem"] = problem.text.strip()
        return _NAME.sub(lambda found: values.get(found[1], found[0]), request)

    def _called(self, request: Callable[[Problem], Any], problem: Problem) -> str | Sequence[Message]:
        try:
            found = request(problem)
        except Exception as error:  # the user's code
            raise self._wrong(
                f"request raised {type(error).__name__}: {str(error)[:200]}, for problem {problem.id}"
            ) from error
        if isinstance(found, str) and found.strip():
            return found
        if isinstance(found, list) and found and all(isinstance(m, Mapping) and {"role", "content"} <= {*m}
                                                     for m in found):  # fmt: skip
            return found
        raise self._wrong(
            f"request returned {str(found)[:60]!r}; it must return a text, or chat messages such as "
            '[{"role": "user", "content": "..."}]'
        )

    def extract(self, text: str) -> str | None:
        """The answer of a text; None where there is none. What stands behind a next problem's beginning is left out."""
        text = cut(text, self.style)
        if self.answer is None:
            return extract_answer(text, self.verifier if isinstance(self.verifier, str) else "math")
        try:
            found = self.answer(text)
        except Exception as error:  # the user's code; one text's fault is that text's alone
            warnings.warn(
                f"task {self.name!r}: answer raised {type(error).__name__}: {str(error)[:200]}; such texts have none",
                UserWarning,
                stacklevel=2,
            )
            return None
        return None if found is None or not str(found).strip() else str(found).strip()

    def key_of(self, answer: str) -> Hashable:
        """A key that equal answers share."""
        if self.key is not None:
            return self.key(answer)
        return canonical_key(answer, self.verifier if isinstance(self.verifier, str) else "math")

    def data_of(self, row: Row, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the problem of a row carries beside its wording.

        Args:
            row: With our names.
            defaults: What rows have unless they say otherwise.

        Raises:
            InputError: A column is missing.
        """
        if self.read is not None:
            return self.read(row, defaults or {})
        found = dict(defaults or {})
        for name in self.data:
            value = row.fields.get(name.rstrip("?"))
            if value is not None:
                found[name.rstrip("?")] = value
            elif not name.endswith("?") and name not in found:
                raise InputError(f"{row.lacks(name)}; the task {self.name!r} needs it")
        if "messages" in row.fields:
            found["messages"] = row.fields["messages"]
        return found


def _as_messages(found: str | Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": "user", "content": found}] if isinstance(found, str) else [dict(one) for one in found]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def last_line(text: str) -> str | None:
    """The last line with anything in it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def matching(pattern: str) -> Callable[[str], str | None]:
    """What the first group of ``pattern`` (or all of it) matched last in a text.

    Raises:
        InputError: It is no regular expression.
    """
    try:
        return partial(_matched, re.compile(pattern))
    except re.error as error:
        raise InputError(f"{pattern!r} is no regular expression: {error}") from None


def _matched(pattern: re.Pattern[str], text: str) -> str | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return None if found is None else found[1 if pattern.groups else 0]
