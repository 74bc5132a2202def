"""``colasearch completion``: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

EPILOG = """\b
Add a line to your shell's start file:
  eval "$(colasearch completion bash)"                                          # ~/.bashrc
  eval "$(colasearch completion zsh)"                                           # ~/.zshrc
  colasearch completion fish > ~/.config/fish/completions/colasearch.fish       # once
"""


@click.command(name="completion", epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell."""
    from colasearch.cli.main import group

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(group, {}, "colasearch", "_COLASEARCH_COMPLETE")  # as click itself names it
    click.echo(made.source_template % made.source_vars())
