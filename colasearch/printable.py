"""Text that came from elsewhere, made fit to be shown."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """``text`` with control characters (terminal escapes among them) replaced by a visible mark."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
