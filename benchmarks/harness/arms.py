"""The arms of a benchmark, and what it means that they have equal tokens.

The searched arm runs first. What it generated for a problem, everything counted (steps, rollouts, the reference
rollouts that its leaf values need), is that problem's token budget for the arms that choose among texts: they draw
independent texts, in a fixed order, up to the one that reaches the budget. So a baseline never has fewer
tokens than the search, and at most one text more. ``greedy`` is one text by nature and knows no budget.

Who chooses among texts is in ``choosing.py``, how they are drawn in ``drawing.py``. No gold answer is seen in these
files: they get ``Problem``, not ``LabelledProblem``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from colasearch.engine.scheduler import Searched, Status, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import ColasearchError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Candidate, Problem, StopReason
from colasearch.storage.traces import Trace


@dataclass(frozen=True, slots=True)
class ArmSettings:
    """What all arms share.

    Attributes:
        seed: Run seed.
        actions: ``latent`` or ``sampled``.
        world: Limits and sampling.
        leaves_in_flight: Most leaves of one tree evaluated together.
        max_seconds: Wall-clock limit of a problem and arm.
        options: Options of the chosen searcher.
    """

    seed: int = 0
    actions: str = "latent"
    world: WorldConfig = field(default_factory=WorldConfig)
    leaves_in_flight: int = 16
    max_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What an arm made of one problem.

    Attributes:
        problem: The problem.
        answer, text: What it selected; None and empty when it found nothing.
        candidates: Groups of equal answers, heaviest first.
        texts: Every finished text with its answer.
        stop: Why it ended.
        sims: Simulations done; for a baseline, texts drawn.
        effective_branching: Of a search; None for a baseline.
        cut: Texts that reached the limit of their length.
        token_budget: Tokens that it was given; None for no limit.
        generated_tokens, model_calls: Cost.
        seconds: From the problem's begin to its end, others in the batch included.
        wall_seconds: Its share of the wall clock.
        trace: The record of the search.
        error: Why there is no result; the rest is empty then.
    """

    problem: Problem
    answer: str | None = None
    text: str = ""
    candidates: tuple[Candidate, ...] = ()
    texts: tuple[tuple[str, str | None], ...] = ()
    stop: str = ""
    sims: int = 0
    effective_branching: float | None = None
    cut: int = 0
    token_budget: int | None = None
    generated_tokens: int = 0
    model_calls: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    trace: Trace | None = None
    error: ColasearchError | None = None


def search_settings(
    searcher: str, sims: int, settings: ArmSettings, max_tree_tokens: int | None = None
) -> SearchSettings:
    """What a search in a benchmark is told."""
    return SearchSettings(
        searcher=searcher,
        sims=sims,
        seed=settings.seed,
        actions=settings.actions,
        leaves_in_flight=settings.leaves_in_flight,
        max_seconds=settings.max_seconds,
        max_tree_tokens=max_tree_tokens,
        # A search that stops at its first success sets the baselines a budget that was cut off just where it
        # succeeded: of two equally good samplers the first would seem the better one.
        stop_when_solved=False,
        world=settings.world,
        options=settings.options,
    )


def search(
    lm: LatentLM,
    problems: Sequence[Problem],
    searcher: str,
    sims: int,
    settings: ArmSettings,
    *,
    slots: int,
    max_tree_tokens: int | None = None,
    on_status: Callable[[Status], None] | None = None,
) -> Iterator[ArmResult]:
    """A searcher's results, as they come.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was finished before has been yielded.
    """
    how = search_settings(searcher, sims, settings, max_tree_tokens)
    before, missing = time.monotonic(), len(problems)
    for done in search_problems(lm, problems, how, slots=slots, on_status=on_status):
        now = time.monotonic()
        if done.result is not None and done.result.stop is StopReason.INTERRUPTED:
            raise KeyboardInterrupt
        missing -= 1
        yield searched(done, now - before, max_tree_tokens)
        before = time.monotonic()
    if missing:
        # Ctrl-C between two problems ends the search with nothing in progress that could say so.
        raise KeyboardInterrupt


def searched(done: Searched, wall: float, budget: int | None) -> ArmResult:
    """A search's outcome as an arm's result; ``wall`` seconds are its share of the wall clock."""
    if done.result is None or done.trace is None:
        return ArmResult(done.problem, error=done.error, wall_seconds=wall)
    result = done.result
    return ArmResult(
        problem=done.problem,
        answer=result.answer,
        text=result.text,
        candidates=result.candidates,
        texts=tuple((t.text, t.answer) for t in done.trace.texts),
        stop=str(result.stop),
        sims=result.sims,
        effective_branching=result.effective_branching,
        cut=result.cut,
        token_budget=budget,
        generated_tokens=result.generated_tokens,
        model_calls=result.model_calls,
        seconds=result.seconds,
        wall_seconds=wall,
        trace=done.trace,
    )
