"""The command line for tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forked import ForkedCommands


@pytest.fixture(scope="session")
def colasearch(private_cache) -> Iterator[ForkedCommands]:
    """``colasearch(*args, stdin=b"", env=None)``: a finished process with text output."""
    with ForkedCommands() as commands:
        yield commands
