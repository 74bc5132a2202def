"""What search traces teach: states of the tree's open nodes with their values, Q-values and policy targets.

A trace's nodes hold tokens; each path from the root to a deepest open node becomes one document, and each open node a
position in the first document that passes it. Finished and cut-off nodes are no targets: nothing asks for their value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from colasearch.errors import InputError
from colasearch.storage.traces import Trace, TraceNode
from colasearch.training.data.corpus import Corpus, Document

Targets = Literal["completed", "visits"]
EPSILON = 1e-8  # smallest spread of Q-values that rescaling divides by, as in the search


@dataclass(frozen=True, slots=True)
class ChildTarget:
    """A child that the search made.

    Attributes:
        codes: All codes that lead to it.
        q: Reward of the edge plus backed-up value of the child.
        visits: Backups through it.
        target: Its probability in the policy target.
    """

    codes: tuple[int, ...]
    q: float
    visits: int
    target: float


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """An open node.

    Attributes:
        problem: Id of its problem.
        document, position: Where its state is: after token ``position`` of that document.
        value: Backed-up value.
        visits: Backups through it.
        children: Its children; the rest of the policy target belongs to all codes without a child together.
    """

    problem: str
    document: int
    position: int
    value: float
    visits: int
    children: tuple[ChildTarget, ...]


@dataclass(frozen=True, slots=True)
class SearchData:
    """Documents and targets of a set of traces."""

    corpus: Corpus
    nodes: list[NodeTarget]


def find_traces(path: Path) -> list[Path]:
    """Trace files of a run folder (its ``traces/``), of any folder, or the one file; sorted by name.

    Raises:
        InputError: There are none.
    """
    if path.is_file():
        return [path]
    folder = path / "traces" if (path / "traces").is_dir() else path
    found = sorted(folder.rglob("*.json.gz")) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"{path} holds no traces (*.json.gz); give the folder of a `colasearch bench` run or of solved problems"
        )
    return found


Judge = Callable[[Trace, str], float]
"""The true reward of an answer to a trace's problem: for training, which may see gold answers."""


def search_data(traces: Iterable[Trace], targets: Targets = "completed", judge: Judge | None = None) -> SearchData:
    """Documents and targets of ``traces``.

    Args:
        traces: Searches over latent codes.
        judge: If given, a node's value is the mean true reward of the finished texts below it, as many visits as there
            are such texts, in place of the backed-up value, which knows only what the search could know.
        targets: Policy target of interior nodes: ``completed``: Gumbel's improved policy of completed Q-values, which
            at the root is the trace's own target; ``visits``: shares of visits.

    Raises:
        InputError: There is no trace, or one searched without latent codes or over the actions of an environment.
    """
    documents: list[Document] = []
    nodes: list[NodeTarget] = []
    digest = hashlib.sha256(b"search-1")
    count = 0
    for trace in traces:
        count += 1
        if trace.task.startswith("env:"):
            raise InputError(
                f"the trace of episode {trace.problem_id} has whole actions of {trace.task} for edges, which have no "
                "codes to learn; clone its solved episodes (`train problems --kind solved`), or learn values from "
                "`train rollouts --data env:NAME`"
            )
        if trace.actions != "latent":
            raise InputError(
                f"the trace of problem {trace.problem_id} searched {trace.actions} actions; only searches over "
                "latent codes can train policy and values"
            )
        outcomes = None if judge is None else outcomes_of(trace, judge)
        for document, found in _of_trace(trace, targets, len(documents), outcomes):
            documents.append(document)
            nodes.extend(found)
            digest.update(np.asarray([*document.tokens, -1], dtype=np.int64).tobytes())
    if not nodes:
        raise InputError(f"{count} traces hold no open node to learn from; search more problems")
    return SearchData(Corpus(documents, digest.hexdigest()), nodes)


