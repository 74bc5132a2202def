r"""Gold verifier of mathematical answers: our own grammar first, math-verify in a killable worker for the rest.

Most answers are read and compared in this process, exactly and in bounded time; no worker is started for them. What
is outside the grammar (integrals, sums, unusual notation) goes to a worker under the deadline. Text over the caps is
rejected unread. Nothing in a text is ever run.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers.answer import MAX_ANSWER_CHARS, Answer, parse
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.compare import compare, for_worker
from colasearch.verifiers.extract import boxed, extract_answer, joined_boxes, joined_formulas, stated_answer
from colasearch.verifiers.pool import DEADLINE_S, Reply, shared_pool

MAX_NESTING = 64
"""Deepest nesting of brackets and braces that a worker is given."""
MAX_DIGIT_RUN = 1000
"""Longest run of digits that a worker is given."""
CACHE_SIZE = 16_384
"""Outcomes of workers that a verifier remembers."""

_LONG_DIGITS = re.compile(rf"\d{{{MAX_DIGIT_RUN + 1}}}")


def over_caps(text: str) -> str | None:
    """Why a text is not given to a worker; ``None`` if it may be."""
    if len(text) > MAX_ANSWER_CHARS:
        return f"longer than {MAX_ANSWER_CHARS} characters"
    if _LONG_DIGITS.search(text):
        return f"more than {MAX_DIGIT_RUN} digits in a row"
    depth = braces = 0
    for char in text.replace("\\{", "").replace("\\}", ""):
        depth += (char in "({[") - (char in ")}]")
        braces += (char == "{") - (char == "}")
        if depth > MAX_NESTING:
            return f"nested deeper than {MAX_NESTING}"
        if braces < 0:
            break
    return "its braces do not match" if braces else None


def gold_answer(gold: str) -> str | None:
    """The answer in a gold text: a bare answer stays as it is, in a worked solution it is found."""
    stated = stated_answer(gold)
    if stated is not None:
        return stated
    if parse(gold).node is not None:
        return gold.strip() or None
    return extract_answer(gold)


class Math:
    """Compares the answer of a text with the gold answer.

    Args:
        deadline_s: Seconds that one answer may take in a worker.
        workers: Worker processes that work at the same time; shared by all verifiers with the same settings.

    Instances can be used from any thread and can be pickled; workers start at the first answer that needs one.
    """

    checkable: ClassVar[bool] = False

    def __init__(self, deadline_s: float = DEADLINE_S, workers: int | None = None) -> None:
        self.deadline_s = deadline_s
        self.workers = workers
        self._cache: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Math], tuple[float, int | None]]:
        return (type(self), (self.deadline_s, self.workers))

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """1 if the text's answer equals the gold answer, else 0; ``None`` if the gold answer cannot be read."""
        return self.score_pairs([(labelled.gold, answer_text)])[0]

    async def ascore(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """``score`` for coroutines: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.score, labelled, answer_text)

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order."""
        return self.score_pairs([(labelled.gold, text) for labelled, text in items])

    def equal(self, gold: str, answer: str) -> Verdict:
        """Compare two bare answers; the first one says what is asked for."""
        return self.score_pairs([(gold, answer)], bare=True)[0]

    def score_pairs(self, pairs: Sequence[tuple[str, str]], bare: bool = False) -> list[Verdict]:
        """Score (gold, text) pairs; one verdict each, in order. Never raises on bad text.

        Args:
            pairs: Gold answers and the texts to score.
            bare: Both sides are answers already, nothing is to be extracted.
        """
        verdicts: list[Verdict | None] = []
        waiting: dict[tuple[str, str], list[int]] = {}
        for i, (gold, text) in enumerate(pairs):
            start = time.perf_counter()
            outcome = self._here(gold, text, bare)
            if isinstance(outcome, tuple):
                with self._lock:
                    cached = self._cache.get(outcome)
                    if cached is not None:
                        self._cache.move_to_end(outcome)
                if cached is None:
                    waiting.setdefault(outcome, []).append(i)
                verdicts.append(cached)
            else:
                reward, reason = outcome.reward, outcome.reason
                verdicts.append(Verdict(reward, reason, time.perf_counter() - start))
        if waiting:
            pool = shared_pool("math", self.workers, self.deadline_s)
            for key, reply in zip(waiting, pool.run([list(key) for key in waiting]), strict=True):
                verdict = _from_reply(reply, parse(key[0]).node is not None)
                self._remember(key, verdict)
                for i in waiting[key]:
                    verdicts[i] = verdict
        return [v for v in verdicts if v is not None]

    def _here(self, gold: str, text: str, bare: bool) -> Verdict | tuple[str, str]:
        """The verdict if it can be given in this process, else the (gold, answer) for a worker."""
        wanted = gold.strip() if bare else gold_answer(gold)
        if not wanted:
            return Verdict(None, "the gold answer cannot be read")
        answers = [_out_of_box(text.strip())] if bare else _answers(text, parse(wanted))
        if len(text) <= 2 * len(wanted) + 40 and parse(text).squashed == parse(wanted).squashed:
            return Verdict(1.0, "equal")  # the whole text is the gold answer, whatever it looks like
        if not answers or not answers[0]:
            return Verdict(0.0, "no answer")
        undecided: str | None = None
        for answer in answers:
            equal = compare(wanted, answer)
            if equal:
                return Verdict(1.0, "equal")
            if equal is None:
                undecided = undecided or answer
        if undecided is None:
            return Verdict(0.0, "different")
        if why := over_caps(wanted):
            return Verdict(None, f"the gold answer cannot be read: {why}")
        if why := over_caps(undecided):
            return Verdict(0.0, f"not read: {why}")
        return for_worker(wanted, undecided)

    def _remember(self, key: tuple[str, str], verdict: Verdict) -> None:
        with self._lock:
            self._cache[key] = verdict
            if len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)


def _out_of_box(answer: str) -> str:
    """A bare answer without the one box that it stands in as a whole; an equation's sides must not keep half of it."""
    inner = answer.strip("$ ")
    boxes = boxed(inner)
    return boxes[0][2] if len(boxes) == 1 and boxes[0][:2] == (0, len(inner)) else answer


def _answers(text: str, gold: Answer) -> list[str]:
    """The answers that a text may be taken to give, the likeliest first."""
    answer = extract_answer(text)
    if answer is None:
        return []
    if gold.node is not None and gold.node[0] in ("list", "set") and len(gold.node[1]) > 1:
        joined = joined_boxes(text) or (joined_formulas(text) if stated_answer(text) is None else None)
        if joined is not None:
            return [joined, answer]
    return [answer]


def _from_reply(reply: Reply, gold_is_read: bool) -> Verdict:
    if reply.status == "done":
        verdict = reply.result["verdict"]
        if verdict is None and gold_is_read:
            return Verdict(0.0, "the answer cannot be compared", reply.seconds)
        return Verdict(None if verdict is None else float(verdict), reply.result["reason"], reply.seconds)
    return Verdict(
        0.0, {"memory": "out of memory", "crash": "worker crashed"}.get(reply.status, reply.status), reply.seconds
    )


def labelled(gold: str, problem_text: str = "") -> LabelledProblem:
    """A labelled problem of task ``math`` for callers that have nothing but a gold answer."""
    return LabelledProblem(Problem.from_text(problem_text), gold)
