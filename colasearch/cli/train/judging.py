"""True rewards of the answers in search traces, from gold answers that the search did not see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colasearch.storage.traces import Trace


def judge_of(paths: tuple[Path, ...]) -> Callable[[Trace, str], float]:
    """The true reward of an answer, from the gold answers of ``paths``."""
    from colasearch.errors import InputError
    from colasearch.training.data.problems import Reward, load_problems

    known: dict[str, tuple[Any, Any]] = {}

    def judge(trace: Trace, answer: str) -> float:
        if trace.task not in known:
            labelled = {one.problem.text: one for one in load_problems(paths, trace.task)}
            known[trace.task] = labelled, Reward(trace.task)
        labelled, reward = known[trace.task]
        if trace.text not in labelled:
            raise InputError(
                f"problem {trace.problem_id} ({trace.text[:60]!r}) of the traces is not in "
                f"{', '.join(map(str, paths))}; give the problems that were searched as --data"
            )
        return float(reward.of_answer(labelled[trace.text], answer))

    return judge
