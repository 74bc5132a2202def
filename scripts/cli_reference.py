"""Writes docs/cli/: a page for each command, with what its ``--help`` says.

    python scripts/cli_reference.py            # write the pages
    python scripts/cli_reference.py --check    # exit code 1 where a page is not what would be written

``tests/test_docs.py`` runs the check.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from colasearch.benchmarks.names import BENCHMARKS
from colasearch.cli.main import COMMANDS, group

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "cli"
WIDTH = 100
"""Columns of the help texts, whatever terminal the script runs in."""
SAME = BENCHMARKS.keys() - {"countdown"}
"""Benchmarks whose options are those of ``bench countdown``."""


def pages() -> dict[str, str]:
    """Text of each page by file name."""
    names = sorted(COMMANDS)
    listed = "\n".join(f"| [`{name}`]({name}.md) | {COMMANDS[name][1]} |" for name in names)
    contents = "\n".join(names)
    index = (
        "# Command line\n\nWhat `--help` says, command by command (written by `scripts/cli_reference.py`).\n\n"
        f"| command | |\n| --- | --- |\n{listed}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{contents}\n```\n"
    )
    return {"index.md": index} | {f"{name}.md": page(name) for name in names}


def page(name: str) -> str:
    """One command, with the commands below it."""
    context = click.Context(group, info_name="colasearch", **group.context_settings)
    command = group.get_command(context, name)
    assert command is not None
    parts = [f"# {name}\n"]
    for words, text in helps(command, name, context):
        heading = "" if words == [name] else f"\n## {' '.join(words)}\n"
        if words == ["bench", "countdown"]:
            heading += "\nAll benchmarks have these options.\n"
        parts.append(f"{heading}\n```text\n{text}\n```\n")
    return "".join(parts)


def helps(command: click.Command, name: str, above: click.Context) -> Iterator[tuple[list[str], str]]:
    """Words and help of a command and all below it."""
    context = click.Context(
        command, parent=above, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH, **command.context_settings
    )
    words = context.command_path.split()[1:]
    yield words, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            if not found.hidden and not (words == ["bench"] and below in SAME):
                yield from helps(found, below, context)


def main() -> int:
    """Write or check the pages."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if "--check" in sys.argv[1:]:
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        if stale:
            print(f"docs/cli is not what --help says ({', '.join(stale)}); run python scripts/cli_reference.py")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
