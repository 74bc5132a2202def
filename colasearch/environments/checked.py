"""A user's environment, looked at whenever it answers: what is wrong with it costs one episode and says what it is."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

from colasearch.environments.base import EnvironmentFault, Outcome, Start
from colasearch.errors import ColasearchError

LONGEST = 20_000
"""Characters of an observation, or of an action, that are kept."""


class Checked:
    """An environment whose answers are what they must be.

    Attributes:
        inner: The user's.
        name: For messages.
        where: The name with the episode that it is in.
    """

    def __init__(self, inner: Any, name: str) -> None:
        for method in ("reset", "step"):
            if not callable(getattr(inner, method, None)):
                raise EnvironmentFault(
                    f"environment {name} has no {method}; it needs reset(task, variation) and step(text)"
                )
        self.inner, self.name = inner, name
        self.where = name

    @property
    def can_copy(self) -> bool:
        """Whether it has ``copy``."""
        return callable(getattr(self.inner, "copy", None))

    @property
    def gives_actions(self) -> bool:
        """Whether it has ``valid_actions``."""
        return callable(getattr(self.inner, "valid_actions", None))

    @property
    def has_gold(self) -> bool:
        """Whether it has ``gold``."""
        return callable(getattr(self.inner, "gold", None))

    def reset(self, start: Start) -> str:
        """Begin an episode; the first observation.

        Raises:
            EnvironmentFault: It raised, or gave no text.
        """
        self.where = f"{self.name}, episode {start.id}"
        return self._text("reset", self._call("reset", start.task, start.variation))

    def step(self, action: str) -> Outcome:
        """Act.

        Raises:
            EnvironmentFault: It raised, or gave something else than a text, a finite number and a truth value.
        """
        found = self._call("step", action)
        if not isinstance(found, tuple | list) or len(found) != 3:
            size = f" of {len(found)} parts" if isinstance(found, tuple | list) else ""
            raise self._wrong("step", f"gave a {type(found).__name__}{size}; return (observation, reward, done)")
        observation, reward, done = found
        ended = self._truth("step", "done", done)
        text, number = self._text("step", observation), self._number(reward)
        said = None
        if ended and callable(getattr(self.inner, "success", None)):
            said = self._truth("success", "its answer", self._call("success"))
        return Outcome(text, number, ended, said)

    def valid_actions(self) -> tuple[str, ...] | None:
        """What can be done now, each once; None where anything may be tried.

        Raises:
            EnvironmentFault: It raised, or gave no texts.
        """
        if not self.gives_actions:
            return None
        found = self._call("valid_actions")
        return None if found is None else self._texts("valid_actions", found)

    def gold(self) -> tuple[str, ...] | None:
        """Actions that solve the episode from its beginning; None where the environment knows none.

        Raises:
            EnvironmentFault: It raised, or gave no texts.
        """
        if not self.has_gold:
            return None
        found = self._call("gold")
        return None if found is None else self._texts("gold", found, once=False)

    def copy(self) -> Checked:
        """Another one in the same state.

        Raises:
            EnvironmentFault: It raised, or gave itself or no environment.
        """
        found = self._call("copy")
        if found is self.inner:
            raise self._wrong("copy", "gave the environment itself; return another one, in the same state")
        try:
            copied = Checked(found, self.name)
        except EnvironmentFault:
            raise self._wrong("copy", f"gave a {type(found).__name__}, which has no reset and step") from None
        copied.where = self.where
        return copied

    def close(self) -> None:
        """End it; what goes wrong then matters to nobody."""
        if callable(getattr(self.inner, "close", None)):
            with contextlib.suppress(Exception):
                self.inner.close()

    def _call(self, method: str, *given: Any) -> Any:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # results alone go to standard output
                return getattr(self.inner, method)(*given)
        except ColasearchError:
            raise
        except (Exception, SystemExit) as error:  # the user's code
            said = " ".join(str(error).split())[:300]
            asked = f" on {given[0]!r}"[:100] if method == "step" else ""
            raise self._wrong(method, f"raised {type(error).__name__}{asked}: {said}") from error

    def _wrong(self, method: str, what: str) -> EnvironmentFault:
        return EnvironmentFault(f"environment {self.where}: {method} {what}")

    def _text(self, method: str, found: Any) -> str:
        if not isinstance(found, str):
            shown = f" ({str(found)[:60]!r})"
            raise self._wrong(method, f"gave an observation that is a {type(found).__name__}{shown}; return a text")
        return clean(found)

    def _number(self, found: Any) -> float:
        try:
            number = float(found)
        except (TypeError, ValueError, OverflowError):
            raise self._wrong("step", f"gave the reward {str(found)[:60]!r}; return a number") from None
        if isinstance(found, str) or not math.isfinite(number):
            raise self._wrong("step", f"gave the reward {str(found)[:60]!r}; return a finite number")
        return number

    def _truth(self, method: str, what: str, found: Any) -> bool:
        try:
            if not isinstance(found, str | bytes | None | tuple | list | dict) and found in (0, 1):
                return bool(found)
        except Exception:  # comparing a stranger's object may raise anything
            pass
        raise self._wrong(method, f"gave {str(found)[:60]!r} for {what}; return True or False")

    def _texts(self, method: str, found: Any, once: bool = True) -> tuple[str, ...]:
        wrong = self._wrong(method, f"gave a {type(found).__name__}; return a list of texts")
        if isinstance(found, str | bytes) or not isinstance(found, Iterable):
            raise wrong
        rows = list(found)
        for row in rows:
            if not isinstance(row, str) or not row.strip():
                raise self._wrong(method, f"gave {str(row)[:60]!r} among its actions; each must be a text")
        if isinstance(found, set | frozenset):
            rows = sorted(rows)  # a set has another order in every process
        texts = [one_line(row) for row in rows]
        return tuple(dict.fromkeys(texts)) if once else tuple(texts)


def clean(text: str) -> str:
    """An observation as it is used: no NUL or lone surrogates, newlines as newlines, at most ``LONGEST`` characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-8", "replace").decode()[:LONGEST].strip()


def apart(now: object, before: object) -> str:
    """Where two answers part, for messages: what is there now, and what was there before."""
    texts = str(now), str(before)
    same = next((i for i, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
    begin = max(0, same - 20)
    new, old = ((".." if begin else "") + text[begin : begin + 80] for text in texts)
    return f"{new!r}, not {old!r}"


def one_line(text: str) -> str:
    """An action as it is used: blanks at both ends and line breaks taken out."""
    return " ".join(clean(text).split("\n")).strip()


Make = Callable[[], Checked]
