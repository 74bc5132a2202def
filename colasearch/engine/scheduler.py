"""Search of many problems with one model: slots of problems, refilled as problems finish.

Each problem has its own tree and its own random numbers, fixed by run seed and problem id, so a problem's result
depends neither on its batch-mates nor on the number of slots.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from colasearch.engine.world import LatentWorld, WorldConfig
from colasearch.errors import ColasearchError, InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, SolveResult, StopReason
from colasearch.searchers import Outcome, Search, begin, conclude, drive
from colasearch.tasks import get_task
from colasearch.traces import Trace, TraceNode, TraceText
from colasearch.verifiers import is_checkable
from colasearch.vote import vote


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How each problem is searched.

    Attributes:
        searcher: Algorithm, as in ``colasearch.searchers.run``.
        sims: Simulations.
        seed: Run seed; fixes the result, with the problem's id.
        actions: ``latent``, or ``sampled``: first tokens drawn from the base itself.
        leaves_in_flight: Most leaves of one tree evaluated together.
        max_seconds: Wall-clock limit of a problem; what was found by then counts.
        max_tree_tokens: Limit on the tokens generated for one problem; a round may pass it.
        world: Limits and sampling of the world.
        options: Options of the algorithm.
    """

    searcher: str = "gumbel"
    sims: int = 64
    seed: int = 0
    actions: str = "latent"
    leaves_in_flight: int = 16
    max_seconds: float | None = None
    max_tree_tokens: int | None = None
    world: WorldConfig = field(default_factory=WorldConfig)
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        if self.sims < 1:
            raise InputError(f"sims is {self.sims}; it must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds is {self.max_seconds}; it must be above 0")
        if self.max_tree_tokens is not None and self.max_tree_tokens < 1:
            raise InputError(f"max_tree_tokens is {self.max_tree_tokens}; it must be at least 1")


@dataclass(frozen=True, slots=True)
class Status:
    """How far the searches in progress are.

    Attributes:
        sims: Simulations done, of the problems in progress.
        sims_total: Simulations wanted, of the problems in progress.
        finished: Finished texts so far.
        generated_tokens: Tokens decoded so far, all problems.
        seconds: Since the first search began.
    """

    sims: int
    sims_total: int
    finished: int
    generated_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Searched:
    """A problem that is done with.

    Attributes:
        problem: The problem.
        result: Its result; None when it could not be searched.
        trace: The record of the search; None with ``error``.
        error: Why it could not be searched (its prompt is too long, ...).
    """

    problem: Problem
    result: SolveResult | None
    trace: Trace | None
    error: ColasearchError | None = None


