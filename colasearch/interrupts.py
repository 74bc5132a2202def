"""Ctrl-C and SIGTERM at moments when they can be obeyed in order.

Python raises what a signal's handler raises at any line. Two places cannot bear that: an import, where a library's bare
``except:`` may swallow it and the program goes on as if nothing had been asked, and a change that has half been made.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

IMPORTS = "<frozen importlib._bootstrap>"


class Stop:
    """A signal handler that raises ``error``, but where the signal meets an import ends the process then and there.

    That loses nothing that is finished: all that is written survives a kill. An import may take long, and what would
    be cleaned up after it is mostly not there yet.
    """

    def __init__(self, error: type[BaseException], message: str, code: int, entry: CodeType | None = None) -> None:
        """What to raise, or to say and the exit code.

        Args:
            error: Raised.
            message: Said on standard error, where the process ends here.
            code: Its exit code then.
            entry: The code at which the program begins; what imports the program itself does not count.
        """
        self._error, self._message, self._code, self._entry = error, message, code, entry

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal.

        Raises:
            BaseException: ``error``.
        """
        if self._imports(frame):
            os.write(2, f"Error: {self._message}\n".encode())  # sys.stderr may be in the midst of something itself
            os._exit(self._code)
        raise self._error

    def _imports(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not self._entry:
            if frame.f_code.co_filename == IMPORTS:
                return True
            frame = frame.f_back
        return False


class HeldInterrupts:
    """Keeps Ctrl-C until work that must not be torn apart is whole.

    What ``KeyboardInterrupt`` ends may hold half a change (a row taken out of one list and not yet in the next), which
    no cleaning up can tell from a whole one. Work inside ``with held():`` goes on to its end after the first Ctrl-C and
    ``check()`` raises it then; a second Ctrl-C raises at once.

    Outside the main thread, and where SIGINT has another handler than Python's own or ``Stop``, nothing is changed.

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
        known = before is signal.default_int_handler or isinstance(before, Stop)
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
