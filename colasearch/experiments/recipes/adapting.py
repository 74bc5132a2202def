"""The recipe of ``colasearch adapt``: from a base to latent actions, planned from what ``train speed`` measured.

A budget of tokens gives the same plan on every machine; one of minutes is divided by the measured speeds. The plan is
kept with the run, so a run that is gone on with elsewhere keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colasearch.errors import InputError
from colasearch.experiments.running.stages import Stage, Stages

DATA = "data"
PROBLEMS = f"{DATA}/problems.jsonl"
"""The problems of own texts, in an order that their wording alone fixes: any first part is a fair sample."""
MODEL = "model"
LEAST_EPOCHS, MOST_EPOCHS = 2, 8
LEAST_STEPS = 20
"""Of each stage: with fewer no code has found its use."""
AIMED_STEPS = 150
"""The batch shrinks, down to ``LEAST_BATCH`` tokens, until there are so many."""
LEAST_BATCH, MOST_BATCH = 512, 8192
TEXT_TOKENS = 150
"""Tokens of a text, where no one has seen one: for how many samples a problem are wanted."""
FEWEST_TOKENS = 15
"""Tokens of a text, at least: how many problems are made ready, since each prompt takes a millisecond."""
LEAST_SAMPLES, MOST_SAMPLES = 4, 16
"""Texts a problem: right ones can be told from wrong ones only where there are several."""
OPEN_BELOW = 0.95
"""On own texts stage 1 learns where the base's likeliest token has a smaller probability."""
KNOWN_WIDTH = 896
"""Up to this width of base a learning rate of 1e-3 has been tried; beyond it falls with the root of the width."""
MIXTURE_SHARE = 0.05
"""Of the time that the mixture's measure may take."""
VALUE_BYTES = 1 << 30
"""Of hidden states that the value head learns from."""
SPARE = 0.9
"""Of the minutes is planned with; the rest is for what cannot be measured beforehand."""
STAGES_AFTER = 5
"""Stages after the speed, each of which loads the base."""


