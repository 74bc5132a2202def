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
from typing import TYPE_CHECKING

from colasearch.benchmarks.names import BENCHMARKS, ROWS
from colasearch.errors import InputError
from colasearch.experiments.recipes.guided import guided_by_search
from colasearch.experiments.running.stages import Stage, Stages
from colasearch.problem import LabelledProblem
from colasearch.tasks import TASKS, get_task, plain_columns

if TYPE_CHECKING:
    from colasearch.training.reinforcement.estimators import Algorithm

DATA, MODEL, METRICS = "data", "model", "metrics.jsonl"
TRAIN, FIRST, HELDOUT = "train.jsonl", "first.jsonl", "heldout.jsonl"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Every number of a run that a user may give.

    Attributes:
        model: Known name, folder or hub name; with a policy.
        samples: Rollouts a problem for a first value head, where there is none.
        task: Prompt and verifier; None: what the problems are.
        iterations: How many.
        problems_per_iteration: Problems searched in each; slices of the training problems do not overlap until all
            have been searched.
        searcher, sims, options, branch_below, max_step_tokens, max_tokens, temperature, batch_size: Of the search;
            ``max_tokens`` of RL, too, and None leaves it to the model.
        guide_epochs, guide_lr, guide_tune, guide_texts: Of guided fine-tuning on the solutions that were found, at most
            ``guide_texts`` of a problem; no epochs leave it out.
        policy_epochs, policy_lr, min_visits: Of learning the policy from traces.
        policy_targets: ``visits`` or ``completed`` (``train policy``); None for what suits the searcher: visits say
            what ``puct`` prefers, while those of ``gumbel`` follow its schedule.
        policy_beta: Weight of the divergence from the policy before, while it learns from traces.
        value_epochs, value_lr, value_targets: Of learning the value head: ``outcome`` (mean true reward of the finished
            texts below a state) or ``backed-up`` (what the search came to believe).
        algorithm, rl_rounds, rl_batch, rl_group, rl_lr, beta, format_weight: Of RL; no rounds leave it out.
        reward: Specs of RL's reward in place of the task's verifier, with absolute paths.
        eval_sims: Simulations on held-out problems.
        heldout: Share of the problems that is held out, where no held-out problems are given.
        keep: ``last`` or ``best``: which iteration's model becomes RUN/model; best by held-out greedy accuracy.
        seed, threads: Of everything.
        workers, ray_address: Ray workers of searches; not part of the results.
    """

    model: str = "smollm2-135m"
    samples: int = 4
    task: str | None = None
    iterations: int = 3
    problems_per_iteration: int = 500
    searcher: str = "gumbel"
    sims: int = 64
    options: tuple[str, ...] = ()
    branch_below: float | None = None
    max_step_tokens: int = 24
    max_tokens: int | None = None
    temperature: float | None = None
    batch_size: int = 16
    guide_epochs: int = 0
    guide_lr: float = 1e-4
    guide_tune: str = "lora"
    guide_texts: int = 2
    policy_epochs: int = 1
    policy_lr: float = 3e-4
    policy_targets: str | None = None
    policy_beta: float = 0.1
    min_visits: int = 2
    value_epochs: int = 5
    value_lr: float = 1e-3
    value_targets: str = "outcome"
    algorithm: Algorithm = "grpo"
    rl_rounds: int = 30
    rl_batch: int = 16
    rl_group: int = 8
    rl_lr: float = 3e-4
    beta: float = 1e-3
    format_weight: float = 0.0
    reward: tuple[str, ...] = ()
    eval_sims: int = 64
    heldout: float = 0.1
    keep: str = "last"
    seed: int = 0
    threads: int | None = None
    workers: int | None = None
    ray_address: str | None = None


@dataclass(frozen=True, slots=True)
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
        if self.iterations < 1 or self.problems_per_iteration < 1:
            raise InputError(
                f"iterations is {self.iterations} and problems_per_iteration {self.problems_per_iteration}; both must "
                "be at least 1"
            )
        if self.value_targets not in ("outcome", "backed-up") or self.keep not in ("last", "best"):
            raise InputError(
                f"value_targets is {self.value_targets!r} and keep {self.keep!r}; they must be outcome or backed-up, "
                "and last or best"
            )
        if self.rl_rounds:
            # What RL would refuse must not cost the search before it.
            from colasearch.training.reinforcement.rl import RLConfig

            RLConfig(algorithm=self.algorithm, group=self.rl_group, beta=self.beta).check()


def stages(how: Iterations, train_problems: int) -> list[Stage]:
    """The stages of ``how``, in order, for so many training problems in ``data/train.jsonl``."""
    how.check()
    plan = Stages()
    model = how.model
    _check(plan, how, 0, model)
    if not how.has_value:
        model = _first_value(plan, how)
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
            model = guided_by_search(plan, number, model, traces, problems, how.guide_texts, tuning, _seeded(how))
        folder = plan.add(
            f"policy-{number}",
            f"iteration {number}: the policy learns what the search found",
            *("train", "policy", "--model", model, "--traces", traces, "--min-visits", how.min_visits),
            *("--targets", how.policy_targets or ("completed" if how.searcher == "gumbel" else "visits")),
            *("--epochs", how.policy_epochs, "--lr", how.policy_lr, "--beta", how.policy_beta, "--warmup-steps", 5),
            *_seeded(how),
        )
        named = () if how.task in TASKS else ("--task", how.task)
        labels = ("--data", f"{DATA}/{TRAIN}", *named) if how.value_targets == "outcome" else ()
        folder = plan.add(
            f"value-{number}",
            f"iteration {number}: the value head learns what came of each state",
            *("train", "value", "--model", f"{folder}/{MODEL}", "--traces", traces, *labels, "--head", "value"),
            *("--epochs", how.value_epochs, "--lr", how.value_lr, *_seeded(how)),
        )
        if how.rl_rounds:
            folder = plan.add(f"rl-{number}", f"iteration {number}: RL on codes", *_rl(how, number, folder))
        model = f"{folder}/{MODEL}"
        _check(plan, how, number, model)
    return plan.found


def _bench(how: Iterations) -> tuple[str, ...]:
    """The benchmark of the task's name, where there is one, or rows under the task."""
    named = how.task in TASKS and how.task in BENCHMARKS
    return ("bench", how.task) if named else ("bench", ROWS, "--task", how.task)


