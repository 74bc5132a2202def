"""The recipe of ``colasearch experiment preference``: do latent actions game a reward model less than tokens do?

For each kind of preference a *gold* scorer pays texts of the starting model; few pairs of them train a *proxy* reward
model. RL is paid by the proxy alone, on codes and on tokens with equally many trained numbers, with and without a KL
term. The gold score of the same rollouts is only watched: it rides along with the weight ``WATCHED``, as do measures of
diversity. The question is CoLA's (arXiv 2503.21383, figure 5), the curves are those of Gao et al., "Scaling laws for
reward model overoptimization" (arXiv 2210.10760): proxy and gold against the divergence from the start.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from colasearch.errors import InputError
from colasearch.experiments.running.stages import Stage, Stages
from colasearch.rows import read_rows, text_of

DATA, MODEL = "data", "model"
LABEL, PROMPTS, GOLD = f"{DATA}/label.jsonl", f"{DATA}/prompts.jsonl", f"{DATA}/gold.py"
LEVELS = ("codes", "tokens")
WATCHED = 1e-12
"""Weight of what is only watched: below the rounding of the proxy's own number."""
MEASURES = ("variety", "difference")
FORMS = (
    "Write two sentences about {}.",
    "Describe {} in two sentences.",
    "Tell me something about {}.",
    "Give a short opinion on {}.",
)
TOPICS = (
    *(
        "rivers",
        "bread",
        "winter mornings",
        "public libraries",
        "chess",
        "bicycles",
        "the ocean",
        "gardens",
        "old maps",
    ),
    *("trains", "coffee", "mountains", "school lunches", "painting", "spiders", "clocks", "street markets", "rain"),
    *("football", "museums", "bees", "friendship", "cheap hotels", "violins", "the moon", "cooking", "airports"),
    *("dogs", "weather forecasts", "volcanoes", "letters", "dancing", "forests", "online shopping", "dentists"),
    *("islands", "breakfast", "astronomy", "carpets", "holidays", "recycling", "cinemas", "bridges", "soap", "owls"),
    *("taxes", "toys", "deserts", "newspapers", "tea", "swimming", "castles", "robots", "honey", "umbrellas"),
    *("neighbours", "photography", "potatoes", "traffic", "poetry", "wolves", "candles", "exams", "snow"),
)


@dataclass(frozen=True, slots=True)
class Preference:
    """Every number of the experiment.

    Attributes:
        model: With a policy; RL starts from it, and the proxy is made of its base.
        golds: Kinds of preference: functions of ``gold.py``.
        prompts: A file of prompts of one's own; empty for ours.
        task: Of the prompts: how the model is asked.
        label_prompts, samples: Prompts whose texts are scored for pairs, and texts of each.
        pairs: Pairs that the proxy sees, held-out ones included.
        rm_tune, rm_rank, rm_epochs, rm_lr, rm_batch, rm_heldout: Of the proxy's training.
        rl_prompts: Prompts of RL; none of them was labelled.
        betas: Weights of the KL term.
        seeds: Runs of each kind of RL.
        rounds, batch, group, lr_codes, lr_tokens, max_new_tokens, temperature: Of RL.
        seed: The first run's; of all else, too.
        threads: CPU threads of each stage.
    """

    model: str = "smollm2-135m"
    golds: tuple[str, ...] = ("academy", "business", "entertainment", "literature")
    prompts: str = ""
    task: str = "format"
    label_prompts: int = 64
    samples: int = 8
    pairs: int = 150
    rm_tune: str = "lora"
    rm_rank: int = 8
    rm_epochs: int = 3
    rm_lr: float = 3e-4
    rm_batch: int = 8
    rm_heldout: float = 0.2
    rl_prompts: int = 128
    betas: tuple[float, ...] = (0.0, 0.01)
    seeds: int = 3
    rounds: int = 60
    batch: int = 8
    group: int = 8
    lr_codes: float = 3e-4
    lr_tokens: float = 3e-4
    max_new_tokens: int = 48
    temperature: float = 1.0
    seed: int = 0
    threads: int = 1

    def check(self) -> None:
        """Check what would cost time before it is found.

        Raises:
            InputError: A number or a name is of no use.
        """
        from colasearch.experiments.recipes import gold

        for name in self.golds:
            if not callable(getattr(gold, name, None)) or name.startswith("_") or name in MEASURES:
                raise InputError(
                    f"golds has {name!r}; it must be of academy, business, entertainment, literature, brief and solved"
                )
        least = {"label_prompts": 1, "samples": 2, "pairs": 2, "rl_prompts": 1, "seeds": 1, "rounds": 1, "group": 2}
        for field, most in least.items():
            if getattr(self, field) < most:
                raise InputError(f"{field} is {getattr(self, field)}; it must be at least {most}")
        if not self.betas or min(self.betas) < 0:
            raise InputError(f"betas is {self.betas}; give one or more numbers of at least 0")


