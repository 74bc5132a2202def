"""Lets tests import ``loopback``; without the extra ``[serve]`` there is nothing to test."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore_glob = [] if find_spec("uvicorn") and find_spec("openai") else ["test_*.py"]
