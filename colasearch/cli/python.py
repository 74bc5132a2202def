"""Commands as Python functions: ``from colasearch import bench, train``. Options have the names and rules of the flags.

What a command does beside its search (run folders, resuming, checks of the user's files) lives with the command; so
these functions run the very command, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import click

from colasearch.cli.groups import near_names
from colasearch.cli.main import group
from colasearch.errors import ColasearchError, InputError

Output = str | PathLike[str]


def bench(name: str, *, output: Output, **options: Any) -> Path:
    """``colasearch bench NAME``: measure accuracy into a run folder.

    Args:
        name: Of the benchmark, such as ``countdown``; or ``rows``, with ``data=FILE``.
        output: The run folder.
        options: Flags of the command without dashes: ``sims=64``, ``limit=100``, ``resume=True``,
            ``check_steps=False``, ``option={"gumbel_scale": 0}``.

    Returns:
        The run folder.

    Raises:
        InputError: There is no such benchmark or option, or a value is wrong.
        ColasearchError: As the command; its ``exit_code`` is the command's.
    """
    return _run(["bench", name], Path(output), options)


def train(stage: str, *, output: Output, **options: Any) -> Path:
    """``colasearch train STAGE``: learn latent actions, policies, values; or make data for that.

    Args:
        stage: ``actions``, ``policy``, ``guide``, ``rl``, ``value``, ...: what ``colasearch train --help`` lists.
        output: Folder (or file) that it writes.
        options: Flags of the command without dashes, as for :func:`bench`: ``model="runs/actions/model"``,
            ``steps=100``.

    Returns:
        ``output``; the model of a training run is in its folder ``model``.

    Raises:
        InputError: There is no such stage or option, or a value is wrong.
        ColasearchError: As the command; its ``exit_code`` is the command's.
    """
    return _run(["train", stage], Path(output), options)


def _run(words: list[str], output: Path, options: Mapping[str, Any]) -> Path:
    """Run a command with its output."""
    try:
        context = click.Context(group)
        command: click.Command = group
        for word in words:
            assert isinstance(command, click.Group)
            _, found, _ = command.resolve_command(context, [word])
            assert found is not None
            command = found
        given = list(_words_of(command, {**options, "output": output}))
        code = group.main([*words, *given], standalone_mode=False, obj=[*words, *given])
    except click.ClickException as error:
        raise InputError(error.format_message()) from None
    if isinstance(code, int) and code not in (0, 1):
        raise ColasearchError(f"colasearch {' '.join(words)} ended with exit code {code}")
    return output


def _words_of(command: click.Command, options: Mapping[str, Any]) -> Iterator[str]:
    """Options as they would be typed.

    Raises:
        InputError: The command has no such option.
    """
    flags = [one for one in command.params if isinstance(one, click.Option)]
    known = {name: one for one in flags for name in _names_of(one)}
    for name, value in options.items():
        flag = known.get(name)
        if flag is None:
            near = near_names(name, sorted(known))
            raise InputError(f"{command.name} has no option {name!r}.{near}")
        if flag.is_flag:
            if value:
                yield flag.opts[0]
            elif flag.secondary_opts:
                yield flag.secondary_opts[0]
            continue
        if isinstance(value, Mapping):
            pairs = [f"{key}={one}" for key, one in value.items()]
            value = pairs if flag.multiple else ",".join(pairs)
        elif isinstance(value, list | tuple) and not flag.multiple:
            value = ",".join(map(str, value))
        for one in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            yield flag.opts[0]
            yield str(one)


def _names_of(flag: click.Option) -> set[str]:
    """Names of an option in Python: that of the settings, and the flag's own."""
    return {str(flag.name), *(opt.lstrip("-").replace("-", "_") for opt in flag.opts)}
