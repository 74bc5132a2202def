"""The language model as the ``World`` that searchers see.

A state is a node number. An action is a latent code: its first token is the world model's most probable one under that
code; the policy goes on from there to the end of the step. Codes with the same first token lead to the same child, and
the world says so (``equal_actions``), so that searchers merge them and sum their priors. Values: see ``forest``.

``root`` and ``expand`` do a batch of work and return; what they are made of lets trees go on each at its own pace.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from colasearch.engine.prompt import prompt_of
from colasearch.engine.trees.forest import Forest
from colasearch.engine.trees.nodes import Evaluation, Node
from colasearch.problem import Problem
from colasearch.tasks import answer_key, answer_of


class LatentWorld(Forest):
    """States and actions of a latent-action model, for many problems at once."""

    discount = 1.0

    def root(self, problems: Sequence[Problem]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Encode the problems' prompts, and draw their reference rollouts where leaf values need them.

        Raises:
            InputError: A prompt leaves no room for an answer in the base's context.
        """
        trees = self.open(problems, [prompt_of(self.lm, one, self.config.max_tokens) for one in problems])
        done = {e.tree: e for e in self._run(len(problems))}
        rows = [done[tree] for tree in trees]
        return (
            np.array([e.state for e in rows]),
            np.stack([e.logits_A for e in rows]),
            np.array([e.value for e in rows]),
        )

    def expand(
        self, states: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Decode the steps that the actions start, and roll them out where there is no value head."""
        tickets = self.submit(states, actions)
        done = {e.ticket: e for e in self._run(len(tickets))}
        rows = [done[ticket] for ticket in tickets]
        return (
            np.array([e.state for e in rows], np.int64),
            np.array([e.reward for e in rows], np.float64),
            np.array([e.terminal for e in rows], np.bool_),
            np.stack([e.logits_A for e in rows]) if rows else np.zeros((0, self.actor.num_actions)),
            np.array([e.value for e in rows], np.float64),
        )

    def _run(self, count: int) -> list[Evaluation]:
        done: list[Evaluation] = []
        while len(done) < count:
            done += self.advance()
        return done

    def equal_actions(self, states: np.ndarray) -> np.ndarray:
        """``[B, A]`` group of each action: its first token. Actions of a group lead to the same child."""
        blank = np.zeros(self.actor.num_actions, dtype=np.int64)
        tokens = [self.nodes[int(s)].next_token_A for s in np.asarray(states)]
        return np.stack([blank if t is None else t for t in tokens])

    def q_BA(self, states: np.ndarray) -> np.ndarray | None:
        """``[B, A]`` the Q head's value of each code in each state, 0 where nothing can follow; None without a Q head.

        What leads to the same child (``equal_actions``) may have several values here.
        """
        if self.values.heads.q is None:
            return None
        blank = np.zeros(self.actor.num_actions, np.float32)
        found = [self.nodes[int(s)].q_A for s in np.asarray(states)]
        return np.stack([blank if q_A is None else q_A for q_A in found])

    def tokens(self, states: np.ndarray) -> np.ndarray:
        """Tokens generated to make and evaluate each state."""
        return np.array([self.nodes[int(s)].cost for s in np.asarray(states)])

    def answers(self, states: np.ndarray) -> list[Hashable]:
        """A key of each state's answer, equal for mathematically equal answers; None without an answer."""
        keys: list[Hashable] = []
        for state, answer in zip(np.asarray(states).tolist(), self.answer_texts(states), strict=True):
            task = self.trees[self.nodes[state].tree].problem.task
            keys.append(None if answer is None else answer_key(answer, task))
        return keys

    def answer_texts(self, states: np.ndarray) -> list[str | None]:
        """Each state's answer as it is written; None without an answer."""
        nodes = [self.nodes[state] for state in np.asarray(states).tolist()]
        return [answer_of(self.ends.decode(n.written), self.trees[n.tree].problem.task) for n in nodes]

    def is_finished(self, node: Node) -> bool:
        """Whether the node's text is complete, rather than cut off."""
        return self.ends.finish_of(self._task(node.tree))(node.written)
