"""``colasearch bench``: benchmarks. One command a benchmark, made when it is asked for, and measurements of speed."""

from __future__ import annotations

import click

from colasearch.benchmarks.names import BENCHMARKS, ROWS, ROWS_HELP
from colasearch.cli.groups import NamedGroup

OTHERS: dict[str, tuple[str, str, str]] = {
    "diversity": ("colasearch.cli.bench_diversity", "diversity", "How different continuations under codes are."),
    "forgetting": ("colasearch.cli.bench_forgetting", "forgetting", "What RL cost a model on general text."),
    "searchers": ("colasearch.cli.bench_speed", "searchers", "Compare all searchers on worlds with known answers."),
    "throughput": ("colasearch.cli.bench_throughput", "throughput", "Measure tokens and simulations a second."),
}
"""Command: (module, attribute, one line of help)."""


class BenchGroup(NamedGroup):
    """The benchmarks by name, ``gym:TASK`` for any TASK, ``env:NAME``, and ``OTHERS``; imported when used.

    Without a name the rows of ``--data`` are the benchmark.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, with the name put in where options alone are given."""
        if args and args[0].startswith("--") and args[0] not in ("--", *ctx.help_option_names):
            args = [ROWS, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted({*BENCHMARKS, *OTHERS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called ``cmd_name``."""
        from importlib import import_module

        if cmd_name in OTHERS:
            module, attribute, _ = OTHERS[cmd_name]
            command = getattr(import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        if cmd_name.startswith("env:"):
            from colasearch.cli.bench_env import make_command as make_environment_command

            return make_environment_command(cmd_name)
        if cmd_name in (*BENCHMARKS, ROWS) or cmd_name.startswith("gym:"):
            from colasearch.cli.bench_run import make_command

            return make_command(cmd_name)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists from the tables alone."""
        with formatter.section("Benchmarks"):
            formatter.write_dl(
                [
                    *sorted(BENCHMARKS.items()),
                    ("env:NAME[:TASK]", "Episodes of an environment: house, scienceworld, textworld, FILE.py, ..."),
                    ("gym:TASK", "Any task of reasoning-gym."),
                    (f"[{ROWS}] --data FILE", ROWS_HELP),
                ]
            )
        with formatter.section("Measurements"):
            formatter.write_dl([(name, text) for name, (_, _, text) in sorted(OTHERS.items())])


@click.group(cls=BenchGroup, epilog="Example: colasearch bench math500 --sims 64 --output runs/math500")
def command() -> None:
    """Measure accuracy at equal tokens, and speed.

    A benchmark runs the chosen searcher next to greedy decoding, majority vote and best-of-N with the tokens that the
    search spent on the same problem.
    """
