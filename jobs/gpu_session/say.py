"""What the session says, with the time."""

from __future__ import annotations

import time

BEGUN = time.monotonic()


def say(text: str) -> None:
    """A line with the seconds since the start."""
    print(f"[{time.monotonic() - BEGUN:6.1f} s] {text}", flush=True)
