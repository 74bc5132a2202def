"""A verifier of your own: Countdown where only + and * may be used.

    python examples/custom_verifier.py

A function of (problem, answer) says what is right by the problem alone, so the search itself may use it. It builds on
the verifier that there is; an answer is never run as code.
"""

from dataclasses import replace

from colasearch import solve
from colasearch.tasks import TASKS, checkable_verifier, register
from colasearch.tasks.reading import parse_problem


def plain(problem, answer):
    """1 for a right expression without - and /; else 0."""
    if set(answer) & set("-/"):
        return 0.0
    return checkable_verifier("countdown").score(problem, answer).reward


PLAIN = TASKS.get("plain-countdown") or register(
    replace(TASKS["countdown"], name="plain-countdown", answer=TASKS["countdown"].extract, verifier=plain)
)


def main(sims=16, text="Make 24 from 3, 5, 9."):
    """Solve the same problem by both rules."""
    problem = parse_problem(text)
    results = [solve(replace(problem, task=task), "countdown-tiny", sims=sims) for task in ("countdown", PLAIN.name)]
    for result in results:
        print(f"{result.task}: {result.answer}, verdict {result.verdict}")
    return results


if __name__ == "__main__":
    main()
