"""Summaries of runs, as tests compare them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def timeless(value: Any) -> Any:
    """A summary without what may differ between runs: times."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k != "seconds"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def summary_of(folder: Path) -> Any:
    return timeless(json.loads((folder / "summary.json").read_text()))
