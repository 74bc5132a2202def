"""Expert iteration: search, learn from what it found, RL, measure on held-out problems, and again.

Iteration i of ``colasearch iterate``, each line one stage (see ``stages``), killable at any point:

* ``search-i``: search the next slice of the training problems; its traces say what better play looks like.
* ``solutions-i``, ``guide-i``, with ``guide_epochs``: the right texts that the search found, and guided fine-tuning of
  the base on them (STaR, Zelikman et al. 2022, under codes). Only this mends what the base gets wrong under every code.
* ``policy-i``: the policy learns the traces' targets: shares of visits, or Gumbel's improved policy.
* ``value-i``: the value head learns what came of each state.
* ``rl-i``: RL on codes goes on from there.
* ``check-i``: one greedy text and one search a held-out problem. ``check-0`` is the model as it came.

A model without value head gets one first, from plain rollouts (``rollouts-0``, ``value-0``): a search with rollouts
costs many times the tokens, and its tree holds few finished texts to learn values from.

Source: expert iteration (Anthony et al. 2017) with the targets of Danihelka et al. 2022, on CoLA's latent actions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from colasearch.benchmarks.names import BENCHMARKS, ROWS
from colasearch.errors import InputError
from colasearch.experiments.recipes.guided import guided_by_search
from colasearch.experiments.recipes.iterating import MODEL, Common, flagged, rl_numbers, searcher_of, seeded, slice_of
from colasearch.experiments.running.stages import Stage, Stages
from colasearch.problem import LabelledProblem
from colasearch.tasks import TASKS, get_task, plain_columns

DATA = "data"
TRAIN, FIRST, HELDOUT = "train.jsonl", "first.jsonl", "heldout.jsonl"


@dataclass(frozen=True)
class Numbers(Common):
    """Every number of a run on problems that a user may give.

    Attributes:
        task: Prompt and verifier; None: what the problems are.
        branch_below, max_step_tokens: Of the search.
        guide_epochs, guide_lr, guide_tune, guide_texts: Of guided fine-tuning on the solutions that were found, at most
            ``guide_texts`` of a problem; no epochs leave it out.
        min_visits: Of learning the policy from traces.
        policy_targets: ``visits`` or ``completed`` (``train policy``); None for what suits the searcher: visits say
            what ``puct`` prefers, while those of ``gumbel`` follow its schedule.
        policy_beta: Weight of the divergence from the policy before, while it learns from traces.
        target_temperature, prior_mix: Of the policy's targets from traces (``train policy``).
        entropy_floor: Of the policy's learning from traces, and of RL.
        buffer: Policy and values learn from the traces of so many last iterations.
        value_targets: ``outcome`` (mean true reward of the finished texts below a state) or ``backed-up`` (what the
            search came to believe).
        format_weight: Of RL.
        reward: Specs of RL's reward in place of the task's verifier, with absolute paths.
        workers, ray_address: Ray workers of searches; not part of the results.
    """

    task: str | None = None
    branch_below: float | None = None
    max_step_tokens: int = 24
    guide_epochs: int = 0
    guide_lr: float = 1e-4
    guide_tune: str = "lora"
    guide_texts: int = 2
    policy_targets: str | None = None
    policy_beta: float = 0.1
    target_temperature: float = 1.0
    prior_mix: float = 0.0
    entropy_floor: float = 0.0
    buffer: int = 1
    min_visits: int = 2
    value_targets: str = "outcome"
    format_weight: float = 0.0
    reward: tuple[str, ...] = ()
    workers: int | None = None
    ray_address: str | None = None


@dataclass(frozen=True)
class Iterations(Numbers):
    """The same, with what model and problems say.

    Attributes:
        has_value: Whether the model has a value head; else ``samples`` rollouts each of as many problems as an
            iteration searches (``data/first.jsonl``) give it one.
        task: Prompt and verifier.
    """

    task: str = "math"
    has_value: bool = True

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        if self.value_targets not in ("outcome", "backed-up"):
            raise InputError(f"value_targets is {self.value_targets!r}; it must be outcome or backed-up")
        if self.buffer < 1:
            raise InputError(f"buffer is {self.buffer}; it must be at least 1")
        super().check()


def stages(how: Iterations, train_problems: int) -> list[Stage]:
    """The stages of ``how``, in order, for so many training problems in ``data/train.jsonl``."""
    how.check()
    plan = Stages()
    model = how.model
    _check(plan, how, 0, model)
    if not how.has_value:
        model = _first_value(plan, how)
    searches: list[str] = []
    for number in range(1, how.iterations + 1):
        traces = plan.add(
            f"search-{number}",
            f"iteration {number}: search",
            *(*_bench(how), "--model", model, "--data", f"{DATA}/{TRAIN}", *slice_of(how, number, train_problems)),
            *("--arms", how.searcher, "--sims", how.sims, *_search(how), "--json"),
            partial=True,
            runtime=_where(how),
        )
        if how.guide_epochs:
            problems = ("--data", f"{DATA}/{TRAIN}", "--task", how.task)
            tuning = ("--tune", how.guide_tune, "--epochs", how.guide_epochs, "--lr", how.guide_lr)
            model = guided_by_search(plan, number, model, traces, problems, how.guide_texts, tuning, seeded(how))
        searches.append(traces)
        learned = [part for one in searches[-how.buffer :] for part in ("--traces", one)]
        folder = plan.add(
            f"policy-{number}",
            f"iteration {number}: the policy learns what the search found",
            *("train", "policy", "--model", model, *learned, "--min-visits", how.min_visits),
            *("--targets", how.policy_targets or ("completed" if how.searcher == "gumbel" else "visits")),
            *("--epochs", how.policy_epochs, "--lr", how.policy_lr, "--beta", how.policy_beta, "--warmup-steps", 5),
            *(*_changed(how, "target_temperature"), *_changed(how, "prior_mix"), *_changed(how, "entropy_floor")),
            *seeded(how),
        )
        named = () if how.task in TASKS else ("--task", how.task)
        labels = ("--data", f"{DATA}/{TRAIN}", *named) if how.value_targets == "outcome" else ()
        folder = plan.add(
            f"value-{number}",
            f"iteration {number}: the value head learns what came of each state",
            *("train", "value", "--model", f"{folder}/{MODEL}", *learned, *labels, "--head", "value"),
            *("--epochs", how.value_epochs, "--lr", how.value_lr, *seeded(how)),
        )
        if how.rl_rounds:
            folder = plan.add(f"rl-{number}", f"iteration {number}: RL on codes", *_rl(how, number, folder))
        model = f"{folder}/{MODEL}"
        _check(plan, how, number, model)
    return plan.found


def _changed(how: Iterations, name: str) -> tuple[object, ...]:
    """An option that is left out where it has its default: a command then is what it was before there was a choice."""
    value = getattr(how, name)
    return () if value == getattr(Numbers, name) else (f"--{name.replace('_', '-')}", value)


def _bench(how: Iterations) -> tuple[str, ...]:
    """The benchmark of the task's name, where there is one, or rows under the task."""
    named = how.task in TASKS and how.task in BENCHMARKS
    return ("bench", how.task) if named else ("bench", ROWS, "--task", how.task)