class SearchStopped(ColasearchError):
    """Ends a search from within the model's decoding loop; carries the reason."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


def search_problems(
    lm: LatentLM,
    problems: Iterable[Problem],
    settings: SearchSettings,
    *,
    slots: int = 16,
    on_status: Callable[[Status], None] | None = None,
) -> Iterator[Searched]:
    """Search ``problems``, ``slots`` of them at a time, and yield each as it finishes (in any order).

    Ctrl-C ends the problems in progress: they are yielded with ``stop = interrupted``, and no more begin.

    Raises:
        InputError: A bad setting. What is wrong with one problem alone is in its ``Searched.error``.
        PrerequisiteError: The model has no latent modules.
    """
    settings.check()
    for problem in problems:
        try:
            done = _search_one(lm, problem, settings, on_status)
        except ColasearchError as error:
            yield Searched(problem, None, None, error)
            continue
        yield done
        if done.result is not None and done.result.stop is StopReason.INTERRUPTED:
            return


def _search_one(
    lm: LatentLM, problem: Problem, settings: SearchSettings, on_status: Callable[[Status], None] | None
) -> Searched:
    get_task(problem.task)
    begun = time.monotonic()
    deadline = math.inf if settings.max_seconds is None else begun + settings.max_seconds
    done = 0

    def poll() -> None:
        if on_status is not None:
            seconds = time.monotonic() - begun
            on_status(Status(done, settings.sims, len(world.finished), world.generated_tokens, seconds))
        if time.monotonic() >= deadline:
            raise SearchStopped(StopReason.MAX_SECONDS)

    def should_stop() -> StopReason | None:
        # Simulations that end in known states call no model, so the clock is looked at here as well.
        poll()
        proven = is_checkable(problem.task) and any(f.value >= 1 for f in world.finished)
        return StopReason.SOLVED if proven else None

    def on_round(progress: Any) -> None:
        nonlocal done
        done = progress.sims

    world = LatentWorld(lm, settings.world, settings.seed, settings.actions, poll)
    reason: StopReason | None = None
    search = outcome = None
    try:
        algorithm, search = begin(
            settings.searcher,
            world,
            [problem],
            sims=settings.sims,
            seed=settings.seed,
            leaves_in_flight=settings.leaves_in_flight,
            **settings.options,
        )
        drive(search, world, max_tokens=settings.max_tree_tokens, should_stop=should_stop, on_round=on_round)
        outcome = conclude(algorithm, search)
        reason = outcome.stop_B[0]
    except SearchStopped as stop:
        reason = stop.reason
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    if outcome is None and search is not None:
        outcome = conclude(algorithm, search)
    candidates, text = vote(world.finished, problem.task)
    result = SolveResult(
        problem_id=problem.id,
        task=problem.task,
        model=lm.name,
        searcher=settings.searcher,
        seed=settings.seed,
        answer=candidates[0].answer if candidates else None,
        text=text,
        candidates=tuple(candidates),
        stop=reason,
        sims=0 if search is None else int(search.sims_B[0]),
        effective_branching=sum(world.branching) / max(1, len(world.branching)),
        generated_tokens=world.generated_tokens,
        model_calls=world.model_calls,
        seconds=time.monotonic() - begun,
    )
    return Searched(problem, result, _trace(problem, world, search, outcome, settings, result))


def _trace(
    problem: Problem,
    world: LatentWorld,
    search: Search | None,
    outcome: Outcome | None,
    settings: SearchSettings,
    result: SolveResult,
) -> Trace:
    nodes: list[TraceNode] = []
    if search is not None and outcome is not None:
        tree = outcome.tree
        answers = world.answer_texts(tree.states[0, : int(tree.size_B[0])])
        for slot in range(int(tree.size_B[0])):
            state = world.nodes[int(tree.states[0, slot])]
            parent, action = int(tree.parents[0, slot]), int(tree.actions[0, slot])
            codes: tuple[int, ...] = ()
            if parent >= 0:
                above = world.nodes[int(tree.states[0, parent])].next_token_A
                assert above is not None
                codes = tuple(int(a) for a in (above == above[action]).nonzero()[0])
            open_node = state.next_token_A is not None
            nodes.append(
                TraceNode(
                    parent=parent,
                    action=action,
                    codes=codes,
                    tokens=() if parent < 0 else state.tokens,
                    text="" if parent < 0 else world.ends.decode(state.tokens),
                    visits=int(tree.visits[0, slot]),
                    value=round(float(tree.values[0, slot]), 6),
                    raw_value=round(float(tree.raw_values[0, slot]), 6),
                    reward=round(float(tree.rewards[0, slot]), 6),
                    prior=1.0 if parent < 0 else round(float(tree.prior[0, parent, action]), 6),
                    end="" if open_node else ("answer" if world.is_finished(state) else "cut"),
                    answer=None if open_node else answers[slot],
                    priors=tuple(round(p, 6) for p in tree.prior[0, slot].tolist()) if open_node else (),
                )
            )
    root = world.nodes[0].tokens if world.nodes else ()
    return Trace(
        problem_id=problem.id,
        task=problem.task,
        text=problem.text,
        model=result.model,
        searcher=result.searcher,
        seed=result.seed,
        actions=settings.actions,
        prompt_tokens=root,
        answer=result.answer,
        best_node=0 if outcome is None else int(outcome.best_node_B[0]),
        policy_target=() if outcome is None else tuple(round(p, 6) for p in outcome.policy_target_BA[0].tolist()),
        nodes=tuple(nodes),
        texts=tuple(TraceText(f.text, f.answer, round(f.value, 6)) for f in world.finished),
        stop=str(result.stop),
        sims=result.sims,
        generated_tokens=result.generated_tokens,
        model_calls=result.model_calls,
    )
