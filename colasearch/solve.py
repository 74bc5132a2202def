"""Solve one problem: search over the model, group the answers found, vote.

from colasearch import solve
print(solve("Tom has 3 apples and buys 5 more. How many has he?", sims=16).answer)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.engine.world import Finished, LatentWorld, WorldConfig
from colasearch.errors import ColasearchError, InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Candidate, Problem, SolveResult, StopReason
from colasearch.searchers import begin, conclude, drive
from colasearch.tasks import get_task
from colasearch.verifiers import group_answers, is_checkable

DEFAULT_MODEL = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Status:
    """How far a search is.

    Attributes:
        sims: Simulations done.
        sims_total: Simulations wanted.
        finished: Finished texts so far.
        generated_tokens: Tokens decoded so far.
        seconds: Since the search began.
    """

    sims: int
    sims_total: int
    finished: int
    generated_tokens: int
    seconds: float


class SearchStopped(ColasearchError):
    """Ends a search from within the model's decoding loop; carries the reason."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


def solve(
    problem: Problem | str,
    model: LatentLM | str = DEFAULT_MODEL,
    *,
    searcher: str = "gumbel",
    sims: int = 64,
    seed: int = 0,
    actions: str = "latent",
    max_seconds: float | None = None,
    leaves_in_flight: int = 16,
    config: WorldConfig | None = None,
    on_status: Callable[[Status], None] | None = None,
    **options: Any,
) -> SolveResult:
    """Search for the answer of ``problem``.

    Args:
        problem: A problem, or the text of a math problem.
        model: A loaded model, or its name.
        searcher: Algorithm, as in ``colasearch.searchers.run``.
        sims: Simulations.
        seed: Fixes the result, with the problem's id.
        actions: ``latent``, or ``sampled``: first tokens drawn from the base itself (for models without codes).
        max_seconds: Wall-clock limit; what was found by then counts.
        leaves_in_flight: Most leaves evaluated in one batch.
        config: Limits and sampling of the world.
        on_status: Called now and then with how far the search is.
        options: Options of the algorithm.

    Returns:
        The result. Ctrl-C does not raise here: the result says ``stop = interrupted``.

    Raises:
        InputError: A bad option, or a prompt longer than the model's context.
        PrerequisiteError: The model cannot be found, or has no latent modules.
    """
    if isinstance(problem, str):
        problem = Problem.from_text(problem)
    get_task(problem.task)
    if sims < 1:
        raise InputError(f"sims is {sims}; it must be at least 1")
    if max_seconds is not None and not max_seconds > 0:
        raise InputError(f"max_seconds is {max_seconds}; it must be above 0")
    lm = LatentLM.from_pretrained(model) if isinstance(model, str) else model
    begun = time.monotonic()
    deadline = math.inf if max_seconds is None else begun + max_seconds
    done = 0

    def poll() -> None:
        if on_status is not None:
            seconds = time.monotonic() - begun
            on_status(Status(done, sims, len(world.finished), world.generated_tokens, seconds))
        if time.monotonic() >= deadline:
            raise SearchStopped(StopReason.MAX_SECONDS)

    def should_stop() -> StopReason | None:
        # Simulations that end in known states call no model, so the clock is looked at here as well.
        poll()
        return StopReason.SOLVED if _is_proven(problem, world.finished) else None

    def on_round(progress: Any) -> None:
        nonlocal done
        done = progress.sims

    world = LatentWorld(lm, config or WorldConfig(), seed, actions, poll)
    reason: StopReason | None = None
    search = None
    try:
        algorithm, search = begin(
            searcher, world, [problem], sims=sims, seed=seed, leaves_in_flight=leaves_in_flight, **options
        )
        drive(search, world, should_stop=should_stop, on_round=on_round)
        reason = conclude(algorithm, search).stop_B[0]
    except SearchStopped as stop:
        reason = stop.reason
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    seconds = time.monotonic() - begun
    candidates, text = vote(world.finished, problem.task)
    return SolveResult(
        problem_id=problem.id,
        task=problem.task,
        model=lm.name,
        searcher=searcher,
        seed=seed,
        answer=candidates[0].answer if candidates else None,
        text=text,
        candidates=tuple(candidates),
        stop=reason,
        sims=0 if search is None else int(search.sims_B[0]),
        effective_branching=sum(world.branching) / max(1, len(world.branching)),
        generated_tokens=world.generated_tokens,
        model_calls=world.model_calls,
        seconds=seconds,
    )


def _is_proven(problem: Problem, finished: Sequence[Finished]) -> bool:
    """Whether a checkable verifier has accepted an answer; no further search can improve on it."""
    return is_checkable(problem.task) and any(f.value >= 1 for f in finished)


def vote(finished: Sequence[Finished], task: str) -> tuple[list[Candidate], str]:
    """Weighted vote over mathematically equal answers.

    Each finished text weighs its value; groups are ordered by weight, then count, then first appearance.

    Returns:
        The candidates, heaviest first, and the best text of the first (the first finished text when there is no
        answer at all; empty when there is no text).
    """
    answered = [(f, f.answer) for f in finished if f.answer is not None]
    groups: dict[int, list[Finished]] = {}
    for (item, _), group in zip(answered, group_answers([a for _, a in answered], task), strict=True):
        groups.setdefault(group, []).append(item)
    total = sum(f.value for f, _ in answered)
    ranked = sorted(groups.values(), key=lambda g: (-sum(f.value for f in g), -len(g)))
    candidates = []
    for group_texts in ranked:
        best = max(group_texts, key=lambda f: f.value)
        weight = sum(f.value for f in group_texts) / total if total else len(group_texts) / len(answered)
        candidates.append(Candidate(best.answer or "", weight, len(group_texts)))
    if ranked:
        return candidates, max(ranked[0], key=lambda f: f.value).text
    return [], finished[0].text if finished else ""
