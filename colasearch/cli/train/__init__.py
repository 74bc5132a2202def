"""``colasearch train``: learn latent actions, guide the base with them, and improve policy and values by reward."""

from __future__ import annotations

from importlib import import_module

import click

from colasearch.cli.groups import NamedGroup

# name: (module, one line of help). The help stands here so that `colasearch train --help` imports no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "actions": ("actions", "Stage 1: inverse dynamics model, codebook and merge head from text."),
    "base": ("base", "Train a small base model over characters from scratch."),
    "evaluate": ("evaluate", "Measure a trained model on held-out text."),
    "guide": ("guide", "Fine-tune the base under given latent actions (FTA-I, FTA-P)."),
    "pairs": ("pairs", "Preference pairs out of scored texts."),
    "policy": ("policy", "Stage 2: clone the IDM's codes; or learn from search traces."),
    "problems": ("problems", "Make word problems or Countdown problems with worked solutions."),
    "reward": ("reward", "A reward model from pairs of a chosen and a rejected text."),
    "rl": ("rl", "Improve the policy (or, as control, the tokens) by reward."),
    "rollouts": ("rollouts", "Sample texts of labelled problems and log them with codes and rewards."),
    "solutions": ("solutions", "Collect the right texts that searches found, to fine-tune on."),
    "speed": ("speed", "Measure how fast this machine makes latent actions for a base."),
    "value": ("value", "Value and Q heads from search traces or logged rollouts."),
}


class TrainGroup(NamedGroup):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of ``cmd_name``; its ``command`` is the click command."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"colasearch.cli.train.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


EPILOG = """\b
Examples:
  colasearch train actions --data texts.jsonl --output runs/actions
  colasearch train policy --model runs/actions/model --data texts.jsonl --output runs/policy
  colasearch train guide --model runs/policy/model --data texts.jsonl --output runs/guided
  colasearch train rl --model runs/policy/model --data problems.jsonl --output runs/rl
  colasearch train value --model runs/rl/model --traces runs/bench --output runs/value
  colasearch train evaluate --model runs/policy/model --data texts.jsonl
"""


@click.group(name="train", cls=TrainGroup, epilog=EPILOG)
def command() -> None:
    """Learn latent actions from text (stages 1 and 2), then improve what uses them."""
