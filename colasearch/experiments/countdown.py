"""Countdown from nothing: a small base, latent actions, RL on codes against RL on tokens, search, and both in turn.

All numbers are in ``Recipe``; ``SIZES`` has the one that is reported (``full``) and one that only shows that everything
fits together (``smoke``). ``stages`` says what is run, in order; ``docs/experiments.md`` says why.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from colasearch.errors import InputError
from colasearch.experiments.guided import guided_by_search
from colasearch.experiments.stages import Stage, Stages

FINAL_BENCH, HARDER_BENCH = "bench-final", "bench-harder"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every number of the experiment. The defaults are those of ``full``; ``--set key=value`` changes one."""

    seed: int = 0
    threads: int = 1
    chain_threads: int = 2  # of base and stages 1 and 2: everything waits for them, and nothing runs beside them

    # Problems. Training rows, held-out rows and the benchmarks share neither sets of numbers nor targets.
    train_problems: int = 200_000
    skill: float = 0.3  # share of attempts in a training solution that work: the base must have room to improve
    rl_problems: int = 3_000  # with a seed of their own, so that nearly none is among the base's training rows
    trace_problems: int = 600  # searched for the value head's first training
    heldout_problems: int = 300  # for the curve over iterations

    # The base: Llama, a token a character.
    width: int = 256
    layers: int = 4
    heads: int = 8
    context: int = 256
    base_epochs: int = 1
    base_lr: float = 2e-3
    base_batch_tokens: int = 4096  # with 1024 the base learns faster at first, and ends worse (docs/results.md)
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
    rl_rounds: int = 150
    rl_batch: int = 16  # problems a round
    rl_group: int = 8  # rollouts a problem
    # Of 1e-4, 3e-4 and 1e-3 (100, 100 and 150 rounds), best on held-out problems; at 1e-3 the divergence runs away.
    rl_lr: float = 3e-4
    rl_token_lr: float = 1e-3
    rl_beta: float = 1e-3
    rl_warmup_steps: int = 5
    rl_heldout: float = 0.1  # share of rl_problems, for the held-out curve
    rl_evaluate_every: int = 25
    format_weight: float = 0.1  # of the reward; the curve of this part is in the paper's figure
    max_new_tokens: int = 128

    # Search.
    # Chosen on 300 problems of the training split, of six settings (docs/results.md).
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
    # greedy accuracy stays where it is, for a policy cannot make a frozen base calculate better (docs/results.md).
    iterate_guide_epochs: int = 2
    iterate_guide_lr: float = 3e-4
    iterate_guide_texts: int = 2
    iterate_policy_epochs: int = 1
    iterate_policy_lr: float = 3e-4  # lower than in stage 2: the policy is to improve, not to be learned anew
    # Without it the policy grows sharp, the search sees fewer texts, and each iteration searches worse than the last.
    iterate_policy_beta: float = 0.1
    iterate_policy_targets: str = "visits"  # Gumbel's improved policy made greedy texts worse (docs/results.md)
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
            may_be_zero = field.name in ("seed", "iterate_guide_epochs")
            if isinstance(value, int) and not isinstance(value, bool) and value < (0 if may_be_zero else 1):
                raise InputError(f"{field.name} is {value}; it must be at least {0 if may_be_zero else 1}")
        if self.aim_sims not in self.sims:
            raise InputError(f"aim_sims is {self.aim_sims}, which is not one of sims ({_listed(self.sims)}); add it")
        if self.guide_codes not in ("policy", "idm"):
            raise InputError(f"guide_codes is {self.guide_codes!r}; it must be policy (FTA-P) or idm (FTA-I)")
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
        train_problems=300,
        rl_problems=24,
        trace_problems=6,
        heldout_problems=6,
        width=64,
        layers=2,
        heads=2,
        context=128,
        base_lr=3e-3,
        base_warmup_steps=5,
        action_problems=200,
        codes=8,
        action_epochs=1,
        policy_epochs=1,
        guide_problems=200,
        rl_rounds=3,
        rl_batch=4,
        rl_group=2,
        rl_heldout=0.3,
        rl_evaluate_every=2,
        max_new_tokens=48,
        trace_sims=4,
        value_epochs=2,
        problems_per_iteration=6,
        iterate_sims=4,
        iterate_guide_epochs=0,  # it solves next to nothing, and from nothing found nothing is learned
        iterate_rl_rounds=2,
        iterations=1,
        test_problems=8,
        harder_problems=4,
        sims=(2, 4),
        harder_sims=(2, 4),
        aim_sims=4,
    ),
}


