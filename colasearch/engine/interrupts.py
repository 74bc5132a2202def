"""Ctrl-C between the steps of a computation, never in the midst of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class HeldInterrupts:
    """Keeps Ctrl-C until work that must not be torn apart is whole.

    ``KeyboardInterrupt`` comes at any line, so what it ends may hold half a change (a row taken out of one list and not
    yet in the next), which no cleaning up can tell from a whole one. Work inside ``with held():`` goes on to its end
    after the first Ctrl-C and ``check()`` raises it then; a second Ctrl-C raises at once.

    Outside the main thread, and where another handler of SIGINT is set than Python's own, nothing is changed.

    Attributes:
        torn: A second Ctrl-C has cut work short; what it worked on may be inconsistent.
    """

    def __init__(self) -> None:
        self.torn = False
        self._wanted = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the first Ctrl-C while the block runs. Raises none of it at the end: results can be handed on first."""
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        try:
            signal.signal(signal.SIGINT, self._note)
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

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
