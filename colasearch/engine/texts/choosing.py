"""Heuristics that choose among texts where no verifier can: what a text itself says of its being right.

Each has a switch in ``engine.settings.Choosing``; ``--no-check-steps`` puts the first two off, which are of tasks that
say so alone (``Task.equations``, ``Task.uses_numbers``: ours is ``math``). docs/verifiers.md says where each was
measured and where it was not.

* *False equations*: a text that states one is given up while it is written, and worth nothing when it is finished.
* *Numbers left out*: each number of the problem that a text does not mention divides its weight in a vote by e.
* *Temper*: the power of its probability with which a text that a tree reached counts in a vote. That probability is a
  product over many choices of words, most of which have nothing to do with the answer: as it stands it says too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from colasearch.engine.decoding.row import Rules
from colasearch.engine.settings import Choosing
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.writing import Writing
from colasearch.problem import Problem
from colasearch.tasks import Task, behind_thought, get_task, is_checkable
from colasearch.verifiers import false_equation, in_result, infeasible_result, settled, unused_numbers

RECENT = 24
"""Tokens at a text's end that show whether it ends within an equation's result."""
SEEN = 200
"""Characters of a growing text that are looked at again before it is asked how many of them are settled."""


def states_false(task: Task, text: str, *, complete: bool = True) -> bool:
    """Whether a text (or its beginning, where it is not ``complete``) of ``task`` is surely wrong, by itself."""
    return task.equations and false_equation(behind_thought(text), complete=complete) is not None


@dataclass(frozen=True, slots=True)
class Checks:
    """The heuristics, as far as they are switched on.

    Attributes:
        ends: Makes texts of tokens.
        how: The switches.
    """

    ends: TextEnds
    how: Choosing

    def serve(self, task: Task) -> bool:
        """Whether equations in texts of ``task`` are looked at while they are written."""
        return self.how.false_equations and task.equations

    def refuse(self, task: Task, text: str) -> bool:
        """Whether a whole text states something false, and that is looked at."""
        return self.how.false_equations and states_false(task, text)

    def plausibility(self, problem: Problem, text: str) -> float:
        """How often texts like this are right, up to a factor, by what they leave out; in (0, 1].

        The factor e is what the texts that searches found on training problems say (docs/lab-notes).
        """
        if not self.how.numbers_left_out or not get_task(problem.task).uses_numbers:
            return 1.0
        return math.exp(-len(unused_numbers(problem.text, text)))

    def worth(
        self, problem: Problem, text: str, answer: str | None, value: float, path_probability: float | None
    ) -> tuple[float, float]:
        """Value and weight in a vote of a finished text.

        Args:
            problem: The problem.
            text: Without prompt and special tokens.
            answer: None where it has none.
            value: What a verifier, a value head or other rollouts say of it.
            path_probability: Of a text that a tree reached; None for one that was drawn, which counts by its value.
        """
        if answer is None or is_checkable(problem.task):
            return value, value  # a verifier knows better
        if self.how.false_equations and states_false(get_task(problem.task), text):
            return 0.0, 0.0
        likely = value if path_probability is None else path_probability**self.how.temper
        return value, self.plausibility(problem, text) * likely

    def refute(self, task: Task, written: Writing, complete: bool) -> bool:
        """Whether the text so far states something false, and that is looked at."""
        return self.serve(task) and self._states_false(written, complete)

    def rules(self, rules: Rules, task: Task) -> Rules:
        """``rules`` under which a text ends with a false statement, and opens where the check will settle a choice."""
        if not self.serve(task):
            return rules
        return replace(
            rules,
            greedy=True,
            is_checked=self._in_result,
            is_refuted=lambda written: self._states_false(self._growing(written), False),
        )

    def _growing(self, written: Sequence[int]) -> Writing:
        return written if isinstance(written, Writing) else self.ends.writing(written)

    def _states_false(self, written: Writing, complete: bool) -> bool:
        """Whether a text states something false, given that what ``written`` knows as settled does not."""
        text, start = self._judged(written)
        if false_equation(text, complete=complete, start=start) is not None:
            return True
        final = len(text) - (len(written.text) - written.settled)
        if final - start > SEEN:
            written.looked = settled(text, start, final)
        return False

    def _judged(self, written: Writing) -> tuple[str, int]:
        """The part of a text in which statements are judged, and where in it a look may begin."""
        text = behind_thought(self.ends.said(written))
        base = len(written.text) - len(text)
        if base != written.base:  # a thought has begun or ended
            written.base, written.looked = base, 0
        return text, written.looked

    def _in_result(self, written: Sequence[int]) -> bool:
        """Whether a result is being written; the few last tokens tell, but not whether they stand in a thought."""
        return in_result(self.ends.decode(written[-RECENT:])) and bool(self.ends.said(written))

    def mask_infeasible(self, task: Task, written: Writing, token_A: np.ndarray, logits_A: np.ndarray) -> np.ndarray:
        """The prior logits ``[A]``, -inf for actions that continue an equation's result with what cannot be right."""
        if not self.serve(task) or not self._in_result(written):
            return logits_A
        wrong = [token for token in set(token_A.tolist()) if self._cannot_be(written, token)]
        return np.where(np.isin(token_A, wrong), -np.inf, logits_A) if wrong else logits_A

    def _cannot_be(self, written: Writing, token: int) -> bool:
        """Whether a result that is being written cannot become right once ``token`` follows."""
        tried = written.fork()
        tried.append(token)
        if self._states_false(tried, False):
            return True
        said = self.ends.said(tried)
        text, start = self._judged(tried)
        return infeasible_result(said, start=start + len(said) - len(text) if start else 0)