def _first_value(plan: Stages, how: Iterations) -> str:
    rollouts = plan.add(
        "rollouts-0",
        "rollouts for a first value head",
        *("train", "rollouts", "--model", how.model, "--data", f"{DATA}/{FIRST}", "--task", how.task, "--heldout", 0),
        *("--samples", how.samples, *_limit("--max-new-tokens", how), *_seeded(how)),
        output="rollouts.jsonl",
    )
    folder = plan.add(
        "value-0",
        "a first value head learns their rewards",
        *("train", "value", "--model", how.model, "--rollouts", rollouts, "--head", "value"),
        *("--epochs", how.value_epochs, "--lr", how.value_lr, *_seeded(how)),
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


def slice_of(how: Iterations, number: int, problems: int) -> tuple[object, ...]:
    """Options that pick iteration ``number``'s problems: slices of one order, then of another."""
    size = min(how.problems_per_iteration, problems)
    slices = problems // size
    turn, place = divmod(number - 1, slices)
    return ("--shuffle-seed", how.seed * 1000 + turn, "--skip", place * size, "--limit", size)


def _search(how: Iterations) -> tuple[object, ...]:
    return (
        *("--searcher", how.searcher, *(part for one in how.options for part in ("--option", one))),
        *(() if how.branch_below is None else ("--branch-below", how.branch_below)),
        *(() if how.temperature is None else ("--temperature", how.temperature)),
        *("--max-step-tokens", how.max_step_tokens, *_limit("--max-tokens", how), "--batch-size", how.batch_size),
        *_seeded(how),
    )


def _limit(flag: str, how: Iterations) -> tuple[object, ...]:
    return () if how.max_tokens is None else (flag, how.max_tokens)


def _where(how: Iterations) -> tuple[object, ...]:
    """Options of searches that results do not depend on."""
    return (
        *(() if how.workers is None else ("--workers", how.workers)),
        *(() if how.ray_address is None else ("--ray-address", how.ray_address)),
    )


def _rl(how: Iterations, number: int, folder: str) -> tuple[object, ...]:
    threads = () if how.threads is None else ("--threads", how.threads)
    return (
        *("train", "rl", "--model", f"{folder}/{MODEL}", "--data", f"{DATA}/{TRAIN}", "--task", how.task),
        *("--algorithm", how.algorithm, "--rounds", how.rl_rounds, "--batch", how.rl_batch, "--group", how.rl_group),
        *("--rows", min(128, how.rl_batch * how.rl_group), *_limit("--max-new-tokens", how), "--lr", how.rl_lr),
        *("--beta", how.beta, "--format-weight", how.format_weight, "--heldout", 0),
        *(part for one in how.reward for part in ("--reward", one)),
        # Another seed each time, or every iteration would roll out the same problems in the same order.
        *("--seed", how.seed * 1000 + number, *threads),
    )


def _seeded(how: Iterations) -> tuple[object, ...]:
    return ("--seed", how.seed, *(() if how.threads is None else ("--threads", how.threads)))


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