def stages(recipe: Recipe) -> list[Stage]:
    """The stages of ``recipe``, in order."""
    recipe.check()
    plan = Stages()
    at = ("--threads", recipe.threads)
    seeded = ("--seed", recipe.seed, *at)
    alone = ("--seed", recipe.seed, "--threads", recipe.chain_threads)

    def problems(name: str, about: str, count: int, number: int, split: str = "train") -> str:
        seed = ("--seed", recipe.seed * 100 + number)  # another set for each purpose
        kind = ("train", "problems", "--kind", "countdown", "--split", split, "--skill", recipe.skill)
        return plan.add(name, about, *kind, "--count", count, *seed, output="problems.jsonl")

    train = problems("train-problems", "worked solutions, many of which fail", recipe.train_problems, 1)
    actions_rows = problems("action-problems", "rows for latent actions and cloning", recipe.action_problems, 1)
    guide_rows = problems("guide-problems", "rows for fine-tuning under codes", recipe.guide_problems, 1)
    rl_rows = problems("rl-problems", "problems to roll out", recipe.rl_problems, 2)
    trace_rows = problems("trace-problems", "problems to search for the value head", recipe.trace_problems, 3)
    held_rows = problems(
        "heldout-problems", "numbers and targets that training never sees", recipe.heldout_problems, 4, "heldout"
    )
    base = _base(plan, recipe, train, alone)
    policy = _latent(plan, recipe, base, actions_rows, alone)
    guide = _guide(plan, recipe, policy, guide_rows, seeded)
    codes, tokens = _rl(plan, recipe, policy, guide, rl_rows, seeded)
    value = _value(plan, recipe, codes, trace_rows, seeded)
    final = _in_turn(plan, recipe, value, rl_rows, held_rows, seeded)
    for name, about, folder, actions in (
        ("bench-base", "greedy: the base, on tokens", base, "sampled"),
        ("bench-guide", "greedy: codes before RL", guide, "latent"),
        ("bench-rl-tokens", "greedy: after RL on tokens", tokens, "sampled"),
        ("bench-rl-codes", "greedy: after RL on codes", codes, "latent"),
    ):
        _greedy(plan, recipe, name, about, ("--model", f"{folder}/model", "--actions", actions), seeded)
    _search(plan, recipe, value, final, seeded)
    return plan.found


def _base(plan: Stages, recipe: Recipe, rows: str, seeded: tuple[object, ...]) -> str:
    return plan.add(
        "base",
        "a small Llama over characters, from scratch",
        *("train", "base", "--data", rows, "--heldout", 0.01),
        *("--width", recipe.width, "--layers", recipe.layers, "--heads", recipe.heads, "--context", recipe.context),
        *("--epochs", recipe.base_epochs, "--batch-tokens", recipe.base_batch_tokens, "--lr", recipe.base_lr),
        *("--warmup-steps", recipe.base_warmup_steps, *(["--bfloat16"] if recipe.bfloat16 else []), *seeded),
    )


def _latent(plan: Stages, recipe: Recipe, base: str, rows: str, seeded: tuple[object, ...]) -> str:
    """Stages 1 and 2; returns the folder of the latter."""
    warm = ("--warmup-steps", recipe.base_warmup_steps)
    actions = plan.add(
        "actions",
        "stage 1: inverse dynamics model, codebook, merge head",
        *("train", "actions", "--model", f"{base}/model", "--data", rows, "--codes", recipe.codes),
        *("--epochs", recipe.action_epochs, "--lr", recipe.action_lr, *warm, *seeded),
    )
    return plan.add(
        "policy",
        "stage 2: the policy clones the inverse dynamics model's codes",
        *("train", "policy", "--model", f"{actions}/model", "--data", rows),
        *("--epochs", recipe.policy_epochs, "--lr", recipe.action_lr, *warm, *seeded),
    )


