"""How arms choose among the texts of a problem, and the trace of a choice.

``majority``, ``best_of_n`` and ``weighted_vote`` choose from the same texts: ``majority`` the most frequent answer,
each text one vote; ``best_of_n`` the text with the best score; ``weighted_vote`` the answer whose texts have the
largest sum of scores. The score is what the search has, too: a checkable verifier's reward; else the value of
``--values``, or the value head's; else, as in a search without value head, agreement with the problem's first few
texts. A text that states a false equation has no score, and one that leaves out numbers of the problem less, as in a
search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from colasearch.benchmarks.harness.arms import ArmResult, ArmSettings
from colasearch.benchmarks.harness.samples import Sample, Sampler
from colasearch.benchmarks.names import SCORED
from colasearch.engine.texts.choosing import Checks
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Candidate, Problem, StopReason
from colasearch.storage.traces import Trace, TraceNode, TraceText
from colasearch.tasks import answer_key, checkable_verifier, get_task, is_checkable


@dataclass(slots=True)
class Drawn:
    """Texts of one problem, with what they cost: ``calls`` are forward passes that one of them took part in."""

    samples: list[Sample] = field(default_factory=list)
    tokens: int = 0
    calls: int = 1  # the prompt's
    stop: StopReason | None = None
    scores: list[float] = field(default_factory=list)


def scores_of(drawn: Drawn, sampler: Sampler, place: int, references: int) -> list[float]:
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


def choose(
    arm: str,
    problem: Problem,
    budget: int | None,
    drawn: Drawn,
    lm: LatentLM,
    settings: ArmSettings,
    prompt: tuple[int, ...],
    seconds: float,
    wall: float,
) -> ArmResult:
    """What ``arm`` makes of the texts of ``problem``; ``budget``: the tokens that it was given."""
    scores = drawn.scores if arm in SCORED else [1.0] * len(drawn.samples)
    groups: dict[Hashable, list[int]] = {}
    for index, one in enumerate(drawn.samples):
        if one.answer is not None:
            groups.setdefault(answer_key(one.answer, problem.task), []).append(index)
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
        Candidate(drawn.samples[i].answer or "", weight, len(group), drawn.samples[i].text)
        for i, weight, group in zip(best, weights, ranked, strict=True)
    )
    complete = [s for s in drawn.samples if s.ended]
    chosen = best[0] if best else None
    text = drawn.samples[chosen].text if chosen is not None else (complete[0].text if complete else "")
    result = ArmResult(
        problem=problem,
        answer=None if chosen is None else drawn.samples[chosen].answer,
        text=text,
        candidates=candidates,
        texts=tuple((s.text, s.answer) for s in complete),
        stop=str(drawn.stop or StopReason.BUDGET),
        sims=len(drawn.samples),
        cut=sum(s.cut for s in drawn.samples),
        token_budget=budget,
        generated_tokens=drawn.tokens,
        model_calls=drawn.calls,
        seconds=seconds,
        wall_seconds=wall,
        trace=_trace(arm, problem, drawn, lm, settings, prompt, scores, chosen),
    )
    return result


def _trace(
    arm: str,
    problem: Problem,
    drawn: Drawn,
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
