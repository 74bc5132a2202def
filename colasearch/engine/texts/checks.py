"""What a search does with a task's check of statements: texts that state something false are given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from colasearch.engine.decoding.row import Rules
from colasearch.engine.texts.ends import TextEnds
from colasearch.problem import Problem
from colasearch.tasks import Task, get_task

RECENT = 24
"""Tokens at a text's end that show whether it ends within an equation's result."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Looks at texts of tasks that have such a check (``Task.equations``).

    Attributes:
        ends: Makes texts of tokens.
        on: Whether anything is looked at.
    """

    ends: TextEnds
    on: bool

    def serve(self, task: Task) -> bool:
        """Whether texts of ``task`` are looked at while they are written."""
        return self.on and task.equations

    def refuse(self, task: Task, text: str) -> bool:
        """Whether a whole text states something false, and that is looked at."""
        return self.on and task.refuted(text, complete=True)

    def plausibility(self, problem: Problem, text: str) -> float:
        """``Task.plausibility`` of a whole text, if that is looked at; else 1."""
        return get_task(problem.task).plausibility(problem, text) if self.on else 1.0

    def refute(self, task: Task, written: Sequence[int], complete: bool) -> bool:
        """Whether the text so far states something false, and that is looked at."""
        return self.serve(task) and task.refuted(self.ends.decode(written), complete=complete)

    def rules(self, rules: Rules, task: Task) -> Rules:
        """``rules`` under which a text ends with a false statement, and opens where the check will settle a choice."""
        if not self.serve(task):
            return rules
        decode = self.ends.decode
        return replace(
            rules,
            greedy=True,
            is_checked=lambda tokens: task.in_result(decode(tokens[-RECENT:])),
            is_refuted=lambda tokens: task.refuted(decode(tokens), complete=False),
        )

    def mask_infeasible(
        self, task: Task, written: Sequence[int], token_A: np.ndarray, logits_A: np.ndarray
    ) -> np.ndarray:
        """The prior logits ``[A]``, -inf for actions that continue an equation's result with what cannot be right."""
        if not self.serve(task) or not task.in_result(self.ends.decode(written[-RECENT:])):
            return logits_A
        tried = {token: self.ends.decode((*written, token)) for token in set(token_A.tolist())}
        wrong = [token for token, text in tried.items() if task.infeasible(text)]
        return np.where(np.isin(token_A, wrong), -np.inf, logits_A) if wrong else logits_A
