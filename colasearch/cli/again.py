"""What to type to go on with a run that was stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from colasearch.storage.runs import MANIFEST_NAME


def resume_command(context: click.Context, output: Path) -> str:
    """The command line of ``context`` with ``--output`` and ``--resume``, quoted for a shell."""
    given = context.find_root().obj
    args = list(given) if isinstance(given, list) else sys.argv[1:]
    if not any(arg == "--output" or arg.startswith("--output=") for arg in args):
        args += ["--output", str(output)]
    return shlex.join(["colasearch", *args, *([] if "--resume" in args else ["--resume"])])


def say_how_to_go_on(context: click.Context, output: Path) -> None:
    """Name the folder and the command, on standard error."""
    click.echo(f"What is finished is in {output}; go on with:\n  {resume_command(context, output)}", err=True)


@contextmanager
def saying_how_to_go_on(context: click.Context, output: Path) -> Iterator[None]:
    """Within, whatever ends a run early is followed by how to go on, if the run has begun."""
    try:
        yield
    except BaseException:
        if (output / MANIFEST_NAME).is_file():
            say_how_to_go_on(context, output)
        raise
