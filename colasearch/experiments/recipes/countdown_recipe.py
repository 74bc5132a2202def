"""The numbers of the Countdown experiment: the recipe that is reported (``full``) and a ``smoke`` size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from colasearch.errors import InputError


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every number of the experiment. The defaults are those of ``full``; ``--set key=value`` changes one."""

    seed: int = 0
    threads: int = 1
    chain_threads: int = 2  # of base and stages 1 and 2: everything waits for them, and nothing runs beside them

    # Problems. Training rows, held-out rows and the benchmarks share neither sets of numbers nor targets.
    train_problems: int = 120_000
    skill: float = 0.3  # share of attempts in a training solution that work: the base must have room to improve
    rl_problems: int = 3_000  # with a seed of their own, so that nearly none is among the base's training rows
    trace_problems: int = 500  # searched for the value head's first training
    heldout_problems: int = 300  # for the curve over iterations

    # The base: Llama, a token a character.
    width: int = 256
    layers: int = 4
    heads: int = 8
    context: int = 256
    base_epochs: int = 1
    base_lr: float = 1e-3
    base_batch_tokens: int = 4096  # with 1024 the base learns faster at first, and ends worse (docs/lab-notes)
    base_warmup_steps: int = 100
    bfloat16: bool = False  # in the base's training; faster on CPUs that compute in it, many times slower on others

    # Stages 1 and 2, and guided fine-tuning; on the first rows of the training data, their states fit in memory.
    action_problems: int = 20_000
    codes: int = 64
    action_epochs: int = 2
    policy_epochs: int = 3
    action_lr: float = 2e-3
    guide_problems: int = 20_000
    guide_codes: str = "policy"  # policy: FTA-P; idm: FTA-I, which clones the policy anew
    guide_epochs: int = 1
    guide_lr: float = 6e-4  # of the whole base: it is small, and as published all of it trains

    # RL, the same for codes and for tokens: problems, rounds, rollouts, length, reward.
    algorithm: str = "grpo"
    # Guided fine-tuning leaves codes little to explore, and what it teaches is lost on new targets (docs/lab-notes).
    rl_start: str = "policy"  # where RL on codes starts: policy (stage 2) or guide (after guided fine-tuning)
    rl_merge_codes: int = 8  # as --merge-codes: 0 merges none
    rl_rounds: int = 60
    rl_batch: int = 16  # problems a round
    rl_group: int = 8  # rollouts a problem
    rl_lr: float = 3e-4  # at 6e-4 and 1e-3 held-out rewards are lower (docs/lab-notes)
    rl_token_lr: float = 3e-4  # at 1e-3 60 rounds end below where they began, though 150 rounds rise in the end
    rl_beta: float = 1e-3
    rl_warmup_steps: int = 5
    rl_heldout: float = 0.1  # share of rl_problems, for the held-out curve
    rl_evaluate_every: int = 25
    format_weight: float = 0.1  # of the reward; the curve of this part is in the paper's figure
    max_new_tokens: int = 128

    # Search.
    # Chosen on 300 problems of the training split, of six settings (docs/lab-notes).
    searcher: str = "puct"
    search_options: str = ""  # as in --option, with commas between them: "gumbel_scale=0,..."
    branch_below: float = -1.0  # below 0: the task's own
    max_step_tokens: int = 24
    trace_sims: int = 32
    value_epochs: int = 10
    value_lr: float = 1e-3

    # Search and RL in turn: search, policy and value head from its traces, RL.
    iterations: int = 3
    problems_per_iteration: int = 1_000
    iterate_sims: int = 64
    # The base learns the texts that the search found, at most so many of a problem; no epochs leave it out. Without it
    # greedy accuracy stays where it is, for a policy cannot make a frozen base calculate better (docs/lab-notes).
    iterate_guide_epochs: int = 2
    iterate_guide_lr: float = 3e-4
    iterate_guide_texts: int = 2
    iterate_policy_epochs: int = 1
    iterate_policy_lr: float = 3e-4  # lower than in stage 2: the policy is to improve, not to be learned anew
    # Without it the policy grows sharp, the search sees fewer texts, and each iteration searches worse than the last.
    iterate_policy_beta: float = 0.1
    iterate_policy_targets: str = "visits"  # Gumbel's improved policy made greedy texts worse (docs/lab-notes)
    iterate_rl_lr: float = 3e-5
    iterate_rl_rounds: int = 20

    # What is measured at the end.
    test_problems: int = 500  # of `bench countdown`: 3 and 4 numbers
    harder_problems: int = 500  # of `bench countdown-5`
    sims: tuple[int, ...] = (4, 16, 64, 256)
    harder_sims: tuple[int, ...] = (4, 16, 64, 256)
    aim_sims: int = 64  # one of `sims`: where the aims are read
    bench_batch: int = 64

    def check(self) -> None:
        """Check what no command checks before time has been spent.

        Raises:
            InputError: A number is out of range.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            may_be_zero = field.name in ("seed", "iterate_guide_epochs", "rl_merge_codes")
            if isinstance(value, int) and not isinstance(value, bool) and value < (0 if may_be_zero else 1):
                raise InputError(f"{field.name} is {value}; it must be at least {0 if may_be_zero else 1}")
        if self.aim_sims not in self.sims:
            raise InputError(f"aim_sims is {self.aim_sims}, which is not one of sims ({listed(self.sims)}); add it")
        if self.guide_codes not in ("policy", "idm"):
            raise InputError(f"guide_codes is {self.guide_codes!r}; it must be policy (FTA-P) or idm (FTA-I)")
        if self.rl_start not in ("policy", "guide"):
            raise InputError(f"rl_start is {self.rl_start!r}; it must be policy (stage 2) or guide (FTA)")
        if self.max_new_tokens >= self.context:
            raise InputError(
                f"max_new_tokens is {self.max_new_tokens} and context {self.context}; texts need room for a prompt of "
                "about 30 tokens before them"
            )
        for small, large in (("action_problems", "train_problems"), ("guide_problems", "train_problems")):
            if getattr(self, small) > getattr(self, large):
                raise InputError(f"{small} is {getattr(self, small)}, more than {large} ({getattr(self, large)})")


SIZES = {
    "full": Recipe(),
    # Minutes of training make no model that solves anything: this size shows that the parts fit together.
    "smoke": Recipe(
        chain_threads=1,
        train_problems=120,
        rl_problems=12,
        trace_problems=3,
        heldout_problems=3,
        width=64,
        layers=2,
        heads=2,
        context=128,
        base_lr=3e-3,
        base_warmup_steps=5,
        action_problems=80,
        codes=8,
        action_epochs=1,
        policy_epochs=1,
        guide_problems=80,
        rl_merge_codes=4,
        rl_rounds=2,
        rl_batch=2,
        rl_group=2,
        rl_heldout=0.3,
        rl_evaluate_every=2,
        max_new_tokens=16,
        trace_sims=4,
        value_epochs=2,
        problems_per_iteration=3,
        iterate_sims=4,
        iterate_guide_epochs=0,  # it solves next to nothing, and from nothing found nothing is learned
        iterate_rl_rounds=2,
        iterations=1,
        test_problems=3,
        harder_problems=1,
        sims=(2, 4),
        harder_sims=(2,),
        aim_sims=4,
    ),
}


def listed(numbers: tuple[int, ...]) -> str:
    """As a command wants them: with commas between."""
    return ",".join(map(str, numbers))
