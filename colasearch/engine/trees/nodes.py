"""What a world keeps of each problem: its nodes, its finished texts, what it has cost; and what it says of a node."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from colasearch.engine.texts.choosing import Checks
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.finished import Finished
from colasearch.engine.texts.writing import Writing
from colasearch.engine.trees.references import References
from colasearch.problem import Problem
from colasearch.tasks import answer_key, answer_of, checkable_verifier, get_task, is_checkable

NO_PARENT = -1
ROOT, COMPLETED = -1, -2
"""In place of a ticket: what is evaluated is a root, or no node but a text that is now written to its end."""


@dataclass(slots=True)
class Node:
    """A state: the text up to the end of a step.

    Attributes:
        tree: Number of its problem.
        parent: Node number, ``NO_PARENT`` for a root.
        tokens: Its own tokens (the prompt for a root).
        written: Tokens of the text up to here, without the prompt.
        record: The same as texts below go on from it.
        key: Of the keys and values of ``tokens`` in the store.
        next_token_A: First token under each action; None when nothing can follow.
        cost: Tokens generated to make and evaluate it.
        value: What the value head says of it.
        refuted: Its text states something false, so nothing follows.
        prior_A: Probability of each action here; None when nothing can follow.
        path_probability: Product of the probabilities of the edges from the root to here.
        q_A: What the Q head says of each action here; None without a Q head, or when nothing can follow.
    """

    tree: int
    parent: int
    tokens: tuple[int, ...]
    written: tuple[int, ...]
    record: Writing
    key: Hashable
    next_token_A: np.ndarray | None
    cost: int
    value: float = 0.0
    refuted: bool = False
    prior_A: np.ndarray | None = None
    path_probability: float = 1.0
    q_A: np.ndarray | None = None


@dataclass(slots=True)
class Round:
    """Rows of one tree that were asked for together.

    Attributes:
        pending: Rows not done yet.
        passes: Most forward passes that one of them took.
    """

    pending: int
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A root, or an edge that was asked for, evaluated.

    Attributes:
        tree: Number of its tree.
        ticket: As ``submit`` gave it; or ``ROOT``; or ``COMPLETED``, where the rest means nothing.
        state, reward, terminal, logits_A, value: As in the world contract. ``value`` is NaN where the model gave NaN.
    """

    tree: int
    ticket: int
    state: int
    reward: float
    terminal: bool
    logits_A: np.ndarray
    value: float


@dataclass(frozen=True, slots=True)
class Job:
    """What a row is for: an edge, by its ``ticket``; a reference rollout (``ROOT``); a text's end (``COMPLETED``).

    ``path_probability`` is that of the node which the edge leads to.
    """

    ticket: int
    parent: int
    order: int
    round: Round
    path_probability: float


@dataclass(slots=True)
class TreeState:
    """A problem in progress.

    Attributes:
        problem: The problem.
        root: Node number of the root.
        seed: With the problem's id it fixes all that is drawn.
        max_tokens: Longest text.
        root_logits_A: The policy's logits after the prompt; zeros without latent actions.
        references: Its reference rollouts.
        rows: Rows asked for so far.
        generated_tokens: Tokens decoded.
        model_calls: Forward passes that this problem needs when its rows never wait for room in a batch.
        branching: Distinct children / actions of each open node.
        nodes: Its node numbers.
        cut: Texts that reached the limit of their length.
    """

    problem: Problem
    root: int
    seed: int
    max_tokens: int
    root_logits_A: np.ndarray = field(default_factory=lambda: np.zeros(0))
    references: References = field(default_factory=References)
    rows: int = 0
    generated_tokens: int = 0
    model_calls: int = 0
    branching: list[float] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    cut: int = 0
    _finished: list[Finished] = field(default_factory=list)

    def finish(
        self,
        text: str,
        answer: str | None,
        order: int,
        checks: Checks,
        *,
        judged: float | None = None,
        path_probability: float | None = None,
    ) -> float:
        """Record a finished text and value it: by ``judged`` where it has an answer that no verifier can check.

        Args:
            text: Without prompt and special tokens.
            answer: None where it has none.
            order: Its place in the order of asking.
            checks: What the text itself says of its worth.
            judged: What a value head says of it.
            path_probability: How probable it was, for a text that a tree reached; None for one that was drawn.
        """
        if judged is None or answer is None or is_checkable(self.problem.task):
            judged = self.value_of(answer)
        value, weight = checks.worth(self.problem, text, answer, judged, path_probability)
        draws = 1.0 if path_probability is None else path_probability
        self._finished.append(Finished(order, text, answer, value, draws, weight))
        return value

    @property
    def finished(self) -> list[Finished]:
        """Every finished text so far, in the order in which their rows were asked for."""
        return sorted(self._finished, key=lambda f: f.order)

    def value_of(self, answer: str | None) -> float:
        """A checkable verifier's reward; without one, the smoothed fraction of reference rollouts with that answer."""
        if answer is None:
            return 0.0
        task = self.problem.task
        if is_checkable(task):
            reward = checkable_verifier(task).score(self.problem, answer).reward
            return 0.0 if reward is None else reward
        return self.references.agreement(answer_key(answer, task))

    def count_references(self, ends: TextEnds, checks: Checks) -> float:
        """Take in the reference rollouts that are done; returns the value of the root, NaN where one broke off."""
        rows = self.references.end()
        task = self.problem.task
        # Count all answers before any text is valued: a value must not depend on which rollout ended first.
        texts = [(ends.decode(row.tokens), order) for row, order in rows.items() if row.ended]
        answers = [answer_of(text, task) for text, _ in texts]
        false = [checks.refuse(get_task(task), text) for text, _ in texts]
        sound = [a for a, wrong in zip(answers, false, strict=True) if a is not None and not wrong]
        self.references.answers.update(answer_key(a, task) for a in sound)
        total = sum(self.finish(text, a, order, checks) for (text, order), a in zip(texts, answers, strict=True))
        return float("nan") if any(row.broken for row in rows) else total / max(1, len(rows))


def softmax(logits_A: np.ndarray) -> np.ndarray:
    """Probabilities ``[A]`` of logits."""
    weights_A = np.exp(logits_A - logits_A.max())
    probability_A: np.ndarray = weights_A / weights_A.sum()
    return probability_A
