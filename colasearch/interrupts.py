"""Ctrl-C and SIGTERM at moments when they can be obeyed in order.

Python raises what a signal's handler raises at any line. Two places cannot bear that: an import, where a library's bare
``except:`` may swallow it and the program goes on as if nothing had been asked, and a change that has half been made.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

IMPORTS = "<frozen importlib._bootstrap>"
LOOK_AGAIN_S = 0.02


class AfterImports:
    """A signal handler that raises ``error``: at once, or, where the signal meets an import, when that has ended.

    A second signal raises at once wherever it comes.
    """

    def __init__(self, error: type[BaseException], entry: CodeType | None = None) -> None:
        """``entry`` is the code at which the program begins; what imports the program itself does not count."""
        self._error, self._entry = error, entry
        self._waiting = self._resent = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal.

        Raises:
            BaseException: ``error``.
        """
        resent, self._resent = self._resent, False
        if resent and not self._waiting:
            return  # a second signal was quicker
        if self._imports(frame) and (resent or not self._waiting):
            self._waiting = True
            _thread.start_new_thread(self._resend, (number,))  # takes no lock that the import may hold
            return
        self._waiting = False
        raise self._error

    def _imports(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not self._entry:
            if frame.f_code.co_filename == IMPORTS:
                return True
            frame = frame.f_back
        return False

    def _resend(self, number: int) -> None:
        time.sleep(LOOK_AGAIN_S)
        self._resent = True
        signal.raise_signal(number)


class HeldInterrupts:
    """Keeps Ctrl-C until work that must not be torn apart is whole.

    What ``KeyboardInterrupt`` ends may hold half a change (a row taken out of one list and not yet in the next), which
    no cleaning up can tell from a whole one. Work inside ``with held():`` goes on to its end after the first Ctrl-C and
    ``check()`` raises it then; a second Ctrl-C raises at once.

    Outside the main thread, and where SIGINT has another handler than Python's own or ``AfterImports``, nothing is
    changed.

    Attributes:
        torn: A second Ctrl-C has cut work short; what it worked on may be inconsistent.
    """

    def __init__(self) -> None:
        self.torn = False
        self._wanted = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the first Ctrl-C while the block runs. Raises none of it at the end: results can be handed on first."""
        before = signal.getsignal(signal.SIGINT)
        known = before is signal.default_int_handler or isinstance(before, AfterImports)
        if not known or threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            signal.signal(signal.SIGINT, self._note)
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        """Raise the Ctrl-C that was held, once.

        Raises:
            KeyboardInterrupt: There was one.
        """
        if self._wanted:
            self._wanted = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._wanted:
            self.torn = True
            raise KeyboardInterrupt
        self._wanted = True
