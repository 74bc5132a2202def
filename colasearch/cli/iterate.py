"""``colasearch iterate``: search and RL alternating, on problems or on an environment (``iterate_episodes``)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.environments import server_options
from colasearch.cli.options import config_option, key_values, option, stage_log_option, worker_options
from colasearch.cli.tasks import task_options
from colasearch.experiments.recipes.episode_iterations import EpisodeNumbers
from colasearch.experiments.recipes.iterations import Iterations, Numbers

if TYPE_CHECKING:
    from colasearch.experiments.recipes.iterating import Common
    from colasearch.problem import LabelledProblem

EPILOG = """\b
Examples:
  colasearch iterate --model runs/value/model --data train.jsonl --task countdown --output runs/it
  colasearch iterate --model smollm2-135m --data gsm8k_train.jsonl --iterations 5 --sims 32 --output runs/it
  colasearch iterate --model smollm2-135m --data gsm8k_train.jsonl --output runs/it --resume
  colasearch iterate --model runs/house-policy/model --data env:house --iterations 3 --sims 64 --output runs/it
"""
COUNT = click.IntRange(min=1)
PATH = click.Path(path_type=Path)


def option_texts(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    """``NAME=VALUE`` texts, checked."""
    found = key_values(context, parameter, value)
    return tuple(f"{name}={json.dumps(one) if not isinstance(one, str) else one}" for name, one in found.items())


@dataclass(frozen=True, kw_only=True)
class IterateSettings(Numbers, EpisodeNumbers):
    """``colasearch iterate``: fields are named as the flags are; ``options`` are texts ``NAME=VALUE``.

    ``data`` may name an environment in place of files.
    """

    data: tuple[Path, ...]
    heldout_data: tuple[Path, ...] = ()
    output: Path
    resume: bool = False
    prompt: str | None = None
    columns: Mapping[str, str] | None = None

    def whole_task(self) -> str:
        """The whole reference of the problems' task.

        Raises:
            UsageError: The base is to learn from texts, on prompts of a style that such learning does not have.
        """
        from colasearch.rows import read_rows
        from colasearch.tasks import get_task, settled, task_of

        task = self.task or task_of([row for path in self.data for row in read_rows(path, self.columns)])
        task = settled(task, prompt=self.prompt, columns=self.columns)
        style = get_task(task).style
        if self.guide_epochs and style not in ("chat", "think"):
            raise click.UsageError(
                f"--guide-epochs trains the base on prompts in the style chat (or think), and these are {style}; give "
                "--guide-epochs 0, or another style"
            )
        return task

    def recipe(self, task: str) -> Iterations:
        """Every number of the run, of problems of ``task``."""
        from colasearch.rewards import settled

        whole = {"task": task, "reward": settled(self.reward)}
        return Iterations(**{**self.numbers(Numbers), **whole}, has_value=self.has("value_hidden"))

    def numbers(self, kind: type[Common]) -> dict[str, Any]:
        """Those of a kind of run. The path of a model's folder is made whole: stages run elsewhere."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(kind)}
        folder = Path(self.model)
        return {**found, "model": str(folder.resolve()) if folder.is_dir() else self.model}

    def has(self, size: str) -> bool:
        """Whether the model has a part, by its ``size``; one not at hand is asked for its parts when it is loaded."""
        from colasearch.model.folders import latents_folder
        from colasearch.storage.files import read_json

        folder = latents_folder(self.model)
        return folder is None or bool(read_json(folder / "config.json").get(size))


