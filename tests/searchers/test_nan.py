"""One sick tree stops with ``nan``; its batch mates do not notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.problem import StopReason
from colasearch.searchers import ALGORITHMS, run

SICK = 2


class SickWorld(TableWorld):
    """Gives a bad number in problem ``SICK``, in its ``after``-th expansion or at its root (0)."""

    def __init__(self, what: str, bad: float, after: int) -> None:
        super().__init__(3, states=200, actions=8, discount=0.9, terminal=0.05)
        self.what, self.bad, self.after, self.seen = what, bad, after, 0

    def root(self, problems: Any) -> Any:
        table_states, logits, value = super().root(problems)
        states = np.stack([table_states, np.arange(len(problems))], 1)
        logits, value = logits.copy(), value.copy()
        if self.after == 0:
            self._spoil(SICK, np.zeros(len(problems)), logits, value)
        return states, logits, value

    def _spoil(self, row: int, reward: Any, logits: Any, value: Any) -> None:
        if self.what == "logits":
            logits[row, 3] = self.bad
        else:
            {"reward": reward, "value": value}[self.what][row] = self.bad

    def expand(self, states: np.ndarray, actions: np.ndarray) -> Any:
        after, reward, terminal, logits, value = super().expand(states[:, 0], actions)
        reward, logits, value = reward.copy(), logits.copy(), value.copy()
        for row in np.flatnonzero(states[:, 1] == SICK):
            self.seen += 1
            if self.seen == self.after:
                self._spoil(row, reward, logits, value)
        return np.stack([after, states[:, 1]], 1), reward, terminal, logits, value


BAD = [
    ("logits", np.nan),
    ("logits", np.inf),
    ("reward", np.nan),
    ("reward", np.inf),
    ("reward", -np.inf),
    ("value", np.nan),
    ("value", -np.inf),
]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize(("flying", "what", "bad"), [(4 if at % 2 else 1, *row) for at, row in enumerate(BAD)])
def test_the_sick_tree_stops_and_the_others_are_bit_identical(
    algorithm: str, what: str, bad: float, flying: int
) -> None:
    after = 1 if algorithm == "greedy" else 5
    problems = [1, 5, 7, 11, 13]
    arguments = {"sims": 24, "leaves_in_flight": flying}
    sick = run(algorithm, SickWorld(what, bad, after), problems, **arguments)
    sound = run(algorithm, SickWorld(what, bad, -1), problems, **arguments)
    assert sick.stop_B[SICK] is StopReason.NAN
    assert sick.sims_B[SICK] < max(24, int(sound.sims_B[SICK])) or algorithm == "greedy"
    assert np.isfinite(sick.value_B).all()
    assert np.isfinite(sick.tree.values).all()
    for place in set(range(len(problems))) - {SICK}:
        assert sick.stop_B[place] is sound.stop_B[place]
        size = int(sound.tree.size_B[place])
        assert size == sick.tree.size_B[place]
        for name in ("visits", "values", "q", "children", "prior", "rewards", "states"):
            mine, theirs = getattr(sick.tree, name)[place, :size], getattr(sound.tree, name)[place, :size]
            assert mine.tobytes() == theirs.tobytes(), name
        assert sick.value_B[place].tobytes() == sound.value_B[place].tobytes()
        assert sick.policy_target_BA[place].tobytes() == sound.policy_target_BA[place].tobytes()


@pytest.mark.parametrize(("what", "bad"), [row for row in BAD if row[0] != "reward"])
def test_a_sick_root_stops_before_any_simulation(what: str, bad: float) -> None:
    out = run("gumbel", SickWorld(what, bad, 0), [1, 5, 7, 11], sims=8)
    assert [str(reason) for reason in out.stop_B] == ["budget", "budget", "nan", "budget"]
    assert out.sims_B.tolist() == [8, 8, 0, 8]
    assert np.isfinite(out.policy_target_BA).all()


def test_minus_infinity_alone_is_an_illegal_action_and_no_sickness() -> None:
    out = run("gumbel", SickWorld("logits", -np.inf, 0), [1, 5, 7, 11], sims=8)
    assert out.stop_B[SICK] is StopReason.BUDGET
    assert out.visits_BA[SICK, 3] == 0
