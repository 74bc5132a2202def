"""How texts of problems are drawn: as many as are wanted, or as reach a budget of tokens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings
from colasearch.benchmarks.harness.choosing import Drawn, choose, scores_of
from colasearch.benchmarks.harness.samples import Sampler
from colasearch.benchmarks.names import SCORED
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, StopReason

EAGER = 0.6
"""Share of the texts that a budget seems to have room for that are drawn together. Below 1, so that hardly ever a text
is drawn that turns out not to be needed; such a text is left out, and costs time only."""
AT_ONCE = 256
"""Most texts of one problem that are asked for together; keeps their random numbers out of memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """Texts wanted for one problem: as many as reach ``tokens``, or exactly ``texts``."""

    problem: Problem
    tokens: int | None = None
    texts: int | None = None


class Enough(Exception):
    """No more texts are to be drawn; what was drawn by then counts.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


def sample(
    lm: LatentLM,
    jobs: Sequence[Job],
    arms: Sequence[str],
    settings: ArmSettings,
    on_tokens: Callable[[int], None] | None = None,
) -> list[dict[str, ArmResult]]:
    """Draw texts for a batch of problems and let each of ``arms`` choose.

    Args:
        lm: The model.
        jobs: The problems, with how many texts of each are wanted.
        arms: Who chooses: ``greedy`` alone, or of ``CHOOSERS``.
        settings: What all arms share.
        on_tokens: Told before each forward pass how many tokens there are; may raise ``Enough``.

    Returns:
        For each job, the result of each arm. Cost and time are those of the arm alone, although the arms share texts.
    """
    begun = time.monotonic()
    deadline = None if settings.max_seconds is None else begun + settings.max_seconds

    def poll() -> None:
        if on_tokens is not None:
            on_tokens(sampler.actor.generated_tokens)
        if deadline is not None and time.monotonic() >= deadline:
            raise Enough(StopReason.MAX_SECONDS)

    greedy = tuple(arms) == ("greedy",)
    problems = [job.problem for job in jobs]
    sampler = Sampler(lm, problems, settings.world, settings.seed, settings.actions, greedy=greedy)
    sampler.actor.poll = poll
    drawn = [Drawn() for _ in jobs]
    try:
        while wanted := _wanted(jobs, drawn, sampler.errors, settings.world.max_tokens):
            sampler.draw(wanted)
            _take(jobs, drawn, sampler)
    except Enough as end:
        _take(jobs, drawn, sampler)
        for one in drawn:
            one.stop = one.stop or end.reason
    sampler.actor.poll = None
    for place, one in enumerate(drawn):
        if any(arm in SCORED for arm in arms) and place not in sampler.errors:
            one.scores = scores_of(one, sampler, place, settings.world.references)
    seconds = time.monotonic() - begun
    total = sum(one.tokens for one in drawn)
    results = []
    for place, (job, one) in enumerate(zip(jobs, drawn, strict=True)):
        wall = seconds * one.tokens / total if total else seconds / len(jobs)
        error = sampler.errors.get(place)
        if error is not None:
            results.append({arm: ArmResult(job.problem, error=error, wall_seconds=wall) for arm in arms})
            continue
        prompt = tuple(sampler.prompts[place] or ())
        results.append(
            {arm: choose(arm, job.problem, job.tokens, one, lm, settings, prompt, seconds, wall) for arm in arms}
        )
    return results


def _wanted(
    jobs: Sequence[Job], drawn: Sequence[Drawn], errors: Mapping[int, Any], longest: int
) -> list[tuple[int, int]]:
    """The samples to draw next: as many as are needed whatever their length, or as the lengths so far let expect."""
    wanted: list[tuple[int, int]] = []
    for place, (job, one) in enumerate(zip(jobs, drawn, strict=True)):
        if place in errors or one.stop is StopReason.NAN:
            continue
        have = len(one.samples)
        if job.texts is not None:
            more = job.texts - have
        else:
            assert job.tokens is not None
            left = job.tokens - one.tokens
            likely = int(EAGER * left * have / one.tokens) if one.tokens else 1
            more = max(-(-left // longest), likely) if left > 0 or not have else 0
        wanted += [(place, have + i) for i in range(min(more, AT_ONCE))]
        if more <= 0:
            one.stop = StopReason.BUDGET
    return wanted


def _take(jobs: Sequence[Job], drawn: Sequence[Drawn], sampler: Sampler) -> None:
    """Add what was drawn to each problem, up to the text that reaches its budget.

    A problem's forward passes are those that one of its texts took part in.
    """
    longest: Counter[int] = Counter()
    for place, _, one in sampler.finished():
        longest[place] = max(longest[place], len(one.tokens) - 1)
        limit = jobs[place].tokens
        if one.tokens and (limit is None or drawn[place].tokens < limit or not drawn[place].samples):
            drawn[place].samples.append(one)
            drawn[place].tokens += len(one.tokens)
        if one.broken:
            drawn[place].stop = StopReason.NAN  # more texts would fare no better
    for place, calls in longest.items():
        drawn[place].calls += calls
