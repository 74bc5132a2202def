"""Search trees of many problems, each at its own pace: rows of all trees share one decoder.

``open`` begins trees, ``submit`` asks for edges, ``advance`` decodes a token and gives back what is evaluated.

Leaf values, when the model has no value head, come from the policy's rollout to an answer: a checkable verifier's
reward where the task has one, else agreement with the answers of a few *reference rollouts* from the root (their
Laplace-smoothed fraction). So a leaf's value depends on its own path and the root alone, never on when it was visited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from colasearch.engine.decoding.decoder import Decoder
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.leaves import LeafNumbers
from colasearch.engine.settings import WorldConfig
from colasearch.engine.texts.choosing import Checks
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.finished import Finished
from colasearch.engine.trees.nodes import COMPLETED, ROOT, Evaluation, Job, Node, Round, TreeState, softmax
from colasearch.engine.trees.references import References, drawn
from colasearch.engine.trees.table import NodeTable
from colasearch.engine.trees.values import TreeValues
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.tasks import Task, answer_of, get_task, is_checkable


class Forest:
    """Trees of a latent-action model's steps, for many problems at once.

    Attributes:
        actor: The model; counts calls and tokens.
        trees: Problems in progress by number.
        table: Nodes by number, and their keys and values.
        values: What nodes and texts are worth by heads or rewards.
    """

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
        self.actor = Actor(lm, config.sampling, latent=actions == "latent", poll=poll, engine=config.engine)
        self.ends = TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self.checks = Checks(self.ends, config.choosing)
        self.table = NodeTable(self.actor, config.kv_bytes)
        self.store, self.nodes = self.table.store, self.table.nodes
        self.decoder = Decoder(self.actor, self.actor.rows_for(config))
        self.trees: dict[int, TreeState] = {}
        self.values = TreeValues(lm, config, self.actor, self.ends)
        self._rollout = config.rollouts and not self.values.heads.value_states and not self.values.rewarded
        self._jobs: dict[Row, Job] = {}
        self._roots: list[Evaluation] = []
        self._next_tree = self._next_ticket = 0

    @property
    def model_calls(self) -> int:
        """Forward passes of the base so far."""
        return self.actor.model_calls

    @property
    def generated_tokens(self) -> int:
        """Tokens decoded so far; prompts do not count."""
        return self.actor.generated_tokens

    @property
    def finished(self) -> list[Finished]:
        """Every finished text of the trees in progress, tree by tree."""
        return [text for tree in self.trees.values() for text in tree.finished]

    def open(
        self,
        problems: Sequence[Problem],
        prompts: Sequence[tuple[int, ...]],
        seeds: Sequence[int] | None = None,
        limits: Sequence[int] | None = None,
    ) -> list[int]:
        """Begin trees, each with its prompt; returns their numbers. Their roots' evaluations come from ``advance``.

        Prompts are encoded together, and once for all trees with the same prompt. ``seeds``, and ``limits`` of the
        texts' lengths in tokens, may differ from tree to tree; left out, they are those of the forest.
        """
        self.table.encode(prompts)
        begun: list[int] = []
        seeds = [self.seed] * len(problems) if seeds is None else seeds
        limits = [self.config.max_tokens] * len(problems) if limits is None else limits
        for problem, prompt, seed, limit in zip(problems, prompts, seeds, limits, strict=True):
            number, self._next_tree = self._next_tree, self._next_tree + 1
            root, features = self.table.add_root(number, prompt, self.ends.writing())
            self.trees[number] = TreeState(problem, root, seed, limit, model_calls=1, nodes=[root])
            begun.append(number)
            self._begin_root(number, features)
        return begun

    def _begin_root(self, number: int, features: Features) -> None:
        tree = self.trees[number]
        said, _ = self._ask(features, [tree.root], [])
        tree.root_logits_A = self._tempered(said.scores_BA)[0]
        first_A = said.tokens_BA[0]
        if said.usable_B[0]:
            self._note_branching([tree.root], said.tokens_BA)
        if not said.usable_B[0] or (first_A < 0).any():
            self._roots.append(self._root_evaluation(number, float("nan")))
            return
        root = self.nodes[tree.root]
        root.next_token_A, root.prior_A = first_A, softmax(tree.root_logits_A)
        root.q_A = None if said.q_BA is None else said.q_BA[0]
        if said.value_B is not None:
            root.value = float(said.value_B[0])
            self._roots.append(self._root_evaluation(number, root.value))
        elif self.values.rewarded:
            value = self._rewarded([tree.root])[0] if self.values.rewarded_leaves else 0.0
            self.nodes[tree.root].value = value
            self._roots.append(self._root_evaluation(number, value))
        elif self.config.references and (self.config.rollouts or not is_checkable(tree.problem.task)):
            self._submit_references(number)
        else:
            self._roots.append(self._root_evaluation(number, 0.0))

    def submit(self, states: np.ndarray, actions: np.ndarray) -> list[int]:
        """Ask for edges; returns a ticket for each. Their evaluations come from ``advance``."""
        rounds: dict[int, Round] = {}
        tickets: list[int] = []
        rows: list[Row] = []
        for state, action in zip(np.asarray(states).tolist(), np.asarray(actions).tolist(), strict=True):
            node = self.nodes[state]
            if node.next_token_A is None:
                raise InputError(f"state {state} is finished; a finished text must not be continued")
            token = int(node.next_token_A[action])
            row = self._row(state, token)
            tickets.append(self._next_ticket)
            assert node.prior_A is not None
            probability = node.path_probability * float(node.prior_A[node.next_token_A == token].sum())
            self._enlist(row, self._next_ticket, state, rounds.setdefault(node.tree, Round(0)), probability)
            self._next_ticket += 1
            rows.append(row)
        for row in rows:
            self.decoder.submit([row], self._rules(row.tree))
        return tickets

    def _rules(self, tree: int) -> Rules:
        config, task, ends = self.config, self._task(tree), self.ends
        below = task.branch_below if config.branch_below is None else config.branch_below
        rules = Rules(
            ends.is_boundary,
            ends.finish_of(task),
            config.max_step_tokens,
            self._rollout,
            below or None,
            record=ends.writing,
        )
        return self.checks.rules(rules, task)

    def complete(self, state: int) -> None:
        """Write an open state's text to its end, the most probable token at a time; ``advance`` says when that is done.

        A finished text joins the tree's others. No node comes of it.
        """
        node = self.nodes[state]
        assert node.next_token_A is not None
        assert node.prior_A is not None
        probability_A = (node.next_token_A[:, None] == node.next_token_A) @ node.prior_A
        token = int(node.next_token_A[probability_A.argmax()])
        row = self._row(state, token)
        self._enlist(row, COMPLETED, state, Round(0), node.path_probability * float(probability_A.max()))
        ends, limit = self.ends, self.trees[node.tree].max_tokens
        is_finished = ends.finish_of(self._task(node.tree))
        rules = Rules(ends.is_boundary, is_finished, limit, False, 0.0, greedy=True, record=ends.writing)
        self.decoder.submit([row], rules)

    def advance(self) -> list[Evaluation]:
        """Decode one token of every row in the batch; returns the evaluations that are done."""
        if not self._roots:
            self.decoder.step()
        return self.collect()

    def collect(self) -> list[Evaluation]:
        """Evaluations of rows that are done and have not been looked at, without decoding anything."""
        leaves: list[tuple[Row, Job]] = []
        done: list[Evaluation] = []
        for row in self.decoder.take_done():
            job = self._jobs.pop(row)
            for key, segment in row.recovered:
                self.store.put(key, segment)
            self._account(row, job)
            full = len(row.before) + len(row.tokens) >= self.trees[row.tree].max_tokens
            self.trees[row.tree].cut += full and not row.ended and not row.broken
            if job.ticket >= 0:
                leaves.append((row, job))
            elif job.ticket == ROOT:
                self._take_reference(row, job)
            else:
                if row.ended and not row.broken:
                    _, ends = self._ask(None, [], [row])
                    self._finish(row, job, self._rewarded_ends([row]).get(row), ends.get(row))
                done.append(Evaluation(row.tree, COMPLETED, job.parent, 0.0, True, np.zeros(0), 0.0))
        if leaves:
            done += self._leaf_evaluations(leaves)
        done += self._roots
        self._roots = []
        return done

    def close(self, tree: int) -> TreeState:
        """End a tree and forget its nodes; returns what is known of it. Its rows in progress are dropped."""
        self._roots = [e for e in self._roots if e.tree != tree]
        for row in self.decoder.cancel(tree):
            self._account(row, self._jobs.pop(row))
        state = self.trees.pop(tree)
        state.count_references(self.ends, self.checks)  # interrupted before all were done: what is finished counts
        self.table.forget(state.nodes)
        return state

    # Rows.

    def _enlist(self, row: Row, ticket: int, parent: int, round_: Round, path_probability: float = 1.0) -> None:
        tree = self.trees[row.tree]
        self._jobs[row] = Job(ticket, parent, tree.rows, round_, path_probability)
        tree.rows += 1
        round_.pending += 1

    def _account(self, row: Row, job: Job) -> None:
        tree = self.trees[row.tree]
        tree.generated_tokens += len(row.tokens)
        job.round.passes = max(job.round.passes, row.passes)
        job.round.pending -= 1
        if not job.round.pending:
            tree.model_calls += job.round.passes

    def _row(self, state: int, token: int, draw: int | None = None) -> Row:
        """A row that continues ``state`` with ``token``; its random numbers are fixed by seed, problem and tokens."""
        node = self.nodes[state]
        tree = self.trees[node.tree]
        left = tree.max_tokens - len(node.written)
        key: tuple[object, ...] = (tree.seed, tree.problem.id, *node.written, token)
        if draw is not None:
            key = (*key, "reference", draw)
        path, lost = self.table.path(state)
        return Row(path, token, seeded_uniforms(max(0, left - 1), *key), node.tree, node.record, lost)

    # Evaluations.

    def _leaf_evaluations(self, leaves: Sequence[tuple[Row, Job]]) -> list[Evaluation]:
        numbers = [self._add_leaf(row, job) for row, job in leaves]
        live = [
            (number, row.features)
            for number, (row, _) in zip(numbers, leaves, strict=True)
            if row.features is not None and not row.broken and not self.nodes[number].refuted
        ]
        place = iter(range(len(live)))
        open_ = [number for number, _ in live]
        ended = [row for row, _ in leaves if row.ended and not row.broken]
        said, ends = self._ask(Features.join([part for _, part in live]) if live else None, open_, ended)
        self._note_branching(open_, said.tokens_BA)
        fan, prior, q_BA = said.tokens_BA, self._tempered(said.scores_BA), said.q_BA
        values = None if said.value_B is None else said.value_B.tolist()
        if self.values.rewarded_leaves:
            values = self._rewarded(open_)
        done = []
        judged = self._rewarded_ends(ended)
        blank = np.zeros(self.actor.num_actions)
        for number, (row, job) in zip(numbers, leaves, strict=True):
            node = self.nodes[number]
            if row.broken:
                done.append(Evaluation(row.tree, job.ticket, number, 0.0, True, blank, float("nan")))
                continue
            text_value = self._finish(row, job, judged.get(row), ends.get(row)) if row.ended else 0.0
            if row.features is None or node.refuted:
                # The step ended the text, filled it without an answer, or states something false.
                done.append(Evaluation(row.tree, job.ticket, number, text_value, True, blank, 0.0))
                continue
            k = next(place)
            if (fan[k] < 0).any():
                done.append(Evaluation(row.tree, job.ticket, number, 0.0, True, blank, float("nan")))
                continue
            logits_A = self.checks.mask_infeasible(self._task(row.tree), node.record, fan[k], prior[k])
            if not np.isfinite(logits_A).any():
                node.refuted = True
                done.append(Evaluation(row.tree, job.ticket, number, 0.0, True, blank, 0.0))
                continue
            node.next_token_A = fan[k]
            # Without what is left out: how probable a text is does not depend on what the search would try.
            node.prior_A = softmax(prior[k])
            node.q_A = None if q_BA is None else q_BA[k]
            node.value = value = text_value if values is None else float(values[k])
            done.append(Evaluation(row.tree, job.ticket, number, 0.0, False, logits_A, value))
        return done

    def _add_leaf(self, row: Row, job: Job) -> int:
        step = tuple(row.tokens[: row.step_tokens])
        node = Node(
            row.tree,
            job.parent,
            step,
            (*row.before, *step),
            self.ends.writing((*row.before, *step)) if row.step_record is None else row.step_record,
            None,
            None,
            len(row.tokens),
            path_probability=job.path_probability,
        )
        if not row.broken:
            node.refuted = self.checks.refute(self._task(row.tree), node.record, complete=row.features is None)
        node.key = number = self.table.add(node)
        self.trees[row.tree].nodes.append(number)
        if row.segment is not None:
            self.store.put(number, row.segment)
        return number

    def _task(self, tree: int) -> Task:
        return get_task(self.trees[tree].problem.task)

    def _ask(
        self, features: Features | None, states: Sequence[int], ended: Sequence[Row]
    ) -> tuple[LeafNumbers, dict[Row, float]]:
        return self.values.ask(features, self._uniforms(states), ended)

    def _rewarded(self, numbers: Sequence[int]) -> list[float]:
        """What the rewards say of nodes' texts so far."""
        nodes = [self.nodes[number] for number in numbers]
        return self.values.of_texts([self.trees[n.tree].problem for n in nodes], [n.written for n in nodes])

    def _rewarded_ends(self, rows: Sequence[Row]) -> dict[Row, float]:
        return self.values.of_rows([self.trees[row.tree].problem for row in rows], rows)

    def _finish(self, row: Row, job: Job, judged: float | None, value: float | None) -> float:
        """Record a finished text; the heads judge it by the state before its last token, a reward as a whole.

        ``value`` is what the heads say of that state; None where it is that of the node before.
        """
        tree = self.trees[row.tree]
        text = self.ends.decode((*row.before, *row.tokens))
        if self.values.heads.value_states:
            judged = self.nodes[job.parent].value if value is None else value
        return tree.finish(
            text,
            answer_of(text, tree.problem.task),
            job.order,
            self.checks,
            judged=judged,
            path_probability=None if self._rollout or is_checkable(tree.problem.task) else job.path_probability,
        )

    def _uniforms(self, states: Sequence[int]) -> np.ndarray:
        """Numbers ``[B, A]`` at which the first tokens of nodes are drawn, where actions are no codes."""
        count = self.actor.num_actions
        uniforms = np.zeros((len(states), count))
        if not self.actor.latent:
            for i, node in enumerate(self.nodes[state] for state in states):
                tree = self.trees[node.tree]
                uniforms[i] = seeded_uniforms(count, tree.seed, tree.problem.id, node.written, "fan")
        return uniforms

    def _note_branching(self, states: Sequence[int], tokens_BA: np.ndarray) -> None:
        for state, row in zip(states, tokens_BA.tolist(), strict=True):
            self.trees[self.nodes[state].tree].branching.append(len(set(row)) / len(row))

    def _tempered(self, scores_BA: np.ndarray) -> np.ndarray:
        tempered: np.ndarray = scores_BA / self.config.sampling.temperature
        return tempered

    # Roots and their reference rollouts.

    def _submit_references(self, number: int) -> None:
        """Queue the rollouts whose answers later leaves are held to; their first codes are drawn from the prior."""
        tree = self.trees[number]
        node = self.nodes[tree.root]
        assert node.next_token_A is not None
        draws = seeded_uniforms(self.config.references, tree.seed, tree.problem.id, "reference codes")
        round_ = Round(0)
        rows = []
        for draw, action in enumerate(drawn(softmax(tree.root_logits_A), draws)):
            row = self._row(tree.root, int(node.next_token_A[action]), draw=draw)
            self._enlist(row, ROOT, tree.root, round_)
            rows.append(row)
        tree.references = References(dict.fromkeys(rows))
        ends = self.ends
        is_finished = ends.finish_of(self._task(number))
        rules = Rules(ends.is_boundary, is_finished, self.config.max_step_tokens, rollout=True, record=ends.writing)
        self.decoder.submit(rows, rules)

    def _take_reference(self, row: Row, job: Job) -> None:
        tree = self.trees[row.tree]
        if tree.references.take(row, job.order):
            self._roots.append(self._root_evaluation(row.tree, tree.count_references(self.ends, self.checks)))

    def _root_evaluation(self, number: int, value: float) -> Evaluation:
        tree = self.trees[number]
        return Evaluation(number, ROOT, tree.root, 0.0, False, tree.root_logits_A, value)