def outcomes_of(trace: Trace, judge: Judge) -> list[tuple[float, int]]:
    """For each node the mean true reward of the finished texts at and below it, and how many there are.

    A text that was cut off at its longest counts as finished, with no reward.
    """
    total, count = [0.0] * len(trace.nodes), [0] * len(trace.nodes)
    # Parents come before their children, so backwards every node is complete when it is added to its parent.
    for slot in range(len(trace.nodes) - 1, -1, -1):
        node = trace.nodes[slot]
        if node.end:
            total[slot] += 0.0 if node.answer is None else judge(trace, node.answer)
            count[slot] += 1
        if node.parent >= 0:
            total[node.parent] += total[slot]
            count[node.parent] += count[slot]
    return [(t / max(1, c), c) for t, c in zip(total, count, strict=True)]


def _of_trace(
    trace: Trace, targets: Targets, first: int, outcomes: list[tuple[float, int]] | None
) -> list[tuple[Document, list[NodeTarget]]]:
    children: list[list[int]] = [[] for _ in trace.nodes]
    for slot, node in enumerate(trace.nodes):
        if node.parent >= 0:
            children[node.parent].append(slot)
    open_slots = [slot for slot, node in enumerate(trace.nodes) if not node.end]
    deepest = [s for s in open_slots if all(trace.nodes[c].end for c in children[s])]
    seen: set[int] = set()
    result: list[tuple[Document, list[NodeTarget]]] = []
    for leaf in deepest:
        path: list[int] = []
        slot = leaf
        while slot >= 0:
            path.append(slot)
            slot = trace.nodes[slot].parent
        tokens = list(trace.prompt_tokens)
        found = []
        for slot in reversed(path):
            node = trace.nodes[slot]
            tokens.extend(node.tokens if slot else ())
            if slot in seen:
                continue
            seen.add(slot)
            kids = _children(trace, slot, [trace.nodes[c] for c in children[slot]], targets)
            place = first + len(result), len(tokens) - 1
            value, visits = (node.value, node.visits) if outcomes is None else outcomes[slot]
            found.append(NodeTarget(trace.problem_id, *place, value, visits, kids))
        result.append((Document(tuple(tokens), 1, len(trace.prompt_tokens)), found))
    return result


def _children(trace: Trace, slot: int, kids: Sequence[TraceNode], targets: Targets) -> tuple[ChildTarget, ...]:
    if not kids:
        return ()
    if targets == "visits":
        total = sum(k.visits for k in kids)
        weights = [k.visits / total if total else 0.0 for k in kids]
    elif slot == 0 and trace.policy_target:
        weights = [sum(trace.policy_target[c] for c in k.codes) for k in kids]
    else:
        weights = improved_policy(trace.nodes[slot], kids)
    return tuple(ChildTarget(k.codes, k.reward + k.value, k.visits, w) for k, w in zip(kids, weights, strict=True))


def improved_policy(
    node: TraceNode, kids: Sequence[TraceNode], value_scale: float = 0.1, maxvisit_init: float = 50.0
) -> list[float]:
    """Each child's part of Gumbel's improved policy pi' = softmax(log prior + sigma(completed Q)) at ``node``.

    Codes without a child have the mixed value for Q, so their parts keep the proportions of their priors. Source:
    Danihelka et al. 2022, eqs. 8, 10, 11 and 33, with Q rescaled to [0, 1] over the node's actions; the constants are
    those of the search (``searchers.gumbel``).
    """
    prior = np.array([k.prior for k in kids])
    visits = np.array([k.visits for k in kids], dtype=float)
    q = np.array([k.reward + k.value for k in kids])
    tried = visits > 0
    mass = prior[tried].sum()
    mean = float((prior[tried] * q[tried]).sum() / mass) if mass > 0 else node.raw_value
    mixed = (node.raw_value + visits.sum() * mean) / (1 + visits.sum())
    completed = np.append(np.where(tried, q, mixed), mixed)
    rest = max(0.0, 1.0 - float(prior.sum()))
    scaled = (completed - completed.min()) / max(float(np.ptp(completed)), EPSILON)
    sigma = (maxvisit_init + visits.max()) * value_scale * scaled
    weights = np.append(prior, rest) * np.exp(sigma - sigma.max())
    return [float(w) for w in weights[:-1] / max(weights.sum(), 1e-300)]
