"""The recipe of ``colasearch experiment agents``: a tiny model from nothing that acts in a world of texts.

A base that learns the world's language from few solved episodes, latent actions, a policy that clones their actions;
then RL on codes and on tokens with equal rollouts and about equal numbers of trained parameters, each from several
seeds; what either did to the base's text; and searches against best-of-N. The questions are CoLA's (arXiv 2503.21383,
agent tasks): does RL on codes gain as much, and does it leave the base unharmed? docs/experiments.md has the stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colasearch.errors import InputError
from colasearch.experiments.running.stages import Stage, Stages

LEVELS = ("codes", "tokens")
START_BENCHES = {"codes": "bench-policy", "tokens": "bench-base"}
TOGETHER = 50
"""Episodes played at a time."""
SEARCH, SEARCH_TOKENS, VALUE = "bench-search", "bench-search-tokens", "value"


@dataclass(frozen=True, slots=True)
class Agents:
    """Every number of the experiment.

    Attributes:
        environment: An environment with gold actions.
        episodes, text_episodes: Solved episodes whose actions the base learns, and the first of them, of which it
            learns all text. Of more text the actions would be too small a part to be learned in the time.
        cloned: The first of them, whose actions get codes and are cloned. So few, and so little training, that reward
            has something to add.
        heldout_share: Of the texts that base, codes and policy learn from, kept to measure on.
        heldout_episodes: Episodes of dev variations whose observations say what RL did to the base's text.
        words, width, layers, heads, context: Of the base: words that are tokens, and its shape.
        base_epochs, base_lr, base_batch_tokens, warmup_steps: Of its training.
        codes, policy_layers, policy_ffn: Of the latent modules; 0: as wide as the base's.
        action_epochs, policy_epochs, action_lr: Of stages 1 and 2.
        seeds: Runs of RL of each kind.
        rounds, batch, group, rl_lr, rl_token_lr, beta, algorithm, merge_codes: Of RL, equal but for the learning rates.
        value_tokens, value_samples, value_epochs: Of the value head: tokens of actions to roll out, episodes of each
            variation, epochs.
        max_steps: Longest episode, in actions, of RL and of every measurement; 0: the environment's own limit.
        test: Episodes of the test split that models are measured on; ``search_test`` those of the searches.
        searcher, sims, width_of_search: Of the searches.
        seed: The first run's; of all else, too.
        threads: CPU threads of each stage.
    """

    environment: str = "house"
    episodes: int = 3000
    text_episodes: int = 400
    cloned: int = 1000
    heldout_episodes: int = 60
    heldout_share: float = 0.05
    words: int = 150
    width: int = 64
    layers: int = 4
    heads: int = 4
    context: int = 1024
    base_epochs: int = 4
    base_lr: float = 4e-3
    base_batch_tokens: int = 2048
    warmup_steps: int = 20
    codes: int = 16
    policy_layers: int = 1
    policy_ffn: int = 0
    action_epochs: int = 2
    policy_epochs: int = 3
    action_lr: float = 2e-3
    seeds: int = 3
    rounds: int = 12
    batch: int = 8
    group: int = 8
    max_steps: int = 20
    rl_lr: float = 3e-4
    rl_token_lr: float = 1e-3
    beta: float = 1e-3
    algorithm: str = "grpo"
    merge_codes: int = 8
    value_tokens: int = 20_000
    value_samples: int = 4
    value_epochs: int = 10
    test: int = 300
    search_test: int = 150
    searcher: str = "gumbel"
    sims: tuple[int, ...] = (16, 64)
    width_of_search: int = 8
    seed: int = 0
    threads: int = 1

    def check(self) -> None:
        """Check what would cost time before it is found.

        Raises:
            InputError: A number is of no use.
        """
        least = {
            "episodes": 10, "heldout_episodes": 1, "seeds": 1, "rounds": 1, "group": 2, "test": 1, "search_test": 1,
            "value_tokens": 1,
        }  # fmt: skip
        for field, most in least.items():
            if getattr(self, field) < most:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at least {most}")
        if not self.sims or min(self.sims) < 1:
            raise InputError(f"sims is {self.sims}; give one or more numbers of at least 1")


SIZES = {
    "full": Agents(),
    # Seconds of training make no model that solves anything: this size shows that the parts fit together.
    "smoke": Agents(
        episodes=12,
        text_episodes=12,
        cloned=12,
        heldout_episodes=3,
        heldout_share=0.3,  # of twelve texts five in a hundred may be none
        words=100,
        width=32,
        layers=1,
        heads=2,
        base_epochs=1,
        warmup_steps=1,
        codes=4,
        action_epochs=1,
        policy_epochs=1,
        seeds=1,
        rounds=2,
        batch=2,
        group=2,
        max_steps=4,
        value_tokens=1,
        value_samples=2,
        value_epochs=1,
        test=3,
        search_test=3,
        sims=(2, 3),
        width_of_search=2,
    ),
}


def rl_name(level: str, seed: int) -> str:
    """Name of a stage of RL."""
    return f"rl-{level}-{seed}"


def bench_name(level: str, seed: int) -> str:
    """Name of the stage that measures what it made."""
    return f"bench-{level}-{seed}"


def text_name(level: str, seed: int) -> str:
    """Name of the stage that measures what it did to the base's text."""
    return f"text-{level}-{seed}"