def _guide(plan: Stages, recipe: Recipe, policy: str, rows: str, seeded: tuple[object, ...]) -> str:
    return plan.add(
        "guide",
        f"the base learns to write under codes (FTA-{'P' if recipe.guide_codes == 'policy' else 'I'})",
        *("train", "guide", "--model", f"{policy}/model", "--data", rows, "--codes", recipe.guide_codes),
        *("--tune", "full", "--epochs", recipe.guide_epochs, "--lr", recipe.guide_lr, *seeded),
    )


def _rl(
    plan: Stages, recipe: Recipe, policy: str, guide: str, rows: str, seeded: tuple[object, ...]
) -> tuple[str, str]:
    """RL on codes, and on tokens as its control; equal but for what is chosen and what is trained."""
    common = (*_rl_options(recipe, rows, recipe.rl_rounds), "--heldout", recipe.rl_heldout, *seeded)
    codes = plan.add(
        "rl-codes",
        "RL on latent codes: the policy trains",
        *("train", "rl", "--model", f"{guide}/model", "--lr", recipe.rl_lr, *common),
    )
    # The control starts from the base as it was trained on the same text: fine-tuned under codes it writes worse alone.
    tokens = plan.add(
        "rl-tokens",
        "the control, RL on tokens: as many of the base's numbers train",
        *("train", "rl", "--model", f"{policy}/model", "--on", "tokens", "--match-policy"),
        *("--lr", recipe.rl_token_lr, *common),
    )
    return codes, tokens


def _rl_options(recipe: Recipe, rows: str, rounds: int) -> tuple[object, ...]:
    return (
        *("--data", rows, "--task", "countdown", "--algorithm", recipe.algorithm, "--rounds", rounds),
        *("--batch", recipe.rl_batch, "--group", recipe.rl_group, "--rows", recipe.rl_batch * recipe.rl_group),
        *("--max-new-tokens", recipe.max_new_tokens, "--format-weight", recipe.format_weight),
        *("--beta", recipe.rl_beta, "--warmup-steps", recipe.rl_warmup_steps),
        *("--evaluate-every", recipe.rl_evaluate_every),
    )


def _in_turn(plan: Stages, recipe: Recipe, model: str, rows: str, held_rows: str, seeded: tuple[object, ...]) -> str:
    """Iterations of search, learning from its traces, and RL, each measured on held-out problems; the last model."""

    def check(number: int, folder: str) -> None:
        plan.add(
            f"check-{number}",
            f"held-out problems {f'after iteration {number}' if number else 'before the first iteration'}",
            *("bench", "countdown", "--model", f"{folder}/model", "--data", held_rows, "--searcher", recipe.searcher),
            *("--arms", "greedy", "--sims", recipe.iterate_sims, "--no-traces", *_how(recipe), *seeded, "--json"),
            partial=True,
        )

    check(0, model)
    for number in range(1, recipe.iterations + 1):
        traces = plan.add(
            f"search-{number}",
            f"iteration {number}: search",
            *("bench", "countdown", "--model", f"{model}/model", "--data", rows, "--searcher", recipe.searcher),
            *("--arms", recipe.searcher, "--sims", recipe.iterate_sims, "--limit", recipe.problems_per_iteration),
            *("--shuffle-seed", recipe.seed * 100 + number, *_how(recipe), *seeded, "--json"),
            partial=True,
        )
        tuned = f"{model}/model"
        if recipe.iterate_guide_epochs:
            labels = ("--data", rows, "--task", "countdown")
            how = ("--tune", "full", "--epochs", recipe.iterate_guide_epochs, "--lr", recipe.iterate_guide_lr)
            tuned = guided_by_search(plan, number, tuned, traces, labels, recipe.iterate_guide_texts, how, seeded)
        policy = plan.add(
            f"policy-{number}",
            f"iteration {number}: the policy learns what the search found",
            *("train", "policy", "--model", tuned, "--traces", traces, "--heldout", 0.1),
            *("--epochs", recipe.iterate_policy_epochs, "--lr", recipe.iterate_policy_lr),
            *("--beta", recipe.iterate_policy_beta, "--targets", recipe.iterate_policy_targets),
            *("--warmup-steps", recipe.rl_warmup_steps, *seeded),
        )
        value = plan.add(
            f"value-{number}",
            f"iteration {number}: the value head learns it too",
            *("train", "value", "--model", f"{policy}/model", "--traces", traces, "--data", rows, "--head", "value"),
            *("--epochs", recipe.value_epochs, "--lr", recipe.value_lr, *seeded),
        )
        model = plan.add(
            f"rl-{number}",
            f"iteration {number}: RL on codes",
            *("train", "rl", "--model", f"{value}/model", "--lr", recipe.iterate_rl_lr, "--heldout", 0),
            *_rl_options(recipe, rows, recipe.iterate_rl_rounds),
            *("--seed", recipe.seed * 100 + number, "--threads", recipe.threads),
        )
        check(number, model)
    return model


