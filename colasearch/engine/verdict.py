"""What a result says of its answer: whether a verifier accepts it; why there is none, and what to change."""

from __future__ import annotations

from colasearch.problem import Problem, StopReason
from colasearch.tasks import checkable_verifier, is_checkable

OVERRULED = (StopReason.BUDGET, StopReason.EXHAUSTED, StopReason.MAX_TOKENS, StopReason.EARLY)
"""Reasons that give way to ``solved`` where a verifier has accepted the answer after all."""

RAISE = {
    StopReason.BUDGET: "the simulations were spent: raise --sims",
    StopReason.MAX_SECONDS: "the time was up: raise --max-seconds",
    StopReason.MAX_TOKENS: "the tokens were spent: raise the token budget",
    StopReason.INTERRUPTED: "the search was interrupted",
    StopReason.NAN: "the model gave a NaN or infinite number: try --dtype float32, or another model",
}


def verdict_of(problem: Problem, answer: str | None) -> bool | None:
    """Whether the verifier of a checkable task accepts ``answer``; None without an answer or such a verifier."""
    if answer is None or not is_checkable(problem.task):
        return None
    return checkable_verifier(problem.task).score(problem, answer).correct


def verdict_and_stop(
    problem: Problem, answer: str | None, stop: StopReason, *, can_solve: bool
) -> tuple[bool | None, StopReason]:
    """The verdict on ``answer``, and why the search ended: it may have been solved by the last text of all.

    ``can_solve`` False leaves the reason as it is (``SearchSettings.stop_when_solved``).
    """
    verdict = verdict_of(problem, answer)
    return verdict, StopReason.SOLVED if verdict and can_solve and stop in OVERRULED else stop


def plural(count: int, noun: str) -> str:
    """``1 text``, ``2 texts``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def why_no_answer(
    stop: StopReason, *, finished: int, cut: int, refuted: int, max_tokens: int, boxed: bool = True
) -> str:
    """One line that says why there is no answer, the flags to change included.

    Args:
        stop: Why the search ended.
        finished: Texts that came to an end, all of them without an answer.
        cut: Texts that reached the limit of their length.
        refuted: Texts that were given up because they state something false.
        max_tokens: That limit.
        boxed: The answer is looked for in a box, rather than as the task's own ``answer`` does.
    """
    said = []
    if finished:
        lacking = "none has a \\boxed{...}" if boxed else "the task's answer finds nothing in them"
        said.append(
            f"no answer found in {plural(finished, 'finished text')}: {lacking}; "
            "more texts (--searcher majority, more --sims) or another --model may have one"
        )
    if cut:
        were = "was" if cut == 1 else "were"
        said.append(f"{plural(cut, 'text')} {were} cut at the limit of {max_tokens} tokens: raise --max-tokens")
    if refuted:
        were = "was" if refuted == 1 else "were"
        said.append(
            f"{plural(refuted, 'text')} {were} given up for stating something false: more --sims try others, "
            "--no-check-steps keeps them"
        )
    if not said or stop in (StopReason.MAX_SECONDS, StopReason.INTERRUPTED, StopReason.NAN):
        said.append(RAISE.get(stop, "no text came to its end: raise --sims or --max-tokens"))
    return "; ".join(said)