@dataclass(frozen=True, slots=True)
class Adapting:
    """What the user wants.

    Attributes:
        base: Known name, folder or file of the base, absolute where it is one.
        data: Texts, absolute.
        tokens: Of text that stage 1 trains on, repetitions included; None: ``minutes`` says.
        minutes: For all.
        own_texts: See ``train speed``.
        codes: Size of the codebook.
        seed: Fixes everything.
        device, dtype, threads: As in ``train``.
    """

    base: str
    data: tuple[str, ...]
    tokens: int | None
    minutes: float
    own_texts: bool | None
    codes: int
    seed: int
    device: str
    dtype: str
    threads: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of the stages.

    Attributes:
        own: Codes are learned on what the base writes.
        tokens: Of different text.
        epochs: Of stages 1 and 2.
        batch_tokens, lr, warmup_steps, revive_every: Of both stages.
        problems: That are at hand for it.
        samples, text_limit, rows: Of the base's texts.
        heldout: Share of the texts, or problems, never trained on.
        max_tokens: Of a document.
        mixture_positions: States at which the mixture is compared with the base.
        value: There are problems with answers.
        value_states: The value head learns from so many states.
        micro_tokens: Padded tokens in one pass.
        sizes: Of the modules.
        seconds: What each part is expected to take; empty for a budget of tokens.
    """

    own: bool
    tokens: int
    epochs: int
    batch_tokens: int
    lr: float
    warmup_steps: int
    revive_every: int
    problems: int
    samples: int
    text_limit: int
    rows: int
    heldout: float
    max_tokens: int
    mixture_positions: int
    value: bool
    value_states: int
    micro_tokens: int
    sizes: Mapping[str, int]
    seconds: Mapping[str, float]


def plan_of(how: Adapting, speed: Mapping[str, Any], spent: float = 0.0) -> Plan:
    """Divide the budget.

    Args:
        how: What is wanted.
        speed: What ``train speed`` printed.
        spent: Seconds that are gone already.

    Raises:
        InputError: The budget is too small for ``LEAST_STEPS`` steps.
    """
    own = bool(speed["own_texts"])
    given = None if own else int(speed["text_tokens"])
    seconds: dict[str, float] = {}
    if how.tokens is not None:
        tokens, epochs = _by_tokens(how.tokens, given)
        positions = min(256, max(32, tokens // 16))
    else:
        tokens, epochs, seconds, positions = _by_minutes(how.minutes, how.codes, speed, given, spent)
    batch = max(LEAST_BATCH, min(MOST_BATCH, _power(tokens * epochs / AIMED_STEPS)))
    steps = tokens * epochs // batch
    if steps < LEAST_STEPS and how.tokens is None:
        raise InputError(
            f"{how.minutes:g} minutes are enough for {tokens:,} tokens of text, {steps} steps of each stage on this "
            f"machine; {LEAST_STEPS} are the least: give about {how.minutes * LEAST_STEPS / max(1, steps) + 1:.0f} "
            "--minutes"
        )
    width = int(speed["width"])
    limit = min(512, int(speed["context"]) // 2)
    problems = int(speed["problems"])
    samples = min(MOST_SAMPLES, max(LEAST_SAMPLES, math.ceil(tokens / max(1, problems * TEXT_TOKENS))))
    texts = tokens / (samples * TEXT_TOKENS) if own else tokens / TEXT_TOKENS
    return Plan(
        own=own,
        tokens=tokens,
        epochs=epochs,
        batch_tokens=batch,
        lr=float(f"{1e-3 * min(1.0, math.sqrt(KNOWN_WIDTH / width)):.1g}"),
        warmup_steps=max(2, min(50, steps // 15)),
        revive_every=max(5, min(50, steps // 12)),
        problems=min(problems, math.ceil(tokens / (samples * FEWEST_TOKENS))),
        samples=samples,
        text_limit=limit,
        rows=int(speed["rows"]),
        heldout=round(min(0.3, max(0.03, 12 / max(1.0, texts))), 3),
        max_tokens=min(2048, int(speed["context"])) if own else 512,
        mixture_positions=positions,
        value=problems > 0,
        value_states=VALUE_BYTES // (8 * width),
        micro_tokens=min(int(speed["micro_tokens"]), batch),
        sizes=dict(speed["sizes"]),
        seconds=seconds,
    )


def _by_tokens(budget: int, given: int | None) -> tuple[int, int]:
    """Different tokens, and epochs: as much different text as there is, read twice at least."""
    tokens = budget // LEAST_EPOCHS if given is None else min(given, budget // LEAST_EPOCHS)
    return max(1, tokens), max(LEAST_EPOCHS, round(budget / max(1, tokens)))


def _by_minutes(
    minutes: float, codes: int, speed: Mapping[str, Any], given: int | None, spent: float
) -> tuple[int, int, dict[str, float], int]:
    """Different tokens, epochs, seconds by part and the mixture's positions.

    A token costs its making (writing and hidden state) once and a step of each stage an epoch. As much time goes into
    the steps as into the making, within bounds.
    """
    of = speed["seconds"]
    fixed = spent + STAGES_AFTER * float(speed["load_seconds"])
    left = max(1.0, SPARE * 60 * minutes - fixed)
    positions = int(min(256, max(16, MIXTURE_SHARE * left / (codes * of["head"]))))
    left -= positions * codes * of["head"]
    make = of["hidden"] + (of["write"] or 0.0 if given is None else 0.0)
    step = of["actions"] + of["policy"]
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(make / step)))
    tokens = max(1, int(left / (make + epochs * step)))
    if given is not None and tokens > given:
        tokens = given
        epochs = max(LEAST_EPOCHS, int((left / tokens - make) / step))
    parts = {
        "texts": tokens * (of["write"] or 0.0) if given is None else 0.0,
        "hidden": tokens * of["hidden"],
        "actions": tokens * epochs * of["actions"],
        "policy": tokens * epochs * of["policy"],
        "evaluation": positions * codes * of["head"],
    }
    return tokens, epochs, {name: round(value, 1) for name, value in parts.items()}, positions


def _power(number: float) -> int:
    """The greatest power of two that is not above ``number``."""
    return int(2 ** math.floor(math.log2(max(1.0, number))))


def speed_stage(how: Adapting) -> Stages:
    """The first stage, whose result the plan is made of."""
    stages = Stages()
    own = () if how.own_texts is None else ("--own-texts" if how.own_texts else "--given-texts",)
    rows = ("--rows", 256) if how.device.startswith("cuda") else ()
    stages.add(
        "speed", "what base, texts and machine are like", "train", "speed", "--model", how.base, *_data(how), *own,
        *rows, *_where(how), output="speed.json",
    )  # fmt: skip
    return stages


def stages(how: Adapting, plan: Plan) -> list[Stage]:
    """All stages, the first included."""
    made = speed_stage(how)
    where, seed = _where(how), ("--seed", how.seed)
    data: tuple[Any, ...] = (*_data(how), "--most-tokens", plan.tokens)
    texts = None
    if plan.own:
        texts = made.add(
            "texts", "texts that the base itself writes", "train", "rollouts", *_roll(plan), "--model", how.base,
            "--on", "tokens", "--most-tokens", plan.tokens, *where, *seed, output="rollouts.jsonl", goes_on=True,
        )  # fmt: skip
        data = ("--data", texts)
    data = (*data, "--max-tokens", plan.max_tokens, "--heldout", plan.heldout)
    loop = (
        "--epochs", plan.epochs, "--batch-tokens", plan.batch_tokens, "--micro-tokens", plan.micro_tokens, "--lr",
        plan.lr, "--warmup-steps", plan.warmup_steps, "--save-every", 50, "--evaluate-every", 1 << 30, *seed,
        "--mixture-positions", 0,
    )  # fmt: skip
    sizes = [word for name, size in plan.sizes.items() for word in (f"--{name.replace('_', '-')}", size)]
    actions = made.add(
        "actions", "stage 1: inverse dynamics model, codebook, merge head", "train", "actions", "--model", how.base,
        *data, *where, *loop, "--codes", how.codes, *sizes, "--revive-every", plan.revive_every,
        *(("--open-below", OPEN_BELOW) if plan.own else ()),
    )  # fmt: skip
    model = made.add(
        "policy", "stage 2: the policy", "train", "policy", "--model", f"{actions}/{MODEL}", *data, *where, *loop
    )
    if plan.value:
        if texts is None:
            texts = made.add(
                "rollouts", "texts by codes, for the value head", "train", "rollouts", *_roll(plan), "--model",
                f"{model}/{MODEL}", "--most-tokens", max(1, plan.tokens // 4), *where, *seed,
                output="rollouts.jsonl", goes_on=True,
            )  # fmt: skip
        model = made.add(
            "value", "a value head from the texts' rewards", "train", "value", "--model", f"{model}/{MODEL}",
            "--rollouts", texts, "--most-states", plan.value_states, "--epochs", 3, "--batch", 1024, "--heldout",
            plan.heldout, *where, *seed,
        )  # fmt: skip
    made.add(
        "evaluation", "measures on held-out texts", "train", "evaluate", "--model", f"{model}/{MODEL}", *data, *where,
        "--limit", 64, "--samples", 8, "--mixture-positions", plan.mixture_positions, "--json",
        output="evaluation.json",
    )  # fmt: skip
    return made.found


def final_stage(plan: Plan) -> str:
    """Whose model is the run's."""
    return "value" if plan.value else "policy"


def _roll(plan: Plan) -> tuple[Any, ...]:
    return (
        "--data", PROBLEMS, "--samples", plan.samples, "--max-new-tokens", plan.text_limit, "--rows", plan.rows,
        "--heldout", 0, "--skip-long",
    )  # fmt: skip


def _data(how: Adapting) -> list[str]:
    return [word for path in how.data for word in ("--data", path)]


def _where(how: Adapting) -> tuple[Any, ...]:
    threads = () if how.threads is None else ("--threads", how.threads)
    return ("--device", how.device, "--dtype", how.dtype, *threads)
