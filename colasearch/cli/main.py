"""The ``colasearch`` command: finds sub-commands lazily and turns errors into exit codes.

Exit codes: 0 done, 1 some problems errored, 2 usage or unusable input (an option's value, a missing or unreadable
file of problems, a folder that is no run), 3 a prerequisite (a package, a model, a cluster) or anything in the
configuration file, 4 corrupt or incompatible file, 5 disk full or broken, or out of memory, 130 and 143 for SIGINT and
SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click.core import ParameterSource

from colasearch import __version__
from colasearch.cli.groups import NamedGroup
from colasearch.disk import as_told, current_folder_is_gone
from colasearch.errors import ColasearchError
from colasearch.interrupts import Stop

# name: (module, one line of help). The help stands here so that `colasearch --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "adapt": ("colasearch.cli.adapt", "Give a base latent actions: from texts to a model in one command."),
    "bench": ("colasearch.cli.bench", "Measure accuracy at equal tokens, and speed."),
    "compare": ("colasearch.cli.compare", "Compare two benchmark runs, problem by problem."),
    "completion": ("colasearch.cli.completion", "Print what bash, zsh or fish need for completion."),
    "env": ("colasearch.cli.env", "Print versions, devices and folders, for bug reports."),
    "experiment": ("colasearch.cli.experiment", "Run a whole experiment, from nothing to a report."),
    "export": ("colasearch.cli.export", "Write a run's records as Parquet, or a model's base."),
    "iterate": ("colasearch.cli.iterate", "Let search and RL teach a model in turn."),
    "models": ("colasearch.cli.models", "List the known models; fetch one's weights."),
    "play": ("colasearch.cli.play", "Play one episode of an environment, and show it."),
    "serve": ("colasearch.cli.serve", "Serve searches to OpenAI's clients."),
    "solve": ("colasearch.cli.solve", "Solve one problem by tree search."),
    "train": ("colasearch.cli.train", "Learn latent actions, policies, values; tune a base."),
    "verify": ("colasearch.cli.verify", "Grade a file of answers."),
    "view": ("colasearch.cli.view", "Show a run's report and its search trees in a browser."),
}


class LazyGroup(NamedGroup):
    """A click group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of ``cmd_name``; its ``command`` is the click command."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: colasearch solve problem.txt --sims 64",
)
@click.version_option(__version__, prog_name="colasearch")
def group() -> None:
    """Solve reasoning problems by tree search over a language model's latent actions."""


class Terminated(BaseException):
    """SIGTERM arrived."""


def _from_config(error: click.ClickException) -> bool:
    """Whether what is wrong was written in the configuration file, all of whose faults have exit code 3."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None:
        return False
    return bool(context.get_parameter_source(parameter.name) is ParameterSource.DEFAULT_MAP)


def _fail(message: str, code: int) -> int:
    click.echo(f"Error: {message}", err=True)
    return code


def prepare() -> None:
    """Say what signals do, and how threads wait; to be done before anything heavy is imported."""
    signal.signal(signal.SIGTERM, Stop(Terminated, "terminated", 143, main.__code__))
    # Shells start background jobs with SIGINT ignored; `kill -INT` must end those with what they have, too.
    signal.signal(signal.SIGINT, Stop(KeyboardInterrupt, "interrupted", 130, main.__code__))
    # torch's threads spin while they wait for each other, which collapses where other programs want the cores
    # (docs/lab-notes); on an idle machine sleeping costs about a fifth. Takes effect because torch is imported later;
    # whoever sets the variable keeps their choice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (also the console script's entry point)."""
    prepare()
    if current_folder_is_gone():
        # Libraries look for themselves from here: BLAS ends the process with a message of its own.
        return _fail("the current folder was deleted; go to another folder and run the command again", 3)
    try:
        given = list(sys.argv[1:] if args is None else args)
        # ``obj`` is what was typed, for messages that say how to go on.
        code = group.main(args=given, standalone_mode=False, obj=list(given))
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return _fail("interrupted", 130)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Terminated:
        return _fail("terminated", 143)
    except click.ClickException as error:
        error.show()
        return 3 if _from_config(error) else 2
    except ColasearchError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory; use a smaller --batch-size, --max-tokens or model", 5)
    except Exception as error:
        if (known := as_told(error)) is None:
            raise
        return _fail(str(known), known.exit_code)


if __name__ == "__main__":
    sys.exit(main())
