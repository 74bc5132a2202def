"""Runs one ``colasearch`` command as the child of an experiment, and never outlives it.

``python -m colasearch.experiments.child PARENT ARGUMENTS...`` is ``colasearch ARGUMENTS...``. Without this, a stage
whose experiment was killed with SIGKILL would go on writing while ``--resume`` starts the same stage beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from colasearch.verifiers.worker import die_with_parent


def main(args: Sequence[str]) -> int:
    """Run the command ``args[1:]`` as a child of process ``args[0]``; returns its exit code."""
    die_with_parent(int(args[0]))
    from colasearch.cli.main import main as command_line

    return command_line(args[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