@click.command(name="iterate", epilog=EPILOG)
@option("--model", default="smollm2-135m", help="Known name, folder or hub name; with a policy.")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=PATH,
    help="Problems to learn from, with answers. Or env:NAME[:TASK], env:FILE.py:Class: an environment, whose episodes "
    "are the problems (docs/environments.md).",
)
@click.option("--heldout-data", multiple=True, type=PATH, help="Problems to measure on [default: some of --data].")
@option(
    "--heldout",
    type=click.FloatRange(0, 1),
    default=0.1,
    help="Share of --data that is held out; of an environment so many dev variations are measured on.",
)
@task_options
@option("--iterations", type=COUNT, default=3, help="How many.")
@option("--problems-per-iteration", type=COUNT, default=500, help="Problems searched in each.")
@option("--searcher", default="gumbel", help="Search algorithm: gumbel, puct, ...")
@option("--sims", type=COUNT, default=64, help="Simulations a problem.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", callback=option_texts, help="An option of the searcher."
)
@option("--branch-below", type=click.FloatRange(0, 1), help="Where steps end, as in `solve` [default: the task's own].")
@option("--max-step-tokens", type=COUNT, default=24, help="Longest step of a tree.")
@option(
    "--max-tokens",
    type=COUNT,
    default=None,
    help="Longest text, in searches and in RL [default: by model and task, as in solve]; of an environment longest "
    "action [24].",
)
@option("--temperature", type=click.FloatRange(min=0, min_open=True), help="Of codes, in searches.")
@option("--batch-size", type=COUNT, default=16, help="Problems searched at a time.")
@option("--max-steps", type=COUNT, help="Longest episode of an environment, in actions [default: the environment's].")
@option("--width", type=COUNT, default=8, help="Actions of an environment that a search looks at in a state.")
@option("--eval-sims", type=COUNT, default=64, help="Simulations on held-out problems.")
@option(
    "--guide-epochs",
    type=click.IntRange(min=0),
    default=0,
    help="Epochs of guided fine-tuning of the base on the right texts that a search found [0: none].",
)
@option("--guide-lr", type=float, default=1e-4)
@option("--guide-tune", type=click.Choice(["lora", "full"]), default="lora", help="What of the base trains.")
@option(
    "--guide-texts", type=COUNT, default=2, help="Texts of a problem that the base learns, the most probable first."
)
@option("--policy-epochs", type=COUNT, default=1, help="Epochs of learning the policy from traces, or solved episodes.")
@option("--policy-lr", type=float, default=3e-4)
@option(
    "--policy-beta",
    type=click.FloatRange(min=0),
    default=0.1,
    help="Weight of the KL divergence from the policy before, while it learns from traces.",
)
@option(
    "--policy-targets",
    type=click.Choice(["completed", "visits"]),
    help="What the policy learns from traces, as in `train policy` [default: completed for gumbel, else visits].",
)
@option(
    "--target-temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Of what the policy learns from traces: above 1 the targets are less sharp.",
)
@option(
    "--prior-mix",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    help="Share of the policy before in those targets.",
)
@option(
    "--entropy-floor",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Least mean entropy of the codes along a text, in nats, for the policy in traces and in RL.",
)
@option("--buffer", type=COUNT, default=1, help="Learn from the traces of so many last iterations.")
@option("--min-visits", type=COUNT, default=2, help="Nodes visited less teach the policy nothing.")
@option("--value-epochs", type=COUNT, default=5, help="Epochs of learning the value head.")
@option("--value-lr", type=float, default=1e-3)
@option(
    "--samples",
    type=COUNT,
    default=4,
    help="Rollouts a problem for a first value head, where there is none; of an environment for every one.",
)
@option(
    "--value-targets",
    type=click.Choice(["outcome", "backed-up"]),
    default="outcome",
    help="True rewards of the finished texts below a state, or what the search came to believe.",
)
@option("--algorithm", type=click.Choice(["grpo", "rloo", "remax", "ppo"]), default="grpo", help="Of RL.")
@option("--rl-rounds", type=click.IntRange(min=0), default=30, help="0: no RL.")
@option("--rl-batch", type=COUNT, default=16, help="Problems a round.")
@option("--rl-group", type=COUNT, default=8, help="Rollouts a problem.")
@option("--rl-lr", type=float, default=3e-4)
@option("--beta", type=click.FloatRange(min=0), default=1e-3, help="Weight of the KL divergence.")
@option("--format-weight", type=click.FloatRange(0, 1), default=0.0, help="Part of RL's reward that is for form.")
@click.option(
    "--reward",
    multiple=True,
    metavar="SPEC",
    help="RL's reward in place of the task's verifier, as in `train rl`; may be repeated. Searches keep the verifier.",
)
@option("--keep", type=click.Choice(["last", "best"]), default="last", help="Which model becomes RUN/model.")
@option("--seed", type=int, default=0)
@option("--threads", type=COUNT, help="CPU threads [default: torch's choice].")
@worker_options
@server_options
@stage_log_option
@click.option("--output", required=True, type=PATH, help="Run folder.")
@click.option("--resume", is_flag=True, help="Go on with the run in --output.")
@config_option
def command(**given: Any) -> int:
    """Let search and RL teach a model in turn: search, learn policy and values from the traces, do RL, measure.

    On an environment the policy clones the episodes that the search has solved, and values are learned from rollouts.

    Each phase is a colasearch command with a folder of its own in RUN; killed anywhere, --resume goes on where it
    stopped. The summary is printed as one JSON object; RUN/report.html shows the curves.
    """
    return run(IterateSettings(**given))


def run(settings: IterateSettings) -> int:
    """Run the iterations as ``settings`` say; the exit code."""
    from colasearch.cli.iterate_episodes import run_on, told_environment
    from colasearch.searchers.registry import make

    ref = told_environment(settings)
    said = partial(click.echo, err=True)
    make(settings.searcher, dict(_pair(one) for one in settings.options))  # a wrong name must not cost the first search
    summary = _on_problems(settings, said) if ref is None else run_on(settings, ref, said)
    click.echo(f"Report: {settings.output / 'report.html'}; model: {settings.output / 'model'}", err=True)
    click.echo(json.dumps(summary, ensure_ascii=False))
    return 0


def _on_problems(settings: IterateSettings, say: Callable[[str], None]) -> dict[str, Any]:
    from colasearch.experiments.iterate_run import run_iterations
    from colasearch.training.data.problems import load_problems, split_problems

    task = settings.whole_task()
    problems = load_problems(settings.data, task)
    how = settings.recipe(task)
    if settings.heldout_data:
        train, held = problems, load_problems(settings.heldout_data, how.task)
    else:
        chosen, left = split_problems(problems, how.heldout)
        train, held = _pick(problems, chosen), _pick(problems, left)
    return run_iterations(how, train, held, settings.output, resume=settings.resume, say=say)


def _pair(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _pick(problems: list[LabelledProblem], places: list[int]) -> list[LabelledProblem]:
    return [problems[place] for place in places]
