"""Search of many problems with one model: slots of problems, refilled as problems finish.

Each problem has its own tree and its own random numbers, fixed by run seed and problem id, so a problem's result
depends neither on its batch-mates nor on the number of slots. Each may have a plan of its own, too: another searcher,
budget or seed; and problems may join while others are searched.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from colasearch.engine.plan import Plan
from colasearch.engine.prompt import prompt_of
from colasearch.engine.record import drawn_texts, states_of, trace_nodes, trace_of
from colasearch.engine.settings import SearchSettings
from colasearch.engine.texts.vote import vote
from colasearch.engine.trees.nodes import COMPLETED, Evaluation, TreeState
from colasearch.engine.trees.world import LatentWorld
from colasearch.engine.verdict import verdict_and_stop, why_no_answer
from colasearch.errors import ColasearchError, InputError
from colasearch.interrupts import HeldInterrupts
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem, SolveResult, StopReason
from colasearch.searchers import Evaluations, Outcome, Search, conclude, merge_equal_actions, start
from colasearch.searchers.noise import problem_keys
from colasearch.searchers.programs import branches_of
from colasearch.storage.traces import Trace
from colasearch.tasks import get_task, is_checkable


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


def search_problems(
    lm: LatentLM,
    problems: Iterable[Problem],
    settings: SearchSettings,
    *,
    slots: int = 16,
    on_status: Callable[[Status], None] | None = None,
) -> Iterator[Searched]:
    """Search ``problems``, ``slots`` of them at a time, and yield each as it finishes (in any order).

    Ctrl-C ends the problems in progress once the pass of the model that it meets is through: they are yielded with
    ``stop = interrupted``, and no more begin. Where none is in progress, ``KeyboardInterrupt`` is raised; a second
    Ctrl-C raises it at once.

    Raises:
        InputError: A bad setting. What is wrong with one problem alone is in its ``Searched.error``.
        PrerequisiteError: The model has no latent modules.
    """
    yield from Scheduler(lm, settings, slots, on_status).run(problems)


@dataclass(slots=True)
class _Run:
    """A problem in a slot.

    Attributes:
        problem: The problem.
        plan: How it is searched.
        begun: When it got its slot.
        search: Its search, once the root is evaluated.
        tickets: The world's tickets of the leaves in flight, in the order of asking.
        evaluated: Evaluations of those that are done.
        reason: Why it ended, where that is not for its search to say.
        completing: Its search is over, and its most promising text is being written to its end; None: not asked yet.
    """

    problem: Problem
    plan: Plan
    begun: float
    search: Search | None = None
    tickets: list[int] = field(default_factory=list)
    evaluated: dict[int, Evaluation] = field(default_factory=dict)
    reason: StopReason | None = None
    completing: bool | None = None


class Scheduler:
    """Problems in slots, one search each, all decoding in one batch.

    A tree asks for its next leaves as soon as all it asked for are in, whatever the other trees do, and a problem takes
    the slot of one that is done; so the batch stays full.

    Attributes:
        plan: Of the problems that have none of their own.
        world: The world that all trees share.
    """

    def __init__(
        self,
        lm: LatentLM,
        settings: SearchSettings,
        slots: int = 16,
        on_status: Callable[[Status], None] | None = None,
    ) -> None:
        self.plan = Plan.of(settings)
        if slots < 1:
            raise InputError(f"slots is {slots}; it must be at least 1")
        self.lm, self.slots, self.on_status = lm, slots, on_status
        self.world = LatentWorld(lm, self.plan.world, settings.seed, settings.actions)
        self._warn_of_q(self.plan)
        self._runs: dict[int, _Run] = {}
        self._ctrl_c = HeldInterrupts()
        self._begun = time.monotonic()

    def run(self, problems: Iterable[Problem]) -> Iterator[Searched]:
        """Search all ``problems``; see ``search_problems``."""
        waiting = iter(problems)
        more = True
        try:
            while True:
                while more and self.free:
                    new = list(itertools.islice(waiting, self.free))
                    more = bool(new)
                    yield from self.add(new)
                if not self._runs:
                    return
                yield from self.step()
        except KeyboardInterrupt:
            if not self._runs or self._ctrl_c.torn:
                raise  # nobody would hear of it otherwise, or what is in progress is not to be relied on
            self.world.collect()
            for tree, run in list(self._runs.items()):
                run.reason = StopReason.INTERRUPTED
                yield self._end(tree)

    @property
    def free(self) -> int:
        """Slots without a problem."""
        return self.slots - len(self._runs)

    def step(self) -> Iterator[Searched]:
        """One batch of the model for all problems in slots; yields those that are done."""
        done: list[Searched] = []
        try:
            with self._ctrl_c.held():
                done.extend(self._end(tree) for tree in list(self._runs) if self._ask(tree))
        finally:
            yield from done  # those that ended before an error are not lost
        self._ctrl_c.check()
        with self._ctrl_c.held():
            for evaluation in self.world.advance():
                self._take(evaluation)
        self._ctrl_c.check()
        self._show()

    def add(self, problems: Sequence[Problem], plan: Plan | None = None) -> Iterator[Searched]:
        """Begin problems, at most as many as slots are free; yields those that cannot be searched.

        Args:
            problems: They join those that are searched already.
            plan: Theirs, where it is not the scheduler's own; it must share its world.

        Raises:
            InputError: It does not.
        """
        if plan is None:
            plan = self.plan
        elif not plan.shares_world_with(self.plan):
            raise InputError("problems in one batch must have the same sampling, actions, values and limits of steps")
        else:
            self._warn_of_q(plan)
        fine: list[Problem] = []
        prompts: list[tuple[int, ...]] = []
        seed, limit = plan.settings.seed, plan.settings.world.max_tokens
        for problem in problems:
            try:
                prompts.append(prompt_of(self.lm, problem, limit))
                fine.append(problem)
            except ColasearchError as error:
                yield Searched(problem, None, None, error)
        now = time.monotonic()
        with self._ctrl_c.held():
            trees = self.world.open(fine, prompts, [seed] * len(fine), [limit] * len(fine))
            for tree, problem in zip(trees, fine, strict=True):
                self._runs[tree] = _Run(problem, plan, now)
        self._ctrl_c.check()

    def interrupt(self, problem: Problem) -> None:
        """End the search of ``problem`` (this very object): the next step yields it with what was found by then."""
        for run in self._runs.values():
            if run.problem is problem:
                run.reason = StopReason.INTERRUPTED

    def cancel(self, problem: Problem) -> None:
        """Drop ``problem`` (this very object), and free its slot at once; nothing comes of it."""
        for tree in [tree for tree, run in self._runs.items() if run.problem is problem]:
            del self._runs[tree]
            self.world.close(tree)

    def status_of(self, problem: Problem) -> Status:
        """How far the search of ``problem`` (this very object) is; all zero where it is not in a slot."""
        now = time.monotonic()
        for tree, run in self._runs.items():
            if run.problem is problem:
                state, done = self.world.trees[tree], 0 if run.search is None else int(run.search.sims_B[0])
                texts, tokens = len(state.finished), state.generated_tokens
                return Status(done, run.plan.settings.sims, texts, tokens, now - run.begun)
        return Status(0, 0, 0, 0, 0.0)

    def _warn_of_q(self, plan: Plan) -> None:
        if getattr(plan.algorithm, "uses_q", False) and self.world.values.heads.q is None:
            warnings.warn(
                f"{plan.settings.searcher} has no Q-values to go by (they want latent codes and a model with a Q head, "
                "as `colasearch train value --head q` trains): every edge of its tree is one step",
                UserWarning,
                stacklevel=3,
            )

    def _ask(self, tree: int) -> bool:
        """Let an idle tree ask for its next leaves; true when it is done."""
        run = self._runs[tree]
        settings = run.plan.settings
        if run.reason is not None:
            return True
        if settings.max_seconds is not None and time.monotonic() - run.begun >= settings.max_seconds:
            run.reason = StopReason.MAX_SECONDS
            return True
        if run.search is None or run.tickets or run.completing:
            return False
        state = self.world.trees[tree]
        if settings.max_tree_tokens is not None and state.generated_tokens >= settings.max_tree_tokens:
            run.search.stop(np.zeros(1, np.int64), StopReason.MAX_TOKENS)
        if self._solved(run, state):
            run.search.stop(np.zeros(1, np.int64), StopReason.SOLVED)
        leaves = run.search.ask()
        if not len(leaves):
            run.completing = run.completing is None and self._complete(tree, run.search)
            return not run.completing
        run.tickets = self.world.submit(leaves.states, leaves.action_L)
        return False

    def _solved(self, run: _Run, state: TreeState) -> bool:
        """Whether a verifier has accepted an answer that will be chosen for it."""
        plan = run.plan
        if not plan.settings.stop_when_solved or not is_checkable(run.problem.task) or plan.rule == "equal":
            return False
        if not plan.by_outcome:
            return any(f.value >= 1 for f in state.finished)
        assert run.search is not None
        (branch,) = branches_of(run.search)  # it chooses among the paths that it has counted
        return any(branch.score(end) >= 1 for end in branch.ends)

    def _complete(self, tree: int, search: Search) -> bool:
        """Ask for the end of the most visited text, where none is finished; returns whether there is any to ask for."""
        state, plan = self.world.trees[tree], self._runs[tree].plan
        limit = plan.settings.max_tree_tokens
        spent = limit is not None and state.generated_tokens >= limit
        if plan.by_outcome or spent or state.finished or not plan.settings.world.complete:
            return False
        if search.stop_B[0] is StopReason.NAN:
            return False  # nothing that such a model goes on to write is worth its tokens
        arrays, slot, below = search.tree, -1, [0]
        while below:
            slot = max(below, key=lambda one: (int(arrays.visits_BN[0, one]), -one))
            below = [int(c) for c in set(arrays.children_BNA[0, slot].tolist()) if c >= 0]
            below = [c for c in below if not arrays.finished_BN[0, c]]
        assert arrays.states_BN is not None
        self.world.complete(int(arrays.states_BN[0, slot]))
        return True

    def _take(self, evaluation: Evaluation) -> None:
        run = self._runs[evaluation.tree]
        if evaluation.ticket == COMPLETED:
            run.completing = False
            return
        if run.search is None:
            settings = run.plan.settings
            run.search = start(
                run.plan.algorithm_for(run.problem),
                self._evaluations([evaluation]),
                problem_keys([run.problem]),
                sims=settings.sims,
                seed=settings.seed,
                leaves_in_flight=settings.leaves_in_flight,
                discount=self.world.discount,
                answers=self.world.answers,
                q=self.world.q_BA,
            )
            return
        run.evaluated[evaluation.ticket] = evaluation
        if len(run.evaluated) == len(run.tickets):
            waiting = run.search.outstanding().ticket_L
            run.search.tell(waiting, self._evaluations([run.evaluated[t] for t in run.tickets]))
            run.tickets, run.evaluated = [], {}

    def _evaluations(self, done: Sequence[Evaluation]) -> Evaluations:
        states = np.array([e.state for e in done], np.int64)
        logits_LA = np.stack([e.logits_A for e in done]).astype(np.float64)
        return Evaluations(
            states,
            np.array([e.reward for e in done], np.float64),
            np.array([e.terminal for e in done], np.bool_),
            merge_equal_actions(logits_LA, self.world.equal_actions(states)),
            np.array([e.value for e in done], np.float64),
        )

    def _selected(self, outcome: Outcome, states: Mapping[int, int]) -> str | None:
        """The text of the node that the algorithm itself concludes with; None where that is not finished."""
        node = self.world.nodes[states[int(outcome.best_node_B[0])]]
        return self.world.ends.decode(node.written) if self.world.is_finished(node) else None

    def _show(self) -> None:
        if self.on_status is None:
            return
        sims = sum(int(r.search.sims_B[0]) for r in self._runs.values() if r.search is not None)
        found = sum(len(self.world.trees[tree].finished) for tree in self._runs)
        seconds = time.monotonic() - self._begun
        wanted = sum(run.plan.settings.sims for run in self._runs.values())
        self.on_status(Status(sims, wanted, found, self.world.generated_tokens, seconds))

    def _end(self, tree: int) -> Searched:
        run = self._runs.pop(tree)
        search, problem, plan = run.search, run.problem, run.plan
        settings = plan.settings
        outcome = None if search is None else conclude(plan.algorithm_for(problem), search)
        reason = run.reason or (outcome.stop_B[0] if outcome is not None else StopReason.INTERRUPTED)
        states = {} if search is None else states_of(search)
        kept = {n: self.world.nodes[n] for n in (*states.values(), self.world.trees[tree].root)}
        written = drawn_texts(self.world, tree, outcome, states) if plan.by_outcome and outcome is not None else None
        chosen = self._selected(outcome, states) if plan.selects and outcome is not None else None
        answers = dict(zip(kept, self.world.answer_texts(np.array(list(kept))), strict=True))
        state, task = self.world.close(tree), get_task(problem.task)
        finished = state.finished if written is None else written
        candidates, text = vote(finished, problem.task, plan.rule, chosen)
        answer = candidates[0].answer if candidates else None
        verdict, reason = verdict_and_stop(problem, answer, reason, can_solve=settings.stop_when_solved)
        result = SolveResult(
            problem_id=problem.id,
            task=problem.task,
            model=self.lm.name,
            searcher=settings.searcher,
            seed=settings.seed,
            answer=answer,
            text=text,
            candidates=tuple(candidates),
            stop=reason,
            sims=0 if search is None else int(search.sims_B[0]),
            effective_branching=sum(state.branching) / max(1, len(state.branching)),
            generated_tokens=state.generated_tokens,
            model_calls=state.model_calls,
            seconds=time.monotonic() - run.begun,
            verdict=verdict,
            cut=state.cut,
            why=None
            if candidates
            else why_no_answer(
                reason,
                finished=len(finished),
                cut=state.cut,
                refuted=sum(node.refuted for node in kept.values()),
                max_tokens=settings.world.max_tokens,
                boxed=task.answer is None,
            ),
        )
        nodes = () if outcome is None else trace_nodes(outcome, states, kept, answers, self.world.ends, task)
        prompt = kept[state.root].tokens
        done = [] if search is None else search.tree.simulations(0)
        trace = trace_of(problem, settings.actions, prompt, nodes, finished, outcome, result, done)
        return Searched(problem, result, trace)
