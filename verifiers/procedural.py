"""Procedural tasks: any task of reasoning-gym as a source of problems and as their verifier (extra ``[gym]``).

reasoning-gym is never imported in this process: problems are made and answers are scored in killable workers, since
some of its scorers run code from the answer and some can hang. An item is named by task, seed, size, settings and
index, and the worker makes it anew to score it, so no gold answer has to travel with the problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.extract import body, stated_answer
from colasearch.verifiers.pool import DEADLINE_S, Reply, WorkerPool, shared_pool

_MAKE_DEADLINE_S = 120.0


def _pool(deadline_s: float = DEADLINE_S) -> WorkerPool:
    if find_spec("reasoning_gym") is None:
        raise PrerequisiteError(
            "task 'procedural' needs the package reasoning-gym, which is not installed; run `pip install '.[gym]'`"
        )
    return shared_pool("gym", deadline_s=deadline_s)


def procedural_names() -> list[str]:
    """Names of all tasks of the installed reasoning-gym.

    Raises:
        PrerequisiteError: if reasoning-gym is not installed.
    """
    return [str(name) for name in _result(_pool().run([{"op": "names"}], _MAKE_DEADLINE_S)[0])]


def _result(reply: Reply) -> Any:
    if reply.status != "done":
        raise InputError(f"reasoning-gym could not make the problem ({reply.status}): {reply.result}")
    return reply.result


def procedural_problems(name: str, size: int = 100, seed: int = 0, **config: Any) -> list[LabelledProblem]:
    """Problems of a task; the same arguments give the same problems.

    ``countdown`` and ``puzzle24`` become problems of our task ``countdown``, with our verifier; all others have task
    ``procedural``. ``config`` are the settings of reasoning-gym's ``create_dataset``.

    Raises:
        InputError: if there is no such task, or it does not take these settings.
        PrerequisiteError: if reasoning-gym is not installed.
    """
    pool = _pool()
    spec: dict[str, Any] = {"name": name, "seed": seed, "size": size, "config": config}
    jobs = [{"op": "item", **spec, "index": i} for i in range(size)]
    problems = []
    for index, reply in enumerate(pool.run(jobs, _MAKE_DEADLINE_S)):
        item = _result(reply)
        data: dict[str, Any] = {"gym": {**spec, "index": index}}
        task = "procedural"
        metadata = item.get("metadata", {})
        if name in ("countdown", "puzzle24"):
            task = "countdown"
            data |= {"numbers": metadata["numbers"], "target": metadata.get("target", 24), "use": "all"}
        problem = Problem(id=f"gym-{name}-{seed}-{index}", text=item["question"], task=task, data=data)
        problems.append(LabelledProblem(problem, "" if item["answer"] is None else str(item["answer"])))
    return problems


class Procedural:
    """Gold verifier for problems of ``procedural_problems``: reasoning-gym's own score, in a killable worker.

    It counts as a gold verifier although it reads no ``gold``: the worker knows the answer, so a search may not use
    it.
    """

    checkable: ClassVar[bool] = False

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self.deadline_s = deadline_s

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """reasoning-gym's score of the text's answer; ``None`` if the problem is not one of reasoning-gym's."""
        return self.score_batch([(labelled, answer_text)])[0]

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order."""
        jobs: list[dict[str, Any]] = []
        verdicts: list[Verdict | None] = []
        for labelled, text in items:
            spec = labelled.problem.data.get("gym")
            if not isinstance(spec, dict):
                verdicts.append(Verdict(None, "the problem was not made by procedural_problems"))
                continue
            jobs.append({"op": "score", **spec, "answer": stated_answer(text) or body(text).strip()})
            verdicts.append(None)
        if not jobs:
            return [v for v in verdicts if v is not None]
        pool = _pool(self.deadline_s)
        # The tasks are made first: making one takes longer than scoring, and is not the answer's fault.
        specs = {repr(sorted(job.items(), key=str)): {**job, "op": "item"} for job in jobs}
        pool.run([{k: v for k, v in job.items() if k != "answer"} for job in specs.values()], _MAKE_DEADLINE_S)
        replies = iter(pool.run(jobs, self.deadline_s))
        return [verdict or _verdict(next(replies)) for verdict in verdicts]


def _verdict(reply: Reply) -> Verdict:
    if reply.status == "done":
        reward = min(1.0, max(0.0, float(reply.result)))
        return Verdict(reward, f"score {reward:g}", reply.seconds)
    return Verdict(0.0, reply.status, reply.seconds)
