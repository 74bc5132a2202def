"""What sets each algorithm apart, on worlds small enough to work out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.errors import InputError
from colasearch.searchers import ALGORITHMS, AbMcts, Outcome, run


class Steps:
    """A world given by a table: state -> action -> (next state, reward, terminal, logits, value)."""

    def __init__(self, table: dict[int, dict[int, int]], **columns: dict[int, Any]) -> None:
        self.table, self.columns = table, columns
        self.actions = max(max(row) for row in table.values()) + 1
        self.calls: list[tuple[int, int]] = []
        self.discount = 1.0

    def _look(self, states: Any) -> tuple[Any, ...]:
        states = [int(state) for state in np.ravel(states)]
        reward = [self.columns.get("reward", {}).get(state, 0.0) for state in states]
        value = [self.columns.get("value", {}).get(state, 0.0) for state in states]
        logits = []
        for state in states:
            row = self.columns.get("logits", {}).get(state, [0.0] * self.actions)
            legal = self.table.get(state, {})
            logits.append([row[a] if a in legal or not legal else -np.inf for a in range(self.actions)])
        return states, reward, [state not in self.table for state in states], logits, value

    def root(self, problems: Any) -> Any:
        states, _, _, logits, value = self._look([0] * len(problems))
        return states, logits, value

    def expand(self, states: Any, actions: Any) -> Any:
        edges = [(int(state), int(action)) for state, action in zip(np.ravel(states), actions, strict=True)]
        self.calls += edges
        return self._look([self.table[state][action] for state, action in edges])


def comb(depth: int) -> Steps:
    """Action 0 goes on, action 1 ends with reward 0.5; going on to the end pays 1."""
    table = {state: {0: state + 1, 1: 100 + state} for state in range(depth)}
    reward = {depth: 1.0, **{100 + state: 0.5 for state in range(depth)}}
    value = dict.fromkeys(range(depth), 0.7)
    return Steps(table, reward=reward, value=value, logits={state: [0.0, 0.1] for state in range(depth)})


def path(out: Outcome, place: int = 0) -> list[int]:
    return out.tree.path(place, int(out.best_node_B[place]))


def test_greedy_takes_the_largest_prior_to_the_end() -> None:
    out = run("greedy", comb(4), [0], sims=10)
    assert path(out) == [1]
    assert out.stop_B == ["exhausted"]
    assert [(c.score, c.count) for c in out.candidates_B[0]] == [(0.5, 1)]


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"greedy", "majority", "best_of_n", "weighted_vote"}))
def test_a_finished_child_does_not_end_the_search(algorithm: str) -> None:
    """Every first step offers a text that ends at once; the better one is four steps away."""
    options = {"gumbel": {"gumbel_scale": 0.0}, "cola_reference": {"td_threshold": 0.0}}.get(algorithm, {})
    out = run(algorithm, comb(4), [0], sims=40, **options)
    assert path(out) == [0, 0, 0, 0]
    assert max(candidate.score for candidate in out.candidates_B[0]) == 1.0


def test_uct_tries_every_action_once_before_any_twice() -> None:
    world = TableWorld(1, actions=9, terminal=0.0, illegal=0.3)
    starts = world.starts(6)
    legal = [int((world.logits_SA[start] > -np.inf).sum()) for start in starts]
    for place, start in enumerate(starts):
        out = run("uct", world, [start], sims=legal[place])
        assert sorted(out.visits_BA[0].tolist()) == [0] * (9 - legal[place]) + [1] * legal[place]
        more = run("uct", world, [start], sims=legal[place] + 5, exploration=100.0)
        assert more.visits_BA[0].max() <= 2, "with all weight on exploration visits stay level"


def test_widening_keeps_to_the_largest_priors() -> None:
    world = TableWorld(2, actions=32, terminal=0.0, illegal=0.0)
    start = world.starts(1)
    for sims in (1, 8, 40):
        out = run("widening", world, start, sims=sims, widening_factor=1.0, widening_exponent=0.5, pb_c_init=50.0)
        tried = set(np.flatnonzero(out.visits_BA[0]).tolist())
        allowed = int(np.ceil(np.sqrt(sims)))  # the last simulation was chosen at N = sims
        assert tried <= set(np.argsort(-world.logits_SA[start[0]])[:allowed].tolist())
    assert len(tried) >= 4


def test_beam_keeps_the_best_of_each_level() -> None:
    table = {0: {0: 1, 1: 2, 2: 3}, 1: {0: 4}, 2: {0: 5}, 3: {0: 6}}
    world = Steps(table, value={1: 0.2, 2: 0.9, 3: 0.5}, reward={4: 1.0, 5: 0.3, 6: 0.6})
    out = run("beam", world, [0], sims=20, width=2, branching=3)
    assert world.calls == [(0, 0), (0, 1), (0, 2), (2, 0), (3, 0)]
    assert path(out) == [2, 0]
    assert out.best_action_B.tolist() == [2]


def test_beam_ranks_by_reward_so_far_plus_value() -> None:
    table = {0: {0: 1, 1: 2}, 1: {0: 3}, 2: {0: 4}}
    world = Steps(table, reward={1: 0.6, 2: 0.1}, value={1: 0.0, 2: 0.4})
    run("beam", world, [0], sims=20, width=1)
    assert world.calls[-1] == (1, 0)


def test_diverse_beam_groups_avoid_each_others_actions() -> None:
    # Two states whose best children both come by action 0; the second group is paid to look elsewhere.
    table = {0: {0: 1, 1: 2}, 1: {0: 3, 1: 4}, 2: {0: 5, 1: 6}, 3: {0: 7}, 4: {0: 8}, 5: {0: 9}, 6: {0: 10}}
    value = {1: 0.9, 2: 0.8, 3: 0.9, 4: 0.5, 5: 0.88, 6: 0.8}
    for diversity, last in [(0.0, {(3, 0), (5, 0)}), (0.3, {(3, 0), (6, 0)})]:
        world = Steps(table, value=value)
        run("diverse_beam", world, [0], sims=30, width=2, branching=2, groups=2, diversity=diversity)
        assert set(world.calls[-2:]) == last


def test_dvts_subtrees_stay_independent() -> None:
    """Both good branches lie under action 0; DVTS still walks a second subtree from another action."""
    table = {0: {0: 1, 1: 2}, 1: {0: 3, 1: 4}, 2: {0: 5, 1: 6}, 3: {0: 7}, 4: {0: 8}, 5: {0: 9}, 6: {0: 10}}
    value = {1: 0.9, 2: 0.1, 3: 0.9, 4: 0.8, 5: 0.1, 6: 0.2}
    world = Steps(table, value=value)
    run("dvts", world, [0], sims=30, subtrees=2, branching=2)
    assert world.calls == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (6, 0)]


def test_rollouts_follow_the_policy() -> None:
    table = {0: {0: 1, 1: 2, 2: 3}}
    world = Steps(table, logits={0: np.log([0.7, 0.2, 0.1]).tolist()})
    out = run("best_of_n", world, [0], sims=3000)
    counts = np.array(
        [candidate.count for candidate in sorted(out.candidates_B[0], key=lambda c: out.tree.path(0, c.node))]
    )
    assert counts.sum() == 3000
    np.testing.assert_allclose(counts / 3000, [0.7, 0.2, 0.1], atol=0.03)
    assert len(world.calls) == 3, "a step that was taken before is not paid for again"
    cold = run("best_of_n", Steps(table, logits=world.columns["logits"]), [0], sims=500, temperature=0.1)
    assert max(candidate.count for candidate in cold.candidates_B[0]) >= 495


def test_votes_count_answers_and_weights_count_scores() -> None:
    """Three texts: two give answer 7 with score 0.3, one gives answer 9 with score 0.9."""
    table = {0: {0: 1, 1: 2, 2: 3}}

    class Answers(Steps):
        def answers(self, states: Any) -> list[int]:
            return [{1: 7, 2: 7, 3: 9}[int(state)] for state in states]

    def world(scores: tuple[float, float, float]) -> Answers:
        return Answers(table, reward=dict(zip((1, 2, 3), scores, strict=True)), logits={0: [0.0, 0.0, 0.2]})

    scores = (0.3, 0.31, 0.9)
    votes = {name: run(name, world(scores), [0], sims=300) for name in ("majority", "weighted_vote", "best_of_n")}
    assert path(votes["majority"]) == [1], "the better of the two texts with the winning answer"
    assert path(votes["weighted_vote"]) == [2]
    assert path(votes["best_of_n"]) == [2]
    assert path(run("weighted_vote", world((0.6, 0.6, 0.9)), [0], sims=300)) in ([0], [1])


def test_votes_without_answers_group_equal_states() -> None:
    table = {0: {0: 1, 1: 1, 2: 2}}  # two ways to state 1
    out = run("majority", Steps(table, logits={0: [0.0, 0.0, 0.4]}), [0], sims=400)
    assert out.tree.states[0, out.best_node_B[0]] == 1


def test_ab_mcts_goes_deeper_where_scores_are_good() -> None:
    # Under action 0 every node is good; under all others bad.
    table = {0: {a: 1 + a for a in range(8)}}
    for state in range(1, 400):
        table[state] = {a: 400 + 8 * state + a for a in range(8)}
    value = {1: 0.95, **{2 + a: 0.05 for a in range(7)}}
    reward = {408 + a: 0.95 for a in range(8)}
    out = run("ab_mcts", Steps(table, value=value, reward=reward), [0], sims=20)
    visits = out.visits_BA[0]
    assert visits[0] > visits[1:].max() * 2


def test_ab_mcts_learns_of_a_child_from_what_is_found_below_it() -> None:
    """Two children of equal score: below the first all is good, below the second all is bad."""
    table = {0: {0: 1, 1: 2}, 1: {a: 100 + a for a in range(40)}, 2: {a: 200 + a for a in range(40)}}
    reward = {**{100 + a: 0.95 for a in range(40)}, **{200 + a: 0.05 for a in range(40)}}
    out = run("ab_mcts", Steps(table, value={1: 0.5, 2: 0.5}, reward=reward), [0] * 8, sims=30)
    good, bad = out.visits_BA.sum(axis=0)[:2]
    assert good > 3 * bad


def test_ab_mcts_clips_scores_to_its_bounds() -> None:
    out = run(AbMcts(max_value=0.5), comb(3), [0], sims=20)
    assert path(out) == [0, 0, 0]


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"gumbel", "puct", "uct", "widening"}))
def test_path_algorithms_refuse_two_players(algorithm: str) -> None:
    world = comb(2)
    world.discount = -1.0
    with pytest.raises(InputError, match="two players"):
        run(algorithm, world, [0], sims=4)


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"gumbel", "puct", "uct", "widening"}))
def test_leaves_in_flight_do_not_change_what_a_path_algorithm_does(algorithm: str) -> None:
    world = TableWorld(8, states=300, actions=6, terminal=0.3, discount=0.9)
    starts = world.starts(5)
    options = {"samples": 4} if algorithm in ("best_of_n", "majority", "weighted_vote") else {}
    outs = [run(algorithm, world, starts, sims=100, leaves_in_flight=k, max_depth=4, **options) for k in (1, 3, 16)]
    for out in outs[1:]:
        assert [path(out, b) for b in range(5)] == [path(outs[0], b) for b in range(5)]
        np.testing.assert_array_equal(out.sims_B, outs[0].sims_B)
        for mine, theirs in zip(out.candidates_B, outs[0].candidates_B, strict=True):
            assert sorted((c.score, c.count) for c in mine) == sorted((c.score, c.count) for c in theirs)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_docstring_names_source_cost_and_use(algorithm: str) -> None:
    text = " ".join((ALGORITHMS[algorithm].__doc__ or "").split())
    assert "When to use:" in text
    assert "Cost" in text
    assert "Source:" in text or algorithm == "greedy"


def test_puct_never_takes_an_illegal_action_even_below_its_value_bounds() -> None:
    """With values below ``min_value`` a legal action scores less than 0, which is what an illegal one would score."""
    world = TableWorld(8, states=300, actions=6, terminal=0.1, illegal=0.5, rewards=(-3.0, -2.0))
    out = run("puct", world, world.starts(20), sims=40, q_transform="by_min_max")  # the world raises if it happens
    assert (out.sims_B == 40).all()
