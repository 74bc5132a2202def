"""The language model as the ``World`` that searchers see.

A state is a node number. An action is a latent code: its first token is the world model's most probable one under that
code; the policy goes on from there to the end of the step. Codes with the same first token lead to the same child, and
the world says so (``equal_actions``), so that searchers merge them and sum their priors.

Leaf values, when the model has no value head, come from the policy's rollout to an answer: a checkable verifier's
reward where the task has one, else agreement with the answers of a few *reference rollouts* from the root (their
Laplace-smoothed share). So a leaf's value depends on its own path and the root alone, never on when it was visited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from colasearch.engine.decode import Actor, Features, Row, Rules, Sampling, decode, prefill, seeded_uniforms
from colasearch.engine.kv_tree import Segment
from colasearch.engine.text import TextEnds
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens
from colasearch.verifiers import canonical_key, checkable_verifier, extract_answer, is_checkable

NO_PARENT = -1


@dataclass(slots=True)
class Node:
    """A state: the text up to the end of a step.

    Attributes:
        tree: Index of its problem.
        parent: Node number, ``NO_PARENT`` for a root.
        tokens: Its own tokens (the prompt for a root).
        written: Tokens of the text up to here, without the prompt.
        segment: Keys and values of ``tokens``; None when nothing can follow.
        next_token_A: First token under each action; None when nothing can follow.
        cost: Tokens generated to make and evaluate it.
    """

    tree: int
    parent: int
    tokens: tuple[int, ...]
    written: tuple[int, ...]
    segment: Segment | None
    next_token_A: np.ndarray | None
    cost: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished text found in a tree.

    Attributes:
        tree: Index of its problem.
        text: Without prompt and special tokens.
        answer: Extracted; None when there is none.
        value: In [0, 1], as given to the searcher.
    """

    tree: int
    text: str
    answer: str | None
    value: float