def final_stage(recipe: Recipe) -> str:
    """Name of the stage that makes the final model."""
    return f"rl-{recipe.iterations}"


def _value(plan: Stages, recipe: Recipe, rl: str, rows: str, seeded: tuple[object, ...]) -> str:
    model = f"{rl}/model"
    search = ("--searcher", recipe.searcher, "--arms", recipe.searcher, "--sims", recipe.trace_sims)
    traces = plan.add(
        "traces",
        "searches for the value head to learn from",
        *("bench", "countdown", "--model", model, "--data", rows, *search, *_how(recipe), *seeded, "--json"),
        partial=True,
    )
    return plan.add(
        "value",
        "the value head, from those searches",
        *("train", "value", "--model", model, "--traces", traces, "--data", rows, "--head", "value"),
        *("--epochs", recipe.value_epochs, "--lr", recipe.value_lr, *seeded),
    )


def _how(recipe: Recipe) -> tuple[object, ...]:
    """How a bench searches, beyond its budget."""
    options = [part for one in recipe.search_options.split(",") if one for part in ("--option", one)]
    below = ("--branch-below", recipe.branch_below) if recipe.branch_below >= 0 else ()
    return (
        *options,
        *below,
        *("--max-step-tokens", recipe.max_step_tokens, "--max-tokens", recipe.max_new_tokens),
        *("--batch-size", recipe.bench_batch),
    )


def _greedy(
    plan: Stages, recipe: Recipe, name: str, about: str, model: tuple[str, ...], seeded: tuple[object, ...]
) -> None:
    """Greedy decoding of one of the models on the way, on the problems that the final model is measured on."""
    greedy = ("--searcher", "greedy", "--arms", "greedy", "--sims", 1, "--limit", recipe.test_problems, "--no-traces")
    plan.add(name, about, "bench", "countdown", *model, *greedy, *_how(recipe), *seeded, "--json", partial=True)


def _search(plan: Stages, recipe: Recipe, value: str, final: str, seeded: tuple[object, ...]) -> None:
    """Search with the RL policy, and with the final model."""
    search = ("--searcher", recipe.searcher, *_how(recipe), *seeded, "--json", "--no-traces")
    plan.add(
        "bench-search",
        "search with the RL policy and the value head",
        *("bench", "countdown", "--model", f"{value}/model", "--sims", recipe.aim_sims),
        *("--limit", recipe.test_problems, *search),
        partial=True,
    )
    for name, about, benchmark, count, sims in (
        (FINAL_BENCH, "the final model on held-out problems", "countdown", recipe.test_problems, recipe.sims),
        (
            HARDER_BENCH,
            "the final model on problems with 5 numbers",
            "countdown-5",
            recipe.harder_problems,
            recipe.harder_sims,
        ),
    ):
        model = ("--model", f"{final}/model", "--sims", _listed(sims), "--limit", count)
        plan.add(name, about, "bench", benchmark, *model, *search, partial=True)


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