def stages(how: Agents) -> list[Stage]:
    """All stages, in order."""
    how.check()
    plan = Stages()
    seeded = ("--seed", how.seed, "--threads", how.threads)
    kind = ("train", "problems", "--kind", f"env:{how.environment}", "--seed", how.seed)

    def episodes(name: str, about: str, count: int, *more: object) -> str:
        return plan.add(name, about, *kind, "--count", count, *more, output="problems.jsonl")

    rows = episodes("episodes", "solved episodes of train variations", how.episodes)
    text = episodes("text", "the first of them as plain text, observations too", how.text_episodes, "--text")
    cloned = episodes("cloned", "the first of them, to get codes and to be cloned", how.cloned)
    held = episodes("heldout", "episodes of dev variations, for their text", how.heldout_episodes, "--split", "heldout")
    policy = _start(plan, how, (text, rows), cloned, seeded)
    for level in LEVELS:
        _episodes(plan, how, START_BENCHES[level], f"before RL, on {level}", policy, level, seeded)
    trained = {level: [_rl(plan, how, policy, level, number) for number in range(how.seeds)] for level in LEVELS}
    value = _value(plan, how, trained["codes"][0], seeded)
    for level in LEVELS:
        for number, folder in enumerate(trained[level]):
            seed = how.seed + number
            _episodes(plan, how, bench_name(level, seed), f"after RL on {level}, seed {seed}", folder, level, seeded)
            plan.add(
                text_name(level, seed),
                f"what RL on {level}, seed {seed}, did to the base's text",
                *("bench", "forgetting", "--before", f"{policy}/model", "--after", f"{folder}/model", "--data", held),
                *("--on", "both" if level == "codes" else "tokens", "--max-tokens", how.context, *seeded, "--json"),
                output="text.json",
            )
    _search(plan, how, value, seeded)
    return plan.found


def _start(plan: Stages, how: Agents, read: Sequence[str], cloned: str, seeded: tuple[object, ...]) -> str:
    """The base, from the files ``read``, and stages 1 and 2, from ``cloned``; returns the folder of the last."""
    data = [part for file in read for part in ("--data", file)]
    most = ("--max-tokens", how.context, "--heldout", how.heldout_share, "--warmup-steps", how.warmup_steps)
    base = plan.add(
        "base",
        "a small Llama over words, from nothing",
        *("train", "base", *data, "--words", how.words, "--width", how.width, "--layers", how.layers),
        *("--heads", how.heads, "--context", how.context, "--epochs", how.base_epochs, "--lr", how.base_lr),
        *("--batch-tokens", how.base_batch_tokens, *most, *seeded),
    )
    shape: tuple[object, ...] = ("--codes", how.codes, "--policy-layers", how.policy_layers)
    shape = (*shape, "--policy-ffn", how.policy_ffn) if how.policy_ffn else shape
    actions = plan.add(
        "actions",
        "stage 1: codes of what is done; observations are read, and nothing is learned of writing them",
        *("train", "actions", "--model", f"{base}/model", "--data", cloned, *shape, "--epochs", how.action_epochs),
        *("--lr", how.action_lr, *most, *seeded),
    )
    return plan.add(
        "policy",
        "stage 2: the policy clones the actions of the solved episodes",
        *("train", "policy", "--model", f"{actions}/model", "--data", cloned, "--epochs", how.policy_epochs),
        *("--lr", how.action_lr, *most, *seeded),
    )


