"""Episodes as the ``World`` that searchers see: a state is what was done and seen so far, an edge one whole action.

What an action leads to, :class:`Dynamics` says: the true environment (``TrueDynamics``), or the model's own idea of it
(``imagination.py``). The edges at a state are the likeliest of the actions that can be done there, or what the model
proposes, equal texts merged; their priors are how probable the model finds them. A state is worth the rewards still to
come as the value head sees them, where the model has one, and otherwise nothing: rewards on the way are what guides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from colasearch.agents.episode import DONE, Episode
from colasearch.agents.layout import Turn
from colasearch.agents.transitions import State, Transitions
from colasearch.agents.writer import Option, Writer
from colasearch.environments import EnvironmentFault
from colasearch.errors import ColasearchError, InputError


@dataclass(frozen=True, slots=True)
class Edge:
    """An action at a state of one of the trees.

    Attributes:
        tree: Which one.
        turns: What was done and seen before, from the episode's beginning.
        action: The action.
    """

    tree: int
    turns: tuple[Turn, ...]
    action: str


class Dynamics(Protocol):
    """Says what actions lead to."""

    def after(self, edges: Sequence[Edge]) -> list[State | ColasearchError]:
        """The state behind each edge, or what is wrong with it."""


class TrueDynamics:
    """The environment itself, brought back to each state."""

    def __init__(self, transitions: Sequence[Transitions]) -> None:
        self.transitions = transitions

    def after(self, edges: Sequence[Edge]) -> list[State | ColasearchError]:
        """The state behind each edge, or what is wrong with it."""
        found: list[State | ColasearchError] = []
        for edge in edges:
            try:
                history = tuple(turn.action for turn in edge.turns)
                found.append(self.transitions[edge.tree].after(history, edge.action))
            except EnvironmentFault as error:
                found.append(error)
        return found


@dataclass(slots=True)
class Node:
    """A state of a tree.

    Attributes:
        tree: Which one.
        turns: What was done and seen, from the episode's beginning.
        state: What the last action led to.
        options: Actions that may be taken.
        value: What is expected to come.
    """

    tree: int
    turns: tuple[Turn, ...]
    state: State
    options: list[Option] = field(default_factory=list)
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Rooted:
    """Where a search begins.

    Attributes:
        root: The state, or what is wrong with it.
        id: Fixes the search's random numbers.
    """

    root: State | ColasearchError
    id: str


class EpisodeWorld:
    """Trees of actions, one for each of several episodes.

    Attributes:
        width: Most actions at a state, the number of actions that searchers see.
        nodes: By number.
        faults: Trees that broke, and why: a searcher stops them by a value that is no number.
        calls: Forward passes of the model that each tree took part in.
    """

    discount = 1.0

    def __init__(
        self, writer: Writer, episodes: Sequence[Episode], dynamics: Dynamics, width: int, max_steps: int
    ) -> None:
        self.writer, self.episodes, self.dynamics = writer, list(episodes), dynamics
        self.width, self.max_steps = width, max_steps
        self.nodes: list[Node] = []
        self.faults: dict[int, ColasearchError] = {}
        self.calls = [0] * len(self.episodes)

    def root(self, problems: Sequence[Rooted]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The states that the episodes are in now, as the environment has them, in order."""
        nodes: list[Node | None] = []
        for tree, (problem, episode) in enumerate(zip(problems, self.episodes, strict=True)):
            state = problem.root
            if isinstance(state, ColasearchError):
                self.faults[tree] = state
                nodes.append(None)
            else:
                nodes.append(Node(tree, tuple(episode.turns), state))
        self._open([node for node in nodes if node is not None])
        return self._told(nodes)

    def expand(
        self, states: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Take actions; what breaks stops its tree alone."""
        parents = [self.nodes[int(state)] for state in np.asarray(states)]
        edges = [
            Edge(node.tree, node.turns, node.options[int(action)].text)
            for node, action in zip(parents, np.asarray(actions), strict=True)
        ]
        nodes: list[Node | None] = []
        for edge, state in zip(edges, self.dynamics.after(edges), strict=True):
            if isinstance(state, ColasearchError):
                self.faults.setdefault(edge.tree, state)
                nodes.append(None)
                continue
            turn = Turn(edge.action, state.outcome.observation, state.outcome.reward)
            nodes.append(Node(edge.tree, (*edge.turns, turn), state))
        self._open([node for node in nodes if node is not None])
        numbers, logits, values = self._told(nodes)
        rewards = np.array([0.0 if node is None else node.state.outcome.reward for node in nodes])
        over = np.array([node is not None and self.is_over(node) for node in nodes], np.bool_)
        return numbers, rewards, over, logits, values

    def is_over(self, node: Node) -> bool:
        """Whether nothing follows: the environment says so, or nothing can be done."""
        return bool(node.state.over) or len(node.turns) >= self.max_steps

    def end_of(self, node: Node) -> str:
        """Why nothing follows; empty where something does."""
        return node.state.over or ("max_steps" if len(node.turns) >= self.max_steps else "")

    def succeeded(self, node: Node) -> bool:
        """Whether the episode, which ended there, was solved."""
        if node.state.over != DONE:
            return False
        episode = self.episodes[node.tree]
        ended = Episode(episode.start, episode.first, list(node.turns[:-1]))
        ended.take(node.turns[-1].action, node.state.outcome, self.max_steps)
        return ended.success

    def _open(self, nodes: Sequence[Node]) -> None:
        """Find the actions and the value of each node that is not over."""
        calls = self.writer.model_calls
        live: list[Node] = []
        texts = []
        for node in nodes:
            if self.is_over(node):
                continue
            try:
                texts.append(self.writer.layout.chunks(self.episodes[node.tree].first, node.turns))
            except InputError as error:
                self.faults.setdefault(node.tree, error)
                continue
            live.append(node)
        keys = [(self.episodes[n.tree].start.id, tuple(turn.action for turn in n.turns)) for n in live]
        places = self.writer.places(keys, texts)
        fine = self.writer.usable(places)
        free = [i for i, node in enumerate(live) if fine[i] and node.state.valid is None]
        given = [i for i, node in enumerate(live) if fine[i] and node.state.valid is not None]
        for i, options in zip(free, self.writer.propose([places[i] for i in free], self.width), strict=True):
            live[i].options = options
        valid = [live[i].state.valid or () for i in given]
        judged = self.writer.judge([places[i] for i in given], valid, self.width)
        for i, options in zip(given, judged, strict=True):
            live[i].options = options
        values = self.writer.values(places)
        for i, node in enumerate(live):
            node.value = 0.0 if values is None else float(values[i])
            if not fine[i] or not node.options:
                wrong = f"episode {self.episodes[node.tree].start.id}: the model gave NaN or infinity"
                self.faults.setdefault(node.tree, InputError(wrong))
        for tree in {node.tree for node in nodes}:
            self.calls[tree] += self.writer.model_calls - calls

    def _told(self, nodes: Sequence[Node | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers, prior logits and values of nodes, which are kept; what is broken has NaN for a value."""
        numbers, values = np.zeros(len(nodes), np.int64), np.zeros(len(nodes))
        logits = np.full((len(nodes), self.width), -np.inf)
        for row, node in enumerate(nodes):
            if node is None or node.tree in self.faults:
                values[row] = np.nan
            if node is None:
                continue
            numbers[row] = len(self.nodes)
            self.nodes.append(node)
            if node.tree not in self.faults:
                values[row] = node.value
            for action, option in enumerate(node.options):
                logits[row, action] = np.log(max(option.share, 1e-30))
        return numbers, logits, values