def _first_value(plan: Stages, how: Iterations) -> str:
    rollouts = plan.add(
        "rollouts-0",
        "rollouts for a first value head",
        *("train", "rollouts", "--model", how.model, "--data", f"{DATA}/{FIRST}", "--task", how.task, "--heldout", 0),
        *("--samples", how.samples, *flagged("--max-new-tokens", how.max_tokens), *seeded(how)),
        output="rollouts.jsonl",
    )
    folder = plan.add(
        "value-0",
        "a first value head learns their rewards",
        *("train", "value", "--model", how.model, "--rollouts", rollouts, "--head", "value"),
        *("--epochs", how.value_epochs, "--lr", how.value_lr, *seeded(how)),
    )
    return f"{folder}/{MODEL}"


def _check(plan: Stages, how: Iterations, number: int, model: str) -> None:
    plan.add(
        f"check-{number}",
        f"held-out problems {f'after iteration {number}' if number else 'before the first iteration'}",
        *(*_bench(how), "--model", model, "--data", f"{DATA}/{HELDOUT}", "--arms", "greedy"),
        *("--sims", how.eval_sims, *_search(how), "--no-traces", "--json"),
        partial=True,
        runtime=_where(how),
    )


def _search(how: Iterations) -> tuple[object, ...]:
    return (
        *(*searcher_of(how), *flagged("--branch-below", how.branch_below), *flagged("--temperature", how.temperature)),
        *("--max-step-tokens", how.max_step_tokens, *flagged("--max-tokens", how.max_tokens)),
        *("--batch-size", how.batch_size, *seeded(how)),
    )


def _where(how: Iterations) -> tuple[object, ...]:
    """Options of searches that results do not depend on."""
    return (*flagged("--workers", how.workers), *flagged("--ray-address", how.ray_address))


def _rl(how: Iterations, number: int, folder: str) -> tuple[object, ...]:
    return (
        *("train", "rl", "--model", f"{folder}/{MODEL}", "--data", f"{DATA}/{TRAIN}", "--task", how.task),
        *(*rl_numbers(how), "--format-weight", how.format_weight, "--heldout", 0, *_changed(how, "entropy_floor")),
        *(part for one in how.reward for part in ("--reward", one)),
        # Another seed each time, or every iteration would roll out the same problems in the same order.
        *seeded(how, number),
    )


def data_files(
    train: Sequence[LabelledProblem], held: Sequence[LabelledProblem], first: int, seed: int, task: str = "math"
) -> dict[str, str]:
    """The contents of the run's problem files, by name; ``data/first.jsonl`` has ``first`` of those to train on.

    Columns have the names that ``task`` reads.

    Raises:
        InputError: A set is empty, or a problem stands in both.
    """
    both = {one.problem.text for one in train} & {one.problem.text for one in held}
    if both:
        raise InputError(
            f"{len(both)} held-out problems are also trained on, such as {min(both)[:80]!r}; leave them out"
        )
    files = {}
    order = random.Random(f"colasearch iterate {seed}").sample(range(len(train)), min(first, len(train)))
    for name, problems in ((TRAIN, train), (FIRST, [train[i] for i in order]), (HELDOUT, held)):
        if not problems:
            raise InputError(f"no problems for {name}; give more problems, another --heldout, or --heldout-data")
        rows = (
            {"id": p.problem.id, "problem": p.problem.text, **({"answer": p.gold} if p.gold else {}), **p.problem.data}
            for p in problems
        )
        named = (plain_columns(get_task(task).columns, row) for row in rows)
        files[name] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named)
    return files
