"""What the disk refuses, told with the file's name and the exit code that belongs to it.

Python names a file in the error of ``open``, but not in those of writing, flushing and syncing, and libraries in other
languages raise errors of their own that carry the system's only as text. ``naming`` mends both where files are
written; ``as_told`` turns what arrives at the command line into our errors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from colasearch.errors import ColasearchError, PrerequisiteError, ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BROKEN = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
GONE = (errno.ENOENT, errno.ENOTDIR)
HANDLES = (errno.EMFILE, errno.ENFILE)
_NUMBER = re.compile(r"(?:\(os error |\[[Ee]rrno )(\d+)[\])]")
"""How Rust libraries (safetensors, tokenizers) and lists of failed copies (shutil) write the system's error."""


def number_of(error: BaseException) -> int | None:
    """The system's number of an error, also where a library has made another error of it; None if it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return None if found is None else int(found[1])


def is_disk(error: BaseException) -> bool:
    """Whether the disk is full or broken, as opposed to a file that is missing or says something wrong."""
    return number_of(error) in FULL + BROKEN


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give errors of the system within the block that name no file this ``path``.

    Args:
        path: What is read or written.
        temporary: What is written in its place until it is whole; nobody knows it by that name.

    Raises:
        OSError: In place of a library's own error that says the same.
    """
    try:
        yield
    except ColasearchError:
        raise
    except Exception as error:
        number = number_of(error)
        if number is None:
            raise
        named = _text(getattr(error, "filename", None))
        hidden = temporary is not None and named.startswith(str(temporary))
        if isinstance(error, OSError) and error.errno is not None:
            if not named or hidden:
                error.filename, error.filename2 = str(path), None
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""


def raise_disk(error: BaseException, path: Path) -> None:
    """Raise on an error of the disk where the caller makes another one of those that a damaged file causes.

    Raises:
        OSError: The disk is full or broken; names ``path``.
    """
    if is_disk(error):
        number = number_of(error) or errno.EIO
        raise OSError(number, os.strerror(number), _text(getattr(error, "filename", None)) or str(path)) from error


def as_told(error: Exception) -> ColasearchError | None:
    """Our error for one of the system's, with the file's name and what to do; None for one that is a bug of ours."""
    if current_folder_is_gone():
        return PrerequisiteError(
            "the current folder was deleted while the command ran; go to another folder and run the command again"
        )
    number = number_of(error)
    if number is None:
        return None
    where = _text(getattr(error, "filename", None)) or _stream(error)
    what = os.strerror(number)
    if number in FULL:
        return ResourceError(f"the disk is full ({where}: {what}); free some space and run again{_KEPT}")
    if number in BROKEN:
        return ResourceError(f"the disk failed ({where}: {what}); check it, then run again{_KEPT}")
    if number in HANDLES:
        return ResourceError(f"too many open files ({where}: {what}); allow more with `ulimit -n 1024`, and run again")
    if number == errno.ENOMEM:
        return ResourceError("out of memory; use a smaller --batch-size, --max-tokens or model")
    if number in FORBIDDEN:
        return PrerequisiteError(f"{where} cannot be used ({what}); change its permissions, or give another path")
    if number in GONE and _text(getattr(error, "filename", None)):
        return PrerequisiteError(f"{where} is not there, or was taken away while the command ran ({what})")
    return None


_KEPT = "; what is finished is kept, and --resume goes on with a run"


def _stream(error: BaseException) -> str:
    """What an error without a file's name is about: what was printed, or a file that a library made for itself."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("click", "rich"):
            last = trace.tb_frame.f_globals["__name__"]
            if last in ("click.utils", "rich.console"):
                return "standard output"
        trace = trace.tb_next
    return "a temporary file"


def current_folder_is_gone() -> bool:
    """Whether the folder in which the command was started has been deleted."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
