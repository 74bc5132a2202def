"""From a finished search to its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.finished import Finished
from colasearch.engine.trees.nodes import Node
from colasearch.problem import Problem, SolveResult
from colasearch.searchers import Outcome, Search
from colasearch.storage.traces import Trace, TraceNode, TraceText
from colasearch.tasks import Task

if TYPE_CHECKING:
    from colasearch.engine.trees.world import LatentWorld

DIGITS = 6


def states_of(search: Search) -> dict[int, int]:
    """The world's node of each slot of the first tree."""
    assert search.tree.states_BN is not None
    return dict(enumerate(search.tree.states_BN[0, : int(search.tree.size_B[0])].tolist()))


def drawn_texts(world: LatentWorld, tree: int, outcome: Outcome, states: Mapping[int, int]) -> list[Finished]:
    """The ends of all paths drawn, each as often as it was drawn: what sampling algorithms choose among."""
    ends = outcome.candidates_B[0]
    numbers = [states[end.node] for end in ends]
    answers = world.answer_texts(np.array(numbers, np.int64))
    texts = [world.ends.decode(world.nodes[n].written) for n in numbers]
    problem, checks = world.trees[tree].problem, world.checks
    return [
        Finished(order, text, answer, end.score, weight=end.score * checks.plausibility(problem, text))
        for order, (end, text, answer) in enumerate(zip(ends, texts, answers, strict=True))
        for _ in range(end.count)
        if world.is_finished(world.nodes[states[end.node]])
    ]


def trace_nodes(
    outcome: Outcome,
    states: Mapping[int, int],
    nodes: Mapping[int, Node],
    answers: Mapping[int, str | None],
    ends: TextEnds,
    task: Task,
) -> tuple[TraceNode, ...]:
    """The tree of a single search, slot by slot.

    Args:
        outcome: Outcome of the search, one tree.
        states: The world's node number of each slot.
        nodes: The world's nodes by number.
        answers: The answer of each node's text so far.
        ends: Turns tokens into text, and knows where it ends.
        task: The problem's.
    """
    tree, is_finished = outcome.tree, ends.finish_of(task)
    record = []
    for slot, number in states.items():
        node = nodes[number]
        parent, action = int(tree.parents[0, slot]), int(tree.actions[0, slot])
        codes: tuple[int, ...] = ()
        if parent >= 0:
            above_A = nodes[states[parent]].next_token_A
            assert above_A is not None
            codes = tuple(int(a) for a in (above_A == above_A[action]).nonzero()[0])
        is_open = node.next_token_A is not None
        ended = "answer" if is_finished(node.written) else "refuted" if node.refuted else "cut"
        end = "" if is_open else ended
        record.append(
            TraceNode(
                parent=parent,
                action=action,
                codes=codes,
                tokens=() if parent < 0 else node.tokens,
                text="" if parent < 0 else ends.decode(node.tokens),
                visits=int(tree.visits[0, slot]),
                value=round(float(tree.values[0, slot]), DIGITS),
                raw_value=round(float(tree.raw_values[0, slot]), DIGITS),
                reward=round(float(tree.rewards[0, slot]), DIGITS),
                prior=1.0 if parent < 0 else round(float(tree.prior[0, parent, action]), DIGITS),
                end=end,
                answer=answers[number] if end == "answer" else None,
                priors=tuple(round(p, DIGITS) for p in tree.prior[0, slot].tolist()) if is_open else (),
            )
        )
    return tuple(record)


def trace_of(
    problem: Problem,
    actions: str,
    prompt: tuple[int, ...],
    nodes: tuple[TraceNode, ...],
    finished: Sequence[Finished],
    outcome: Outcome | None,
    result: SolveResult,
    simulations: Sequence[int] = (),
) -> Trace:
    """The whole trace; ``outcome`` is None when not even the root was evaluated, ``simulations`` as in the trace."""
    target = () if outcome is None else outcome.policy_target_BA[0].tolist()
    return Trace(
        problem_id=problem.id,
        task=problem.task,
        text=problem.text,
        model=result.model,
        searcher=result.searcher,
        seed=result.seed,
        actions=actions,
        prompt_tokens=prompt,
        answer=result.answer,
        best_node=0 if outcome is None else int(outcome.best_node_B[0]),
        policy_target=tuple(round(p, DIGITS) for p in target),
        nodes=nodes,
        texts=tuple(TraceText(f.text, f.answer, round(f.value, DIGITS), f.draws) for f in finished),
        stop=str(result.stop),
        sims=result.sims,
        generated_tokens=result.generated_tokens,
        model_calls=result.model_calls,
        simulations=tuple(simulations),
    )
