"""Every error that colasearch raises on purpose, each with the exit code that the command line gives it.

A message says what is wrong (the value), the rule, and how to fix it. To add an error: inherit from
``ColasearchError`` and from the built-in exception that a caller who does not know us would catch, and set
``exit_code``. Errors must stay picklable (they cross process boundaries), so the message is the only argument.
"""

from __future__ import annotations


class ColasearchError(Exception):
    """Base of all deliberate errors; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class InputError(ColasearchError, ValueError):
    """The user's file, problem or option value cannot be used (exit code 2)."""

    exit_code = 2


class RewardError(InputError):
    """A user's reward that is of no use in any process: it gives no numbers, or numbers outside the scale."""

    exit_code = 2


class PrerequisiteError(ColasearchError, RuntimeError):
    """A model, package, data set or setting that the job needs is absent or unfit (exit code 3)."""

    exit_code = 3


class CorruptFileError(ColasearchError, ValueError):
    """A file is damaged, or was written by something incompatible (exit code 4)."""

    exit_code = 4


class ResourceError(ColasearchError, OSError):
    """The disk or the memory is exhausted (exit code 5)."""

    exit_code = 5


class LostError(ColasearchError, RuntimeError):
    """A problem was lost with its worker more often than is tried again (exit code 1)."""

    exit_code = 1