@dataclass(slots=True)
class _Tree:
    problem: Problem
    references: Counter[Hashable] = field(default_factory=Counter)
    reference_count: int = 0


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Settings of the world.

    Attributes:
        max_tokens: Longest text, in generated tokens.
        max_step_tokens: Longest step.
        references: Reference rollouts from each root (unused with a value head or a checkable verifier).
        rows: Most texts decoded in one batch.
        sampling: How codes and tokens are drawn.
    """

    max_tokens: int = 256
    max_step_tokens: int = 24
    references: int = 8
    rows: int = 64
    sampling: Sampling = field(default_factory=Sampling)


class LatentWorld:
    """States and actions of a latent-action model, for many problems at once.

    Attributes:
        finished: Every finished text so far, in the order in which they were found.
        branching: Distinct children / actions of each open node so far.
    """

    discount = 1.0

    def __init__(
        self,
        lm: LatentLM,
        config: WorldConfig,
        seed: int,
        actions: str = "latent",
        poll: Callable[[], None] | None = None,
    ) -> None:
        if actions not in ("latent", "sampled"):
            raise InputError(f"actions are {actions!r}; they must be 'latent' or 'sampled'")
        self.lm, self.config, self.seed = lm, config, seed
        self.actor = Actor(lm, config.sampling, latent=actions == "latent", poll=poll)
        self.ends = TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self.nodes: list[Node] = []
        self.trees: list[_Tree] = []
        self.finished: list[Finished] = []
        self.branching: list[float] = []
        self.value_head = lm.latents.value if lm.latents is not None else None

    @property
    def model_calls(self) -> int:
        """Forward passes of the base so far."""
        return self.actor.model_calls

    @property
    def generated_tokens(self) -> int:
        """Tokens decoded so far; prompts do not count."""
        return self.actor.generated_tokens

    def root(self, problems: Sequence[Problem]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Encode the problems' prompts, and draw their reference rollouts where leaf values need them.

        Raises:
            InputError: A prompt leaves no room for an answer in the base's context.
        """
        tokenizer = self.lm.base.tokenizer
        prompts = [prompt_tokens(tokenizer, problem) for problem in problems]
        context = self.lm.base.context_length
        for problem, prompt in zip(problems, prompts, strict=True):
            if len(prompt) + self.config.max_tokens > context:
                raise InputError(
                    f"problem {problem.id}: its prompt has {len(prompt)} tokens and --max-tokens is "
                    f"{self.config.max_tokens}, but the context of {self.lm.base.identity.name} holds {context}; "
                    "shorten the problem, lower --max-tokens, or use a model with a longer context"
                )
        features, segments = prefill(self.actor, prompts)
        first = len(self.trees)
        self.trees.extend(_Tree(problem) for problem in problems)
        next_tokens = self._fan_out(features, [(p.id, ()) for p in problems])
        states = [
            self._add(Node(first + i, NO_PARENT, tuple(prompt), (), segments[i], next_tokens[i], 0))
            for i, prompt in enumerate(prompts)
        ]
        if self.value_head is not None:
            values = self._head_values(features)
        else:
            values = self._reference_rollouts(states, features)
        return np.array(states), self._prior_logits(features), values

    def expand(
        self, states: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Decode the steps that the actions start, and roll them out where there is no value head."""
        rows: list[Row] = []
        for state, action in zip(np.asarray(states).tolist(), np.asarray(actions).tolist(), strict=True):
            node = self.nodes[state]
            if node.next_token_A is None:
                raise InputError(f"state {state} is finished; a finished text must not be continued")
            rows.append(self._row(state, int(node.next_token_A[action])))
        self._decode(rows, rollout=self.value_head is None)
        count = len(rows)
        features, open_rows = _gather(rows)
        next_tokens = prior = head_values = None
        if open_rows:
            keys = [
                (self._problem(state).id, (*self.nodes[state].written, *rows[i].tokens[: rows[i].step_tokens]))
                for i, state in ((i, int(states[i])) for i in open_rows)
            ]
            next_tokens = self._fan_out(features, keys)
            prior = self._prior_logits(features)
            head_values = self._head_values(features) if self.value_head is not None else None
        new_states = np.zeros(count, dtype=np.int64)
        reward, value = np.zeros(count), np.zeros(count)
        terminal = np.ones(count, dtype=bool)
        prior_logits = np.zeros((count, self.actor.num_actions))
        place = {row: k for k, row in enumerate(open_rows)}
        for i, row in enumerate(rows):
            parent = self.nodes[int(states[i])]
            step = tuple(row.tokens[: row.step_tokens])
            k = place.get(i)
            text_value = self._finish(parent.tree, (*parent.written, *row.tokens)) if row.ended else 0.0
            node = Node(
                parent.tree,
                int(states[i]),
                step,
                (*parent.written, *step),
                row.segment,
                None if k is None or next_tokens is None else next_tokens[k],
                len(row.tokens),
            )
            new_states[i] = self._add(node)
            if k is None or prior is None:
                # The step ended the text, or filled it without an answer.
                reward[i] = text_value
                continue
            terminal[i] = False
            prior_logits[i] = prior[k]
            value[i] = text_value if head_values is None else head_values[k]
        return new_states, reward, terminal, prior_logits, value

    def equal_actions(self, states: np.ndarray) -> np.ndarray:
        """``[B, A]`` group of each action: its first token. Actions of a group lead to the same child."""
        blank = np.zeros(self.actor.num_actions, dtype=np.int64)
        tokens = [self.nodes[int(s)].next_token_A for s in np.asarray(states)]
        return np.stack([blank if t is None else t for t in tokens])

    def tokens(self, states: np.ndarray) -> np.ndarray:
        """Tokens generated to make and evaluate each state."""
        return np.array([self.nodes[int(s)].cost for s in np.asarray(states)])

    def answers(self, states: np.ndarray) -> list[Hashable]:
        """A key of each state's answer, equal for mathematically equal answers; None without an answer."""
        keys: list[Hashable] = []
        for state in np.asarray(states).tolist():
            node = self.nodes[state]
            answer = extract_answer(self.ends.decode(node.written), self._problem(state).task)
            keys.append(None if answer is None else canonical_key(answer, self._problem(state).task))
        return keys

    def answer_texts(self, states: np.ndarray) -> list[str | None]:
        """Each state's answer as it is written; None without an answer."""
        return [
            extract_answer(self.ends.decode(self.nodes[state].written), self._problem(state).task)
            for state in np.asarray(states).tolist()
        ]

    def is_finished(self, node: Node) -> bool:
        """Whether the node's text is complete, rather than cut off."""
        return self.ends.is_finished(node.written)

    def _problem(self, state: int) -> Problem:
        return self.trees[self.nodes[state].tree].problem

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _path(self, state: int) -> list[Segment]:
        path: list[Segment] = []
        while state != NO_PARENT:
            node = self.nodes[state]
            assert node.segment is not None
            path.append(node.segment)
            state = node.parent
        return path[::-1]

    def _row(self, state: int, token: int, draw: int | None = None) -> Row:
        """A row that continues ``state`` with ``token``; its random numbers are fixed by seed, problem and tokens."""
        node = self.nodes[state]
        left = self.config.max_tokens - len(node.written)
        key: tuple[object, ...] = (self.seed, self._problem(state).id, *node.written, token)
        if draw is not None:
            key = (*key, "reference", draw)
        return Row(self._path(state), token, seeded_uniforms(max(0, left - 1), *key), node.tree, node.written)

    def _decode(self, rows: Sequence[Row], *, rollout: bool) -> None:
        rules = Rules(self.ends.is_boundary, self.ends.is_finished, self.config.max_step_tokens, rollout)
        # Rows of like length together: a batch lasts as long as its longest row, and paths are padded to the longest.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].before))
        for begin in range(0, len(order), self.config.rows):
            try:
                decode(self.actor, [rows[i] for i in order[begin : begin + self.config.rows]], rules)
            except BaseException:
                # The time is up, or the user pressed Ctrl-C: texts that were finished by then are not lost.
                for row in rows:
                    if row.ended:
                        self._finish(row.tree, (*row.before, *row.tokens))
                raise

    def _fan_out(self, features: Features, keys: Sequence[tuple[str, tuple[int, ...]]]) -> np.ndarray:
        count = self.actor.num_actions
        if self.actor.latent:
            uniforms = np.zeros((len(keys), count))
        else:
            uniforms = np.stack([seeded_uniforms(count, self.seed, name, *path, "fan") for name, path in keys])
        with torch.inference_mode():
            tokens: np.ndarray = self.actor.fan_out(features, uniforms).cpu().numpy()
        self.branching.extend(len(set(row)) / count for row in tokens.tolist())
        return tokens

    def _prior_logits(self, features: Features) -> np.ndarray:
        if features.scores_BA is None:
            return np.zeros((len(features.hidden_BD), self.actor.num_actions))
        scores: np.ndarray = features.scores_BA.float().cpu().numpy()
        return scores / self.config.sampling.temperature

    def _head_values(self, features: Features) -> np.ndarray:
        assert self.value_head is not None
        with torch.inference_mode():
            values: np.ndarray = self.value_head(features.hidden_BD).cpu().numpy()
        return values

    def _reference_rollouts(self, states: Sequence[int], features: Features) -> np.ndarray:
        """Values of roots: mean value of their reference rollouts; their answers are what later ones are held to."""
        count = self.config.references
        rows: list[Row] = []
        owners: list[int] = []
        log_prior = self._prior_logits(features)
        prior = np.exp(log_prior - log_prior.max(axis=1, keepdims=True))
        cumulative = np.cumsum(prior / prior.sum(axis=1, keepdims=True), axis=1)
        for i, state in enumerate(states):
            node = self.nodes[state]
            assert node.next_token_A is not None
            draws = seeded_uniforms(count, self.seed, self._problem(state).id, "reference codes")
            for draw, number in enumerate(draws):
                action = min(int(np.searchsorted(cumulative[i], number, side="right")), self.actor.num_actions - 1)
                rows.append(self._row(state, int(node.next_token_A[action]), draw=draw))
                owners.append(state)
        self._decode(rows, rollout=True)
        for row in rows:
            tree = self.trees[row.tree]
            tree.reference_count += 1
            answer = extract_answer(self.ends.decode(row.tokens), tree.problem.task) if row.ended else None
            if answer is not None:
                tree.references[canonical_key(answer, tree.problem.task)] += 1
        totals = dict.fromkeys(states, 0.0)
        for state, row in zip(owners, rows, strict=True):
            if row.ended:
                totals[state] += self._finish(row.tree, row.tokens)
        return np.array([totals[state] / max(1, count) for state in states])

    def _finish(self, tree_index: int, tokens: Sequence[int]) -> float:
        """Record a finished text and value it."""
        tree = self.trees[tree_index]
        text = self.ends.decode(tokens)
        answer = extract_answer(text, tree.problem.task)
        value = self._text_value(tree, answer)
        self.finished.append(Finished(tree_index, text, answer, value))
        return value

    def _text_value(self, tree: _Tree, answer: str | None) -> float:
        if answer is None:
            return 0.0
        if is_checkable(tree.problem.task):
            reward = checkable_verifier(tree.problem.task).score(tree.problem, answer).reward
            return 0.0 if reward is None else reward
        agreeing = tree.references[canonical_key(answer, tree.problem.task)]
        return (1 + agreeing) / (2 + tree.reference_count)


def _gather(rows: Sequence[Row]) -> tuple[Features, list[int]]:
    """Features of the rows after whose step something can follow, and the indices of those rows."""
    parts = [(i, row.features) for i, row in enumerate(rows) if row.features is not None]
    if not parts:
        return Features(torch.zeros(0, 0), None), []
    scores = [f.scores_BA for _, f in parts if f.scores_BA is not None]
    features = Features(torch.cat([f.hidden_BD for _, f in parts]), torch.cat(scores) if scores else None)
    return features, [i for i, _ in parts]
