"""The arms of a benchmark, and what it means that they have equal tokens.

The searched arm runs first. What it generated for a problem, everything counted (steps, rollouts, the reference
rollouts that its leaf values need), is that problem's token budget for the arms that choose among texts: they draw
independent texts, in a fixed order, up to the one that reaches the budget. So a baseline never has fewer
tokens than the search, and at most one text more. ``greedy`` is one text by nature and knows no budget.

``majority``, ``best_of_n`` and ``weighted_vote`` choose from the same texts: ``majority`` the most frequent answer,
each text one vote; ``best_of_n`` the text with the best score; ``weighted_vote`` the answer whose texts have the
largest sum of scores. The score is what the search has, too: a checkable verifier's reward; else the value of
``--values``, or the value head's; else, as in a search without value head, agreement with the problem's first few
texts. A text that states a false equation has no score, and one that leaves out numbers of the problem less, as in a
search. No gold answer is seen here: this file gets ``Problem``, not ``LabelledProblem``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from colasearch.benchmarks.harness.samples import Sample, Sampler
from colasearch.benchmarks.names import SCORED
from colasearch.engine.scheduler import Searched, Status, search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.engine.texts.choosing import Checks
from colasearch.errors import ColasearchError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Candidate, Problem, StopReason
from colasearch.storage.traces import Trace, TraceNode, TraceText
from colasearch.tasks import answer_key, checkable_verifier, get_task, is_checkable

EAGER = 0.6
"""Share of the texts that a budget seems to have room for that are drawn together. Below 1, so that hardly ever a text
is drawn that turns out not to be needed; such a text is left out, and costs time only."""
AT_ONCE = 256
"""Most texts of one problem that are asked for together; keeps their random numbers out of memory."""


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


@dataclass(frozen=True, slots=True)
class Job:
    """Texts wanted for one problem: as many as reach ``tokens``, or exactly ``texts``."""

    problem: Problem
    tokens: int | None = None
    texts: int | None = None


@dataclass(slots=True)
class _Drawn:
    samples: list[Sample] = field(default_factory=list)
    tokens: int = 0
    calls: int = 1  # the prompt's
    stop: StopReason | None = None
    scores: list[float] = field(default_factory=list)


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
    drawn = [_Drawn() for _ in jobs]
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
            one.scores = _scores(one, sampler, place, settings.world.references)
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
        results.append({arm: _choose(arm, job, one, lm, settings, prompt, seconds, wall) for arm in arms})
    return results


def _wanted(
    jobs: Sequence[Job], drawn: Sequence[_Drawn], errors: Mapping[int, Any], longest: int
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


def _take(jobs: Sequence[Job], drawn: Sequence[_Drawn], sampler: Sampler) -> None:
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


def _scores(drawn: _Drawn, sampler: Sampler, place: int, references: int) -> list[float]:
    """A score for each sample, as a search would give it; nothing here knows the gold answer."""
    problem = sampler.problems[place]
    if is_checkable(problem.task):
        verifier = checkable_verifier(problem.task)
        verdicts = [None if s.answer is None else verifier.score(problem, s.answer).reward for s in drawn.samples]
        return [0.0 if reward is None else reward for reward in verdicts]
    # As in a search, a text that states something false is worth nothing, and one that leaves numbers out less.
    task, checks = get_task(problem.task), Checks(sampler.ends, sampler.config.choosing)
    likely = [checks.plausibility(problem, s.text) for s in drawn.samples]
    sound = [s.answer is not None and not checks.refuse(task, s.text) for s in drawn.samples]
    values = sampler.values(place, [s for s, fine in zip(drawn.samples, sound, strict=True) if fine])
    if values is not None:
        drawn.calls += not sampler.config.values  # a head is read off one more pass of the model
        by_text = iter(values)
        return [next(by_text) * factor if fine else 0.0 for fine, factor in zip(sound, likely, strict=True)]
    first = drawn.samples[:references]
    keys = [answer_key(s.answer, problem.task) if s.answer is not None else None for s in drawn.samples]
    agreeing = Counter(key for key, fine in zip(keys[:references], sound, strict=False) if fine)
    return [
        factor * (1 + agreeing[key]) / (2 + len(first)) if fine else 0.0
        for key, fine, factor in zip(keys, sound, likely, strict=True)
    ]


def _choose(
    arm: str,
    job: Job,
    drawn: _Drawn,
    lm: LatentLM,
    settings: ArmSettings,
    prompt: tuple[int, ...],
    seconds: float,
    wall: float,
) -> ArmResult:
    scores = drawn.scores if arm in SCORED else [1.0] * len(drawn.samples)
    groups: dict[Hashable, list[int]] = {}
    for index, one in enumerate(drawn.samples):
        if one.answer is not None:
            groups.setdefault(answer_key(one.answer, job.problem.task), []).append(index)
    if arm == "best_of_n":
        ranked = sorted(groups.values(), key=lambda group: -max(scores[i] for i in group))
        weights = [max(scores[i] for i in group) for group in ranked]
    elif arm == "weighted_vote":
        ranked = sorted(groups.values(), key=lambda group: (-sum(scores[i] for i in group), -len(group)))
        sums = [sum(scores[i] for i in group) for group in ranked]
        weights = [one / (sum(sums) or 1.0) for one in sums]
    else:
        ranked = sorted(groups.values(), key=lambda group: -len(group))
        weights = [len(group) / sum(map(len, ranked)) for group in ranked]
    # Sorting is stable and groups stand in the order of their first text, so ties go to what was found first.
    best = [max(group, key=lambda i: scores[i]) for group in ranked]
    candidates = tuple(
        Candidate(drawn.samples[i].answer or "", weight, len(group))
        for i, weight, group in zip(best, weights, ranked, strict=True)
    )
    complete = [s for s in drawn.samples if s.ended]
    chosen = best[0] if best else None
    text = drawn.samples[chosen].text if chosen is not None else (complete[0].text if complete else "")
    result = ArmResult(
        problem=job.problem,
        answer=None if chosen is None else drawn.samples[chosen].answer,
        text=text,
        candidates=candidates,
        texts=tuple((s.text, s.answer) for s in complete),
        stop=str(drawn.stop or StopReason.BUDGET),
        sims=len(drawn.samples),
        cut=sum(s.cut for s in drawn.samples),
        token_budget=job.tokens,
        generated_tokens=drawn.tokens,
        model_calls=drawn.calls,
        seconds=seconds,
        wall_seconds=wall,
        trace=_trace(arm, job.problem, drawn, lm, settings, prompt, scores, chosen),
    )
    return result


def _trace(
    arm: str,
    problem: Problem,
    drawn: _Drawn,
    lm: LatentLM,
    settings: ArmSettings,
    prompt: tuple[int, ...],
    scores: Sequence[float],
    chosen: int | None,
) -> Trace:
    """The texts as a tree of depth 1: one child of the root a text."""
    count = max(1, len(drawn.samples))
    value = [0.0 if s.answer is None else score for s, score in zip(drawn.samples, scores, strict=True)]
    mean = sum(value) / count
    root = TraceNode(-1, -1, (), (), "", len(drawn.samples) + 1, mean, mean, 0.0, 1.0, "", None, ())
    nodes = [root]
    for index, one in enumerate(drawn.samples):
        end = "answer" if one.ended else "cut"
        score = value[index]
        nodes.append(
            TraceNode(0, index, (index,), one.tokens, one.text, 1, score, 0.0, score, 1 / count, end, one.answer, ())
        )
    return Trace(
        problem_id=problem.id,
        task=problem.task,
        text=problem.text,
        model=lm.name,
        searcher=arm,
        seed=settings.seed,
        actions=settings.actions,
        prompt_tokens=prompt,
        answer=None if chosen is None else drawn.samples[chosen].answer,
        best_node=0 if chosen is None else chosen + 1,
        policy_target=(),
        nodes=tuple(nodes),
        texts=tuple(TraceText(s.text, s.answer, v) for s, v in zip(drawn.samples, value, strict=True) if s.ended),
        stop=str(drawn.stop or StopReason.BUDGET),
        sims=len(drawn.samples),
        generated_tokens=drawn.tokens,
        model_calls=drawn.calls,
    )
