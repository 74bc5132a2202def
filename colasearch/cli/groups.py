"""A group of commands that says which name was meant, where one is mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import click


class NamedGroup(click.Group):
    """A click group whose error for an unknown command names those most like it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with near names in the error.

        Raises:
            UsageError: There is no such command.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = near_names(args[0], self.list_commands(ctx))
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(error.message + near, ctx) from None


def near_names(given: str, known: Iterable[str]) -> str:
    """`` Did you mean a or b?``, with a blank before it, for an error message; empty where nothing is near."""
    near = get_close_matches(given.lower(), list(known), n=3, cutoff=0.5)
    meant = " or ".join(filter(None, (", ".join(near[:-1]), *near[-1:])))
    return f" Did you mean {meant}?" if near else ""