SIZES = {
    "full": Preference(),
    "smoke": Preference(
        model="countdown-tiny",
        golds=("brief",),
        label_prompts=6,
        samples=3,
        pairs=8,
        rm_tune="full",
        rm_epochs=1,
        rm_batch=4,
        rm_heldout=0.3,
        rl_prompts=4,
        betas=(0.0,),
        seeds=2,
        rounds=3,
        batch=2,
        group=2,
        max_new_tokens=16,
    ),
}


def run_name(gold: str, level: str, beta: float, seed: int) -> str:
    """Name of a stage of RL."""
    return f"rl-{gold}-{level}-{beta:g}-{seed}"


def proxy_spec(folder: str) -> str:
    """The spec of the proxy that a stage has made."""
    return f"rm:{folder}/{MODEL}"


def stages(how: Preference) -> list[Stage]:
    """All stages, in order."""
    how.check()
    plan = Stages()
    threads = ("--threads", how.threads)
    for gold in how.golds:
        wanted = f"{GOLD}:{gold}"
        rollouts = plan.add(
            f"label-{gold}", f"texts of the starting model, scored by the gold scorer {gold}", "train", "rollouts",
            "--model", how.model, "--data", LABEL, "--task", how.task, "--on", "tokens", "--samples", how.samples,
            "--max-new-tokens", how.max_new_tokens, "--reward", wanted, "--heldout", 0, "--seed", how.seed, *threads,
            output="rollouts.jsonl", goes_on=True,
        )  # fmt: skip
        pairs = plan.add(
            f"pairs-{gold}", "few pairs of them", "train", "pairs", "--rollouts", rollouts, "--model", how.model,
            "--data", LABEL, "--task", how.task, "--most", how.pairs, "--per-problem", how.samples // 2, "--seed",
            how.seed, output="pairs.jsonl",
        )  # fmt: skip
        proxy = plan.add(
            f"reward-{gold}", "the proxy: a reward model of these pairs", "train", "reward", "--model", how.model,
            "--data", pairs, "--tune", how.rm_tune, "--rank", how.rm_rank, "--epochs", how.rm_epochs, "--lr",
            how.rm_lr, "--batch", how.rm_batch, "--heldout", how.rm_heldout, "--warmup-steps", 2, "--seed", how.seed,
            *threads,
        )  # fmt: skip
        watched = [part for name in (gold, *MEASURES) for part in ("--reward", f"{GOLD}:{name}*{WATCHED:g}")]
        for beta in how.betas:
            for number in range(how.seeds):
                for level in LEVELS:
                    equal = ("--match-policy",) if level == "tokens" else ()
                    plan.add(
                        run_name(gold, level, beta, how.seed + number),
                        f"RL on {level}, paid by the proxy, beta {beta:g}, seed {how.seed + number}",
                        *("train", "rl", "--model", how.model, "--data", PROMPTS, "--task", how.task, "--on", level),
                        *(*equal, "--algorithm", "grpo", "--rounds", how.rounds, "--batch", how.batch, "--group"),
                        *(how.group, "--lr", how.lr_codes if level == "codes" else how.lr_tokens, "--beta", beta),
                        *("--max-new-tokens", how.max_new_tokens, "--temperature", how.temperature, "--heldout", 0),
                        *("--reward", proxy_spec(proxy), *watched, "--warmup-steps", 2, "--seed", how.seed + number),
                        *threads,
                    )
    return plan.found


def data_files(how: Preference) -> dict[str, str]:
    """The contents of the run's files by name: the two sets of prompts, and the gold scorers.

    Raises:
        InputError: There are fewer prompts than are wanted.
    """
    from colasearch.experiments.recipes import gold

    if how.prompts:
        texts = list(dict.fromkeys(text_of(row) for row in read_rows(Path(how.prompts))))
    else:
        texts = [form.format(topic) for form in FORMS for topic in TOPICS]
    wanted = how.label_prompts + how.rl_prompts
    if len(texts) < wanted:
        raise InputError(f"label_prompts and rl_prompts are {wanted} together, and there are {len(texts)} prompts")
    random.Random(f"colasearch preference {how.seed}").shuffle(texts)
    sets = {LABEL: texts[: how.label_prompts], PROMPTS: texts[how.label_prompts : wanted]}
    found = {name: "".join(json.dumps({"problem": text}) + "\n" for text in part) for name, part in sets.items()}
    found[GOLD] = Path(str(gold.__file__)).read_text(encoding="utf-8")
    return found
