"""How texts of problems are drawn: as many as are wanted, or as reach a budget of tokens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    drawing = Drawing(jobs, arms, settings, sampler, begun)
    try:
        while wanted := drawing.wanted():
            sampler.draw(wanted)
            drawing.take()
    except Enough as end:
        drawing.take()
        drawing.end(end.reason)
    sampler.actor.poll = None
    return drawing.results()


class Drawing:
    """Texts of a batch of problems as they are drawn, and what each of ``arms`` makes of them in the end.

    Args:
        jobs: The problems, with how many texts of each are wanted.
        arms: Who chooses.
        settings: What all arms share.
        sampler: Draws the texts of these problems.
        begun: ``time.monotonic()`` when the work began.
    """

    def __init__(
        self, jobs: Sequence[Job], arms: Sequence[str], settings: ArmSettings, sampler: Sampler, begun: float
    ) -> None:
        self.jobs, self.arms, self.settings, self.sampler, self.begun = jobs, arms, settings, sampler, begun
        self.drawn = [Drawn() for _ in jobs]

    def wanted(self) -> list[tuple[int, int]]:
        """The samples to draw next: as many as are needed whatever their length, or as the lengths so far let expect.

        None where all have what they want.
        """
        wanted: list[tuple[int, int]] = []
        for place, (job, one) in enumerate(zip(self.jobs, self.drawn, strict=True)):
            if place in self.sampler.errors or one.stop is StopReason.NAN:
                continue
            have = len(one.samples)
            if job.texts is not None:
                more = job.texts - have
            else:
                assert job.tokens is not None
                left = job.tokens - one.tokens
                likely = int(EAGER * left * have / one.tokens) if one.tokens else 1
                more = max(-(-left // self.settings.world.max_tokens), likely) if left > 0 or not have else 0
            wanted += [(place, have + i) for i in range(min(more, AT_ONCE))]
            if more <= 0:
                one.stop = StopReason.BUDGET
        return wanted

    def take(self) -> None:
        """Add what was drawn to each problem, up to the text that reaches its budget.

        A problem's forward passes are those that one of its texts took part in.
        """
        longest: Counter[int] = Counter()
        for place, _, one in self.sampler.finished():
            longest[place] = max(longest[place], len(one.tokens) - 1)
            limit, drawn = self.jobs[place].tokens, self.drawn[place]
            if one.tokens and (limit is None or drawn.tokens < limit or not drawn.samples):
                drawn.samples.append(one)
                drawn.tokens += len(one.tokens)
            if one.broken:
                drawn.stop = StopReason.NAN  # more texts would fare no better
        for place, calls in longest.items():
            self.drawn[place].calls += calls

    def end(self, reason: StopReason) -> None:
        """No more texts are drawn, for this reason."""
        for one in self.drawn:
            one.stop = one.stop or reason

    def results(self) -> list[dict[str, ArmResult]]:
        """For each job, the result of each arm."""
        sampler, settings = self.sampler, self.settings
        for place, one in enumerate(self.drawn):
            if any(arm in SCORED for arm in self.arms) and place not in sampler.errors:
                one.scores = scores_of(one, sampler, place, settings.world.references)
        seconds = time.monotonic() - self.begun
        total = sum(one.tokens for one in self.drawn)
        results = []
        for place, (job, one) in enumerate(zip(self.jobs, self.drawn, strict=True)):
            wall = seconds * one.tokens / total if total else seconds / len(self.jobs)
            error = sampler.errors.get(place)
            if error is not None:
                results.append({arm: ArmResult(job.problem, error=error, wall_seconds=wall) for arm in self.arms})
                continue
            prompt = tuple(sampler.prompts[place] or ())
            results.append(
                {
                    arm: choose(arm, job.problem, job.tokens, one, sampler.lm, settings, prompt, seconds, wall)
                    for arm in self.arms
                }
            )
        return results
