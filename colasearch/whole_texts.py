"""Searchers that draw whole texts (``benchmarks.names.BASELINES``), on one problem, as ``bench`` has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings
from colasearch.benchmarks.harness.drawing import Enough, Job, sample
from colasearch.engine.scheduler import Searched, Status
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.verdict import verdict_and_stop, why_no_answer
from colasearch.interrupts import HeldInterrupts
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Candidate, Problem, SolveResult, StopReason
from colasearch.searchers.registry import make
from colasearch.tasks import get_task

if TYPE_CHECKING:
    from colasearch.cluster.pool import Pool


def draw(
    lm: LatentLM,
    problem: Problem,
    settings: SearchSettings,
    *,
    on_status: Callable[[Status], None] | None = None,
    pool: Pool | None = None,
) -> Searched:
    """Draw ``settings.sims`` texts (one for ``greedy``) and let ``settings.searcher`` choose among them.

    Ctrl-C ends the drawing in this process: what is finished by then counts, and the result says ``interrupted``.

    Raises:
        InputError: A bad option.
        PrerequisiteError: The model has no latent modules.
    """
    if settings.actions == "latent":
        lm.require_latents()
    arm = settings.searcher
    job, how = job_of(problem, settings)
    begun = time.monotonic()
    if pool is None:
        result = _here(lm, job, arm, how, on_status)
    else:
        (drawn,) = pool.sample([job], (arm,), how)
        result = drawn[arm]
    return searched(lm, result, settings, time.monotonic() - begun)


def job_of(problem: Problem, settings: SearchSettings) -> tuple[Job, ArmSettings]:
    """How many texts a sampling searcher draws, and how.

    Raises:
        InputError: A bad option.
    """
    make(settings.searcher, settings.options)
    one = settings.searcher == "greedy"
    job = Job(problem, texts=1 if one else settings.options.get("samples") or settings.sims)
    return job, ArmSettings(settings.seed, settings.actions, world_of(settings), max_seconds=settings.max_seconds)


def world_of(settings: SearchSettings) -> WorldConfig:
    """Limits and sampling of a sampling searcher, whose option ``temperature`` goes before the user's."""
    world, heat = settings.world, settings.options.get("temperature")
    if heat is None:
        return world
    return replace(world, sampling=replace(world.sampling, temperature=heat, token_temperature=heat))


def searched(lm: LatentLM, drawn: ArmResult, settings: SearchSettings, seconds: float) -> Searched:
    """What a sampling searcher made of its texts, as a search's outcome."""
    if drawn.error is not None:
        return Searched(drawn.problem, None, None, drawn.error)
    return Searched(drawn.problem, _result(lm, drawn, settings, seconds), drawn.trace)


def _here(
    lm: LatentLM, job: Job, arm: str, settings: ArmSettings, on_status: Callable[[Status], None] | None
) -> ArmResult:
    """Draw in this process."""
    interrupts, begun = HeldInterrupts(), time.monotonic()

    def look(tokens: int) -> None:
        try:
            interrupts.check()
        except KeyboardInterrupt:
            raise Enough(StopReason.INTERRUPTED) from None
        if on_status is not None:
            on_status(Status(0, job.texts or 0, 0, tokens, time.monotonic() - begun))

    with interrupts.held():
        (drawn,) = sample(lm, [job], (arm,), settings, look)
    try:
        interrupts.check()
    except KeyboardInterrupt:
        return replace(drawn[arm], stop=str(StopReason.INTERRUPTED))
    return drawn[arm]


def _result(lm: LatentLM, drawn: ArmResult, settings: SearchSettings, seconds: float) -> SolveResult:
    ended, can_solve = StopReason(drawn.stop), settings.stop_when_solved
    verdict, stop = verdict_and_stop(drawn.problem, drawn.answer, ended, can_solve=can_solve)
    why = None
    if drawn.answer is None:
        why = why_no_answer(
            stop,
            finished=len(drawn.texts),
            cut=drawn.cut,
            refuted=0,
            max_tokens=settings.world.max_tokens,
            boxed=get_task(drawn.problem.task).answer is None,
        )
    return SolveResult(
        problem_id=drawn.problem.id,
        task=drawn.problem.task,
        model=lm.name,
        searcher=settings.searcher,
        seed=settings.seed,
        answer=drawn.answer,
        text=drawn.text,
        candidates=_shares(drawn.candidates),
        stop=stop,
        sims=drawn.sims,
        effective_branching=None,
        generated_tokens=drawn.generated_tokens,
        model_calls=drawn.model_calls,
        seconds=seconds,
        verdict=verdict,
        cut=drawn.cut,
        why=why,
    )


def _shares(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Weights as shares of all weight; of best-of-N they are scores, which may all be 0."""
    total = sum(c.weight for c in candidates)
    if not total:
        texts = sum(c.count for c in candidates)
        return tuple(replace(c, weight=c.count / texts) for c in candidates)
    return tuple(replace(c, weight=c.weight / total) for c in candidates)
