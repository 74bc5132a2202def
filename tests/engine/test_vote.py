"""How finished texts become an answer: groups, weights, ties."""

from __future__ import annotations

import math

import pytest

from colasearch.engine.settings import Choosing
from colasearch.engine.texts.choosing import Checks
from colasearch.engine.texts.finished import Finished
from colasearch.engine.texts.vote import vote
from colasearch.engine.trees.nodes import TreeState
from colasearch.problem import Problem


def drawn(order: int, text: str, answer: str | None, value: float) -> Finished:
    return Finished(order, text, answer, value, weight=value)


FOUND = [
    drawn(0, "a", "3", 0.9), drawn(1, "b", "4", 0.5), drawn(2, "c", "4.0", 0.3), drawn(3, "d", "5", 0.1),
    drawn(4, "e", "5", 0.1), drawn(5, "f", "5.00", 0.1), drawn(6, "g", None, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "winner"), [("weighted", "3"), ("equal", "5"), ("best", "3")])
def test_votes(rule, winner):
    candidates, text = vote(FOUND, "math", rule)
    assert candidates[0].answer == winner
    assert text == {"3": "a", "5": "d"}[winner]
    assert sum(c.weight for c in candidates) == pytest.approx(1)
    assert sum(c.count for c in candidates) == 6


def test_the_heavier_group_wins_over_the_best_text():
    found = [*FOUND, drawn(7, "h", "4", 0.4)]
    assert vote(found, "math")[0][0].answer == "4"
    assert vote(found, "math", "best")[0][0].answer == "3"


def test_equal_weights_are_decided_by_the_number_of_texts_and_the_best_text_is_shown():
    found = [drawn(0, "one", "3", 0.5), drawn(1, "worse", "4", 0.125), drawn(2, "best", "4", 0.375)]
    candidates, text = vote(found, "math")
    assert [(c.answer, c.count) for c in candidates] == [("4", 2), ("3", 1)]
    assert text == "best"


def test_finished_texts_stand_in_the_order_in_which_they_were_asked_for():
    """Which of a batch ends first depends on the others in it; the vote must not."""
    tree = TreeState(Problem.from_text("1+1?"), 0, seed=0, max_tokens=9)
    for order in (5, 2, 9):
        tree.finish(f"text {order}", None, order, Checks(None, Choosing()))
    assert [f.order for f in tree.finished] == [2, 5, 9]


def votes(*texts: tuple[str, float, float | None, str], choosing: Choosing | None = None) -> list[float]:
    """Weights of finished texts of ``1+1?``, each given as answer, value head's word, path probability and text."""
    tree = TreeState(Problem.from_text("1+1?"), 0, seed=0, max_tokens=9)
    checks = Checks(None, choosing or Choosing())
    for order, (answer, judged, probability, text) in enumerate(texts):
        tree.finish(text, answer, order, checks, judged=judged, path_probability=probability)
    return [f.weight for f in tree.finished]


def test_a_text_that_a_tree_reached_weighs_by_its_probability_and_one_that_was_drawn_by_its_value():
    assert votes(("3", 0.5, 0.4, "1"), ("4", 0.9, 0.05, "1")) == pytest.approx([0.4 ** (1 / 3), 0.05 ** (1 / 3)])
    assert votes(("3", 0.5, None, "1"), ("4", 0.9, None, "1")) == [0.5, 0.9]
    assert votes(("3", 0.5, 0.4, ""), ("4", 0.9, None, "")) == pytest.approx(
        [math.exp(-1) * 0.4 ** (1 / 3), math.exp(-1) * 0.9]
    )


@pytest.mark.parametrize(
    ("switch", "weights"),
    [
        ({}, [0, math.exp(-1) * 0.5, 0.5]),
        ({"false_equations": False}, [0.5, math.exp(-1) * 0.5, 0.5]),
        ({"numbers_left_out": False}, [0, 0.5, 0.5]),
        ({"temper": 1.0}, [0, math.exp(-1) * 0.125, 0.125]),
    ],
)
def test_each_heuristic_that_chooses_among_texts_has_a_switch_of_its_own(switch, weights):
    texts = [("3", 0.9, 0.125, text) for text in ("1 + 1 = 3", "it is 3", "1 and 1")]
    assert votes(*texts, choosing=Choosing(**switch)) == pytest.approx(weights)


def test_a_tree_holds_a_text_once_however_rare_it_is_so_many_rare_ones_do_not_outweigh_a_probable_one():
    probable, *rare = votes(("3", 0.5, 0.4, "1"), *[("4", 0.9, 0.001, "1")] * 5)
    found = [Finished(0, "a", "3", 0.5, weight=probable), *(Finished(1, "b", "4", 0.9, weight=w) for w in rare)]
    assert vote(found, "math")[0][0].answer == "3"
    assert vote(found, "math", "equal")[0][0].answer == "4"
