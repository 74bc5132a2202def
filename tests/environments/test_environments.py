"""What environments are: found by reference, looked at as they answer; the house is solved by its gold paths."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from colasearch.environments import Catalogue, Checked, EnvironmentFault, Start, catalogue_of, find, is_success
from colasearch.environments.checked import apart
from colasearch.errors import InputError

USERS = Path(__file__).parent / "users.py"


def catalogue(name: str) -> Catalogue:
    return catalogue_of(find(f"{USERS}:{name}")[0])


def checked(**methods) -> Checked:
    given = {"reset": lambda self, task, variation: "go", "step": lambda self, text: ("x", 0, False), **methods}
    return Checked(type("Given", (), given)(), "given")


def test_the_house_has_3450_episodes_that_gold_paths_solve_in_valid_actions():
    house = catalogue_of(find("house")[0])
    assert house.has == {"valid_actions", "copy", "gold"}
    starts = [start for split in ("train", "dev", "test") for start in house.starts(None, split)]
    assert len({start.id for start in starts}) == len(starts) == 3450
    environment = house.make()
    for start in starts[::29]:
        environment.reset(start)
        total, outcome = 0.0, None
        for action in environment.gold():
            assert outcome is None or not outcome.done
            assert action in environment.valid_actions()
            outcome = environment.step(action)
            total += outcome.reward
        assert outcome is not None
        assert outcome.done
        assert total == pytest.approx(1)


def test_a_copied_house_goes_its_own_way():
    environment = find("house")[0].make()
    environment.reset("wash", 3)
    other = environment.copy()
    before = environment.valid_actions()
    assert [other.step(action) for action in environment.gold()][-1][2]
    assert environment.valid_actions() == before
    again = environment.copy()
    assert [again.step(action) for action in again.gold()] == [environment.step(action) for action in again.gold()]


def test_what_changes_nothing_is_no_valid_action_and_the_rest_is():
    environment = find("house")[0].make()
    environment.reset("unlock", 5)
    for text in ("", "dance", "take moon", "go up", "put apple in hat"):
        observation, reward, done = environment.step(text)
        assert (observation.startswith("Nothing happens."), reward, done) == (True, 0, False)
    for action in environment.valid_actions():
        assert not environment.copy().step(action)[0].startswith("Nothing happens.")


@pytest.mark.parametrize(
    ("methods", "call", "words"),
    [
        ({"step": lambda self, text: 1 / 0}, "step", "step raised ZeroDivisionError on 'a'"),
        ({"step": lambda self, text: sys.exit(3)}, "step", "step raised SystemExit"),
        ({"step": lambda self, text: ("x", float("nan"), False)}, "step", "reward 'nan'; return a finite number"),
        ({"step": lambda self, text: ("x", "1", False)}, "step", "reward '1'"),
        ({"step": lambda self, text: ("x", 0)}, "step", "tuple of 2 parts; return (observation, reward, done)"),
        ({"step": lambda self, text: ("x", 0, False, {})}, "step", "tuple of 4 parts"),
        ({"step": lambda self, text: None}, "step", "gave a NoneType"),
        ({"step": lambda self, text: (["x"], 0, False)}, "step", "observation that is a list"),
        ({"step": lambda self, text: ("x", 0, "no")}, "step", "gave 'no' for done; return True or False"),
        ({"reset": lambda self, task, variation: ("x", {})}, "reset", "observation that is a tuple"),
        ({"reset": lambda self: "x"}, "reset", "reset raised TypeError"),
        ({"valid_actions": lambda self: "go"}, "valid_actions", "gave a str; return a list of texts"),
        ({"valid_actions": lambda self: ["go", 3]}, "valid_actions", "gave '3' among its actions"),
        ({"valid_actions": lambda self: ["go", " "]}, "valid_actions", "gave ' ' among its actions"),
        ({"copy": lambda self: self}, "copy", "gave the environment itself"),
        ({"copy": lambda self: "x"}, "copy", "gave a str, which has no reset and step"),
        ({"gold": lambda self: 3}, "gold", "gave a int; return a list of texts"),
        ({"step": lambda self, text: ("x", 0, True), "success": lambda self: "yes"}, "step", "success gave 'yes'"),
    ],
)
def test_what_breaks_the_contract_is_an_error_that_says_what_and_where(methods, call, words):
    environment = checked(**methods)
    begin = partial(environment.reset, Start("cook", 4))
    if call != "reset":
        begin()
    asked = {"step": partial(environment.step, "a"), "reset": begin}.get(call, getattr(environment, call))
    with pytest.raises(EnvironmentFault) as told:
        asked()
    assert words in str(told.value)
    assert "given, episode cook-4" in str(told.value)


def test_what_can_be_read_is_taken_as_it_is_meant(capsys):
    import numpy as np

    def step(self, text):
        print("thinking")
        return " a\r\nb\0 ", np.float32(0.5), np.bool_(True)

    environment = checked(step=step, valid_actions=lambda self: {"b", "a", " b "})
    environment.reset(Start("", 0))
    outcome = environment.step("x")
    assert (outcome.observation, outcome.reward, outcome.done) == ("a\nb", 0.5, True)
    assert environment.valid_actions() == ("b", "a")  # " b " comes first in order
    assert capsys.readouterr().out == ""


def test_a_solved_episode_ended_with_a_score_or_a_last_reward_of_one():
    assert is_success(1.0, 0.5, True, None)
    assert is_success(0.7, 1.0, True, None)  # each step cost a little
    assert not is_success(0.7, 0.2, True, None)
    assert not is_success(1.0, 1.0, False, None)
    assert is_success(0.0, 0.0, True, True)
    assert not is_success(1.0, 1.0, True, False)


def test_messages_show_where_two_answers_part():
    same = "This room is called the kitchen. In it, you see: "
    assert apart(f"{same}a cup", f"{same}a mug") == "'... In it, you see: a cup', not '... In it, you see: a mug'"
    assert apart("a", "ab") == "'a', not 'ab'"
    assert apart(["x", 1.0], ["x", 0.5]) == "\"['x', 1.0]\", not \"['x', 0.5]\""


def test_environments_are_found_by_name_file_class_and_task():
    assert find("house:wash")[1] == "wash"
    kind, task = find(f"{USERS}:Levels:hard")
    assert (task, kind.file) == ("hard", str(USERS))
    assert find(f"{USERS}:ready_made")[0].slots == 1
    with pytest.raises(InputError, match=r"classes with reset and step .*Guess, GuessValid.*; name one"):
        find(str(USERS))
    with pytest.raises(InputError, match="has no 'Gess'"):
        find(f"{USERS}:Gess")
    with pytest.raises(InputError, match=r"unknown environment 'hous'.*Did you mean house"):
        find("hous")
    with pytest.raises(InputError, match=r"there is no file nothing\.py"):
        find("nothing.py:A")


def test_episodes_come_task_by_task_in_turn_and_by_split():
    levels = catalogue("Levels")
    assert (levels.max_steps, levels.instruction) == (2, "Guess well.")
    assert [s.id for s in levels.starts(None, "dev")] == ["easy-7", "hard-7", "easy-9", "hard-9"]
    assert [s.id for s in levels.starts("hard", "train", limit=2, skip=1)] == ["hard-1", "hard-2"]
    shuffled = levels.starts(None, "train", shuffle_seed=1)
    assert shuffled != levels.starts(None, "train")
    assert {s.id for s in shuffled} == {s.id for s in levels.starts(None, "train")}
    assert levels.starts("hard, easy", "dev")[:2] == [Start("hard", 7), Start("easy", 7)]
    assert levels.starts("hard,", "dev") == levels.starts("hard", "dev")
    with pytest.raises(InputError, match="no task 'harder'; its tasks are easy, hard"):
        levels.starts("easy,harder", "dev")
    with pytest.raises(InputError, match="no task 'harder'; its tasks are easy, hard"):
        levels.starts("harder", "dev")
    with pytest.raises(InputError, match="no episode of dev left after --skip 4"):
        levels.starts(None, "dev", skip=4)
    assert levels.start("hard, easy", 9) == Start("hard", 9)
    with pytest.raises(InputError, match="has no variation 999; it has 8, from 0 to 21"):
        levels.start("hard", 999)
    plain = catalogue("Guess")
    assert plain.start(None, 999) == Start("", 999)
    assert [s.variation for s in plain.starts(None, "test", limit=3)] == [0, 1, 2]
    assert len(plain.starts(None, "test")) == 10
    assert [s.id for s in plain.starts("any", "test", limit=1)] == ["any-0"]