def _rl(plan: Stages, how: Agents, policy: str, level: str, number: int) -> str:
    seed = how.seed + number
    own: tuple[object, ...] = ("--match-policy",) if level == "tokens" else ()
    if level == "codes" and how.merge_codes:
        own = ("--merge-codes", how.merge_codes)
    return plan.add(
        rl_name(level, seed),
        f"RL on {level}, seed {seed}: the reward is the episode's score",
        *("train", "rl", "--model", f"{policy}/model", "--data", f"env:{how.environment}", "--on", level, *own),
        *("--algorithm", how.algorithm, "--rounds", how.rounds, "--batch", how.batch, "--group", how.group),
        *("--rows", how.batch * how.group, "--lr", how.rl_lr if level == "codes" else how.rl_token_lr),
        *("--beta", how.beta, "--heldout", 0, "--warmup-steps", 2, "--micro-tokens", 8192),
        *_longest(how),
        *("--seed", seed, "--threads", how.threads),
    )


def _value(plan: Stages, how: Agents, model: str, seeded: tuple[object, ...]) -> str:
    rollouts = plan.add(
        "rollouts",
        "episodes that the policy over codes plays, for the value head",
        *("train", "rollouts", "--model", f"{model}/model", "--data", f"env:{how.environment}"),
        *("--samples", how.value_samples, "--most-tokens", how.value_tokens, *seeded),
        output="rollouts.jsonl",
        goes_on=True,
    )
    return plan.add(
        VALUE,
        "the value head: what the rest of an episode brings",
        *("train", "value", "--model", f"{model}/model", "--rollouts", rollouts, "--epochs", how.value_epochs, *seeded),
    )


def _bench(how: Agents, count: int) -> tuple[object, ...]:
    at_once = min(count, TOGETHER)
    limits = ("--split", "test", "--limit", count, "--batch-size", at_once, *_longest(how))
    return ("bench", f"env:{how.environment}", *limits)


def _longest(how: Agents) -> tuple[object, ...]:
    return ("--max-steps", how.max_steps) if how.max_steps else ()


def _episodes(
    plan: Stages, how: Agents, name: str, about: str, folder: str, level: str, seeded: tuple[object, ...]
) -> None:
    """Episodes played once, greedily, written freely as in RL."""
    actions = "latent" if level == "codes" else "sampled"
    plan.add(
        name,
        about,
        *(*_bench(how, how.test), "--model", f"{folder}/model", "--actions", actions, "--searcher", "greedy"),
        *("--arms", "greedy", "--sims", 1, "--no-valid-actions", *seeded, "--json"),
        partial=True,
    )


def _search(plan: Stages, how: Agents, model: str, seeded: tuple[object, ...]) -> None:
    """Planning in the true environment against whole episodes, at equal steps and at equal tokens."""
    for name, equal, arms in (
        (SEARCH, "steps", "greedy,sampled,majority,best_of_n"),
        (SEARCH_TOKENS, "tokens", "best_of_n"),
    ):
        plan.add(
            name,
            f"search against best-of-N at equal {equal}",
            *(*_bench(how, how.search_test), "--model", f"{model}/model", "--searcher", how.searcher, "--arms", arms),
            *(
                "--equal",
                equal,
                "--sims",
                ",".join(map(str, how.sims)),
                "--width",
                how.width_of_search,
                "--no-traces",
                *seeded,
                "--json",
            ),
            partial=True,
        )
