"""CoLA's MCTS-Q search by its published rules, as a named baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colasearch.problem import StopReason
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Edge, Program, Programs, branches_of, by_paths
from colasearch.searchers.search import Search


@dataclass(slots=True, eq=False)
class Place:
    """A node that the search may branch at: the end of an edge of one or more steps, and of one rollout.

    Attributes:
        slot: The tree's node.
        above: The place that its edge starts from; None at the root.
        prior: Mean probability of the actions on its edge.
        reward: R, what its rollout was paid; 0 at the root, which has none.
        visits: N, rollouts from here and from places below.
    """

    slot: int
    above: Place | None
    prior: float
    reward: float = 0.0
    visits: int = 0


@dataclass(slots=True)
class _Rollout:
    """A text on its way to its end; its first steps are an edge.

    Attributes:
        rng: Draws its actions.
        tip: The tree's node that it has come to.
        end: The tree's node at the end of its edge.
        priors: Probabilities of the actions on the edge.
        growing: Whether its next step still belongs to the edge.
    """

    rng: np.random.Generator
    tip: int
    end: int
    priors: list[float]
    growing: bool = True


@dataclass(frozen=True, kw_only=True)
class ColaReference:
    """MCTS-Q: global best-first choice, one rollout a node, and edges that go on while Q is consistent with itself.

    *Choice.* Each round takes, over all open nodes of the tree, the one with the largest
    ``R(n) + c_puct · p(n) · √N(parent) / (N(n) + 1)``, and gives it all its ``b`` children: its actions of largest
    prior, the prior of each renormalised over the actions not tried before it.

    *Gate.* Where ``(Q(s, a) - γ max_a' Q(s', a'))² < td_threshold`` nothing is decided at s': the edge goes on by
    ``chunk`` steps of the policy. Q is used for this alone. ``p`` is the mean probability of the actions on the edge.

    *Rollout.* The policy draws from the end of the edge to the end of the text, whose reward is R.

    *Backup.* The rollout counts as a visit of its node and of all above. (The published code also backs up values. No
    choice sees one: a node is open until it is branched at, once, and until then its value is its own reward.)

    *Answer.* The text with the best reward, the first of equals. (The published second rule, that a finished node whose
    value is above that wins, never decides: that value is a reward.)

    Source: repository LAMDA-RL/CoLA, ``mcts_utils.py``. It is left out where it makes a search break off: that a node
    below the depth limit eats the remaining rounds, that an end of text ends all, that a finished text is continued.
    Actions that lead to the same text are one. Each step of an edge or a rollout is a simulation, and steps that an
    earlier rollout took are not paid for again; what bounds the search is the run's budget, where the original has 32
    rounds. In a world without Q-values (``q_BA``) every edge is one step. Cost O(nodes) a round. When to use: to
    compare with the published method.

    Attributes:
        c_puct: Weight of the prior.
        root_children: b at the root.
        node_children: b elsewhere.
        td_threshold: Bound below which an edge goes on; 0 never extends.
        chunk: Most steps by which an edge is extended.
        depth: Nodes so many steps below the root are not branched at.
        gamma: γ of the gate.
    """

    name: ClassVar[str] = "cola_reference"
    values_used: ClassVar[str] = "ends"
    uses_q: ClassVar[bool] = True
    selects: ClassVar[bool] = True

    c_puct: float = 0.7
    root_children: int = 5
    node_children: int = 4
    td_threshold: float = 0.01
    chunk: int = 64
    depth: int = 64
    gamma: float = 0.99

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("root_children", "node_children", "depth"):
            at_least(name, getattr(self, name), 1)
        for name in ("td_threshold", "chunk", "gamma"):
            at_least(name, getattr(self, name), 0)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def conclude(self, search: Search) -> Choice:
        """The finished text with the best reward, also among those that a spent budget left uncounted."""
        for branch in branches_of(search):
            for node in branch.finished_nodes():
                if node not in branch.ends:
                    branch.end(node)
        return by_paths(search)

    def _program(self, branch: Branch) -> Program:
        open_places = [Place(Branch.ROOT, None, 0.5)]
        started = 0
        while open_places:
            place = max(open_places, key=self._urgency)  # the oldest of equals
            open_places.remove(place)
            width = self.root_children if place.slot == Branch.ROOT else self.node_children
            actions = branch.top_actions(place.slot, width)
            priors = self._priors(branch, place.slot, actions)
            yield [(place.slot, action) for action in actions]
            rollouts: dict[int, _Rollout] = {}
            for action, prior in zip(actions, priors, strict=True):
                child = branch.child(place.slot, action)
                if child in rollouts:  # the step turned out to lead where another one does
                    continue
                one = _Rollout(branch.rng(f"rollout {started}"), child, child, [prior])
                one.growing = self.chunk > 0 and self._consistent(branch, place.slot, action, child)
                rollouts[child] = one
                started += 1
            yield from self._roll_out(branch, list(rollouts.values()))
            for one in rollouts.values():
                branch.end(one.tip)
                new = Place(one.end, place, sum(one.priors) / len(one.priors), branch.score(one.tip))
                _count(new)
                if not branch.finished(one.end) and branch.depth(one.end) < self.depth:
                    open_places.append(new)
        return StopReason.EXHAUSTED

    def _roll_out(self, branch: Branch, rollouts: list[_Rollout]) -> Program:
        """Take all ``rollouts`` to the ends of their texts, side by side; the edges grow with their first steps."""
        going = [one for one in rollouts if not branch.finished(one.tip)]
        while going:
            steps: list[Edge] = [(one.tip, branch.draw(one.tip, one.rng)) for one in going]
            probabilities = [float(branch.prior(node)[action]) for node, action in steps]
            yield steps
            for one, (node, action), probability in zip(going, steps, probabilities, strict=True):
                one.tip = branch.child(node, action)
                if one.growing:
                    one.end = one.tip
                    one.priors.append(probability)
                    one.growing = len(one.priors) <= self.chunk and self._goes_on(branch, node, action, one.tip)
            going = [one for one in going if not branch.finished(one.tip)]
        return StopReason.EXHAUSTED

    def _urgency(self, place: Place) -> float:
        visits = 1 if place.above is None else place.above.visits
        return place.reward + self.c_puct * place.prior * math.sqrt(visits) / (place.visits + 1)

    def _priors(self, branch: Branch, node: int, actions: list[int]) -> list[float]:
        """Priors of a node's children, in the order in which they are tried."""
        left, priors = 1.0, []
        for action in actions:
            prior = float(branch.prior(node)[action])
            priors.append(min(1.0, prior / left) if left > 0 else 1.0)
            left -= prior
        return priors

    def _consistent(self, branch: Branch, node: int, action: int, child: int) -> bool:
        """The gate: Q foresaw all that the step has changed."""
        if self.td_threshold == 0 or branch.finished(child):
            return False
        error = self._td_error(branch, node, action, child)
        return error is not None and error**2 < self.td_threshold

    def _td_error(self, branch: Branch, node: int, action: int, child: int) -> float | None:
        """``Q(s, a) - γ max_a' Q(s', a')``; None in a world without Q-values."""
        q_A, after_A = branch.q(node), branch.q(child)
        if q_A is None or after_A is None:
            return None
        return float(q_A[action] - self.gamma * after_A[branch.prior(child) > 0].max())

    def _goes_on(self, branch: Branch, node: int, action: int, child: int) -> bool:
        """Whether an edge that has been extended is extended further; the gate is asked once an edge."""
        return True


def _count(new: Place) -> None:
    """Count a new place's rollout there and at all places above."""
    place: Place | None = new
    while place is not None:
        place.visits += 1
        place = place.above
