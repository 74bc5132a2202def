"""Reading what the user gives: problem files, configuration files."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import click

from colasearch.cli.groups import near_names
from colasearch.errors import InputError, PrerequisiteError
from colasearch.tasks.reading import ROWS_SUFFIXES

MAX_PROBLEM_BYTES = 1 << 20
MAX_ROWS_BYTES = 64 << 20
"""Of a file of many problems, which its name must say."""


def check_stdin() -> None:
    """Refuse ``-`` where the command was started without standard input (``<&-``, some job systems).

    Raises:
        InputError: It is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed, so - cannot be read; redirect a file or a pipe to it")


def _read_stdin(most: int) -> bytes:
    check_stdin()
    try:
        return sys.stdin.buffer.read(most)
    except OSError as error:
        raise InputError(f"standard input cannot be read ({error.strerror}); give a file in place of -") from None


def read_text_file(name: str) -> str:
    """The text of file ``name``, or of standard input for ``-``; a BOM is dropped, line ends become newlines.

    Raises:
        InputError: Missing, a directory or pipe, empty, too large, binary or not UTF-8. Nothing large is read.
    """
    most = MAX_ROWS_BYTES if name.lower().endswith(ROWS_SUFFIXES) else MAX_PROBLEM_BYTES
    if name == "-":
        data, where = _read_stdin(MAX_PROBLEM_BYTES + 1), "standard input"
        size = len(data)
    else:
        path, where = Path(name), name
        try:
            info = path.stat()
        except FileNotFoundError:
            raise InputError(
                f"{name} does not exist; give a text file with the problem, a jsonl, JSON or CSV file of several, or - "
                "for stdin"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be opened ({error}); give a text file, or - for stdin") from None
        if stat.S_ISDIR(info.st_mode):
            raise InputError(f"{name} is a directory; give a text file with one problem, or - for stdin")
        if not stat.S_ISREG(info.st_mode):
            raise InputError(f"{name} is no regular file; to read from a pipe, give - and redirect it to stdin")
        size, data = info.st_size, b""
        if size <= most:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if size > most:
        at_least = "more than " if name == "-" else ""
        raise InputError(f"{where} has {at_least}{size:,} bytes; there may be at most {most:,}")
    if b"\0" in data:
        raise InputError(f"{where} holds a NUL byte at offset {data.index(0)}; a problem is plain UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; convert it to UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise InputError(f"{where} is empty; it must hold the problem's text")
    return text


def load_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Click callback of ``--config``: YAML options become defaults, below flags and environment variables.

    Raises:
        PrerequisiteError: The file cannot be read, is no mapping, or names an unknown option.
    """
    if value is None:
        return None
    import yaml

    try:
        data = yaml.safe_load(value.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PrerequisiteError(f"config file {value} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise PrerequisiteError(f"config file {value} holds no mapping; write lines such as `sims: 64`")
    options = {str(key).replace("-", "_"): item for key, item in data.items()}
    known = {p.name for p in ctx.command.params if isinstance(p, click.Option)} - {param.name}
    unknown = sorted(set(options) - known)
    if unknown:
        names = sorted(filter(None, known))
        raise PrerequisiteError(
            f"config file {value} sets unknown options {unknown}; this command knows {names}."
            f"{near_names(unknown[0], names)}"
        )
    many = {p.name for p in ctx.command.params if isinstance(p, click.Option) and p.multiple}
    listed = {key: [item] if key in many and isinstance(item, str) else item for key, item in options.items()}
    ctx.default_map = {**(ctx.default_map or {}), **listed}
    return value
