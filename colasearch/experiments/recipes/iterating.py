"""What iterations on problems and on episodes share: their numbers, how training data is sliced, options of stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colasearch.errors import InputError

if TYPE_CHECKING:
    from colasearch.training.reinforcement.estimators import Algorithm

MODEL, METRICS = "model", "metrics.jsonl"


@dataclass(frozen=True)
class Common:
    """Numbers of any run that a user may give. A problem may be an episode of an environment, a text its actions.

    Attributes:
        model: Known name, folder or hub name; with a policy.
        samples: Rollouts a problem for a value head.
        iterations: How many.
        problems_per_iteration: Problems searched in each; slices of the training problems do not overlap until all
            have been searched.
        searcher, sims, options, max_tokens, temperature, batch_size: Of the search; ``max_tokens`` of RL, too. None
            leaves ``max_tokens`` to the model; for an environment it is the longest action, not the longest text.
        policy_epochs, policy_lr: Of learning the policy from what a search found.
        value_epochs, value_lr: Of learning the value head.
        algorithm, rl_rounds, rl_batch, rl_group, rl_lr, beta: Of RL; no rounds leave it out.
        eval_sims: Simulations on held-out problems.
        heldout: Share of the problems that is held out, where no held-out problems are given; of an environment so many
            dev variations are measured on.
        keep: ``last`` or ``best``: which iteration's model becomes RUN/model; best by held-out greedy accuracy.
        seed, threads: Of everything.
    """

    model: str = "smollm2-135m"
    samples: int = 4
    iterations: int = 3
    problems_per_iteration: int = 500
    searcher: str = "gumbel"
    sims: int = 64
    options: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    batch_size: int = 16
    policy_epochs: int = 1
    policy_lr: float = 3e-4
    value_epochs: int = 5
    value_lr: float = 1e-3
    algorithm: Algorithm = "grpo"
    rl_rounds: int = 30
    rl_batch: int = 16
    rl_group: int = 8
    rl_lr: float = 3e-4
    beta: float = 1e-3
    eval_sims: int = 64
    heldout: float = 0.1
    keep: str = "last"
    seed: int = 0
    threads: int | None = None

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
        if self.keep not in ("last", "best"):
            raise InputError(f"keep is {self.keep!r}; it must be last or best")
        if self.rl_rounds:
            # What RL would refuse must not cost the search before it.
            from colasearch.training.reinforcement.rl import RLConfig

            RLConfig(algorithm=self.algorithm, group=self.rl_group, beta=self.beta).check()


def slice_of(how: Common, number: int, problems: int) -> tuple[object, ...]:
    """Options that pick iteration ``number``'s problems: slices of one order, then of another."""
    size = min(how.problems_per_iteration, problems)
    slices = problems // size
    turn, place = divmod(number - 1, slices)
    return ("--shuffle-seed", how.seed * 1000 + turn, "--skip", place * size, "--limit", size)


def flagged(flag: str, value: object) -> tuple[object, ...]:
    """An option, left out where its value is None."""
    return () if value is None else (flag, value)


def seeded(how: Common, iteration: int | None = None) -> tuple[object, ...]:
    """Seed and threads; of rollouts another seed for each ``iteration``, or all would draw the same again."""
    seed = how.seed if iteration is None else how.seed * 1000 + iteration
    return ("--seed", seed, *flagged("--threads", how.threads))


def searcher_of(how: Common) -> tuple[object, ...]:
    """The searcher with its options."""
    return ("--searcher", how.searcher, *(part for one in how.options for part in ("--option", one)))


def rl_numbers(how: Common) -> tuple[object, ...]:
    """RL's numbers."""
    return (
        *("--algorithm", how.algorithm, "--rounds", how.rl_rounds, "--batch", how.rl_batch, "--group", how.rl_group),
        *("--rows", min(128, how.rl_batch * how.rl_group), *flagged("--max-new-tokens", how.max_tokens)),
        *("--lr", how.rl_lr, "--beta", how.beta),
    )
