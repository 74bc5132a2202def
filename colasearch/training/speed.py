"""How fast this machine makes latent actions for a base: what ``adapt`` plans with, and what costs are counted from.

Each part is done once to warm up and once, or until half a second has passed, to be timed. Everything but the seconds
depends on base, texts and seed alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from colasearch.model.latent_lm import LatentLM, LatentModules, latent_config, new_latents
from colasearch.problem import LabelledProblem
from colasearch.training.data.corpus import Document
from colasearch.training.data.hidden_cache import FreshStates, HiddenStates
from colasearch.training.latent_actions.actions import ActionLearner, ActionsConfig
from colasearch.training.latent_actions.cloning import PolicyCloner
from colasearch.training.reinforcement.rl import Episode
from colasearch.training.reinforcement.rollout import Roller, RolloutConfig

LEAST_S = 0.5
"""A part is repeated until so much time has passed."""
STEP_TOKENS = 512
"""Counted tokens of the step that is timed."""
TRIAL_TOKENS = 16
"""Longest text of the trial of writing."""
SMALL_BASE_LIMIT = 12_000_000
"""Most parameters of policy, codebook and merge head together, for bases up to half a billion."""
LIMIT_SHARE = 0.025
"""The same, as a share of a larger base's."""
POLICY_SHAPES = ((2, 1.0), (2, 0.75), (2, 0.5), (1, 1.0), (1, 0.5), (1, 0.25))
"""Blocks of the policy and the width of their MLPs in widths of the base, largest first."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds on this machine.

    Attributes:
        write: A token of text that the base writes, many texts at a time; None where it was not tried.
        hidden: A token's hidden state.
        actions, policy: A token in a step of stage 1 or 2 whose hidden states are at hand.
        head: A row through the output head.
    """

    write: float | None
    hidden: float
    actions: float
    policy: float
    head: float


def timed(part: Callable[[], Any]) -> float:
    """Seconds of ``part``, after one time that does not count."""
    part()
    _settle()
    count, begun = 0, time.perf_counter()
    while True:
        part()
        _settle()
        count += 1
        if (spent := time.perf_counter() - begun) >= LEAST_S:
            return spent / count


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def sizes_for(lm: LatentLM) -> dict[str, Any]:
    """Sizes of modules that keep policy, codebook and merge head within the limit for this base, where any do."""
    base = lm.base
    weights = sum(p.numel() for p in base.model.parameters())
    limit = max(SMALL_BASE_LIMIT, int(LIMIT_SHARE * weights))
    for layers, share in POLICY_SHAPES:
        sizes: dict[str, Any] = {"policy_layers": layers, "policy_ffn": 32 * math.ceil(base.hidden_size * share / 32)}
        with torch.device("meta"):
            modules = LatentModules(latent_config(base, **sizes))
        if sum(p.numel() for part in ("policy", "codebook", "merge") for p in getattr(modules, part).parameters()) <= (
            limit
        ):
            return sizes
    return sizes


def micro_tokens(vocabulary: int, device: str) -> int:
    """Padded tokens in one pass, so that its logits take at most 0.4 GB (8 GB on a GPU) a copy, of about three."""
    most = (2e9 if device == "cuda" else 1e8) / vocabulary
    return int(min(16384, max(256, 2 ** math.floor(math.log2(most)))))


def measure(
    lm: LatentLM, documents: Sequence[Document], problems: Sequence[LabelledProblem], sizes: dict[str, Any], rows: int
) -> Speed:
    """Time every part.

    Args:
        lm: The base.
        documents: Some texts, a few thousand tokens.
        problems: For the trial of writing; none: it is left out.
        sizes: Of the modules.
        rows: Texts written at a time.
    """
    base = lm.base
    write = writing(lm, problems, rows) if problems else None
    fresh = FreshStates(documents, base)
    chosen = some_of(documents, STEP_TOKENS)
    counted = sum(len(documents[i].tokens) for i in chosen)
    hidden = timed(lambda: fresh.batch(chosen)) / counted
    rows_of = [documents[i] for i in chosen]
    batch = fresh.batch(chosen).hidden_BTD
    kept = [batch[row, : len(document.tokens)] for row, document in enumerate(rows_of)]
    states = HiddenStates(rows_of, torch.cat(kept).half(), base.device)
    modules = new_latents(base, 0, **sizes).to(base.device)
    micro = micro_tokens(base.vocab_size, base.device.type)
    learner = ActionLearner(modules, base, states, ActionsConfig(micro_tokens=micro), 0)
    every = range(len(rows_of))
    actions = timed(_step(learner, every)) / counted
    policy = timed(_step(PolicyCloner(modules, states, micro, base=base), every)) / counted
    some = states.of(0)[:64].to(base.dtype)
    with torch.no_grad():
        head = timed(lambda: base.logits(some)) / len(some)
    return Speed(write, hidden, actions, policy, head)


def _step(learner: Any, indices: Sequence[int]) -> Callable[[], None]:
    parameters: list[nn.Parameter] = learner.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        learner.accumulate(indices, 0, 1)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def some_of(documents: Sequence[Document], tokens: int) -> list[int]:
    """The first documents that have ``tokens`` tokens together, or all."""
    chosen: list[int] = []
    total = 0
    for index in range(len(documents)):
        if total >= tokens:
            break
        chosen.append(index)
        total += len(documents[index].tokens)
    return chosen


def writing(lm: LatentLM, problems: Sequence[LabelledProblem], rows: int) -> float:
    """Seconds a token of ``rows`` texts written together, prompts included."""
    group = 4
    few = list(problems[: max(1, rows // group)])

    def roll(count: int, tokens: int) -> list[Episode]:
        config = RolloutConfig(latent=False, group=group, max_tokens=tokens, rows=rows, states=False)
        return Roller(lm, few, lambda items: [0.0] * len(items), config).collect(range(count), 0)

    roll(1, 2)
    begun = time.perf_counter()
    episodes = roll(len(few), TRIAL_TOKENS)
    return (time.perf_counter() - begun) / sum(len(e.actions) for e in episodes)
