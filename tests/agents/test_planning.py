"""Search with an environment in the loop: it comes back to states, and plays what it has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from colasearch.agents.acting import ActingPlayer
from colasearch.agents.layout import Layout
from colasearch.agents.planning import SearchPlan, plan_and_play
from colasearch.agents.players import PlaySettings
from colasearch.agents.transitions import Transitions
from colasearch.agents.writer import Writer
from colasearch.benchmarks.episodes.arms import best_of_n, play_once
from colasearch.engine.settings import WorldConfig
from colasearch.environments import Catalogue, EnvironmentFault, Start, catalogue_of, find
from colasearch.errors import PrerequisiteError

USERS = Path(__file__).parent.parent / "environments" / "users.py"
STARTS = [Start("", number) for number in range(3)]


def catalogue(name: str) -> Catalogue:
    return catalogue_of(find(name if name == "house" else f"{USERS}:{name}")[0])


def writer_of(lm, environment, actions="latent"):
    config = WorldConfig(max_tokens=8)
    return Writer(lm, Layout.of(lm.base, environment.instruction, 8), config, seed=3, actions=actions)


def search(lm, name, starts=STARTS, sims=12, searcher="puct", actions="latent", **options):
    environment = catalogue(name)
    settings = PlaySettings(6, width=10)
    plan = SearchPlan(searcher, sims, 3, options)
    return plan_and_play(environment, writer_of(lm, environment, actions), settings, starts, plan)


def told(searched):
    return [
        (one.live.episode.actions, one.live.episode.score, one.live.episode.success, one.sims, one.solved)
        for one in searched.planned
    ]


def test_by_copies_and_by_replay_the_search_is_the_same_and_counts_what_it_did(agent_lm):
    replayed, copied = search(agent_lm, "GuessValid"), search(agent_lm, "GuessCopied")
    assert told(replayed) == told(copied)
    assert all(one.live.error is None for one in replayed.planned)
    # What the search has solved is what is played.
    assert any(one.solved for one in copied.planned)
    assert all(one.live.episode.success for one in copied.planned if one.solved)
    for one, other in zip(replayed.planned, copied.planned, strict=True):
        assert one.steps == other.steps >= one.sims == 12  # the played episode may go on behind the plan
        assert other.resets == 2  # the root, and the played episode
        assert one.resets > 5


def test_a_trees_result_does_not_depend_on_its_batch_mates(agent_lm):
    together = told(search(agent_lm, "Guess", sims=6, searcher="gumbel"))
    assert [told(search(agent_lm, "Guess", [start], sims=6, searcher="gumbel"))[0] for start in STARTS] == together


def test_without_given_actions_the_model_proposes_them(agent_lm, plain_lm):
    for lm, actions in ((agent_lm, "latent"), (plain_lm, "sampled")):
        searched = search(lm, "Guess", actions=actions)
        assert [one.live.error for one in searched.planned] == [None] * 3
        assert all(1 <= len(one.live.episode.turns) <= 6 for one in searched.planned)


def test_an_environment_at_fault_costs_its_own_tree(agent_lm):
    starts = [Start("", number) for number in range(6)]
    planned = search(agent_lm, "Broken", starts, sims=4).planned
    assert [type(one.live.error) for one in planned] == [EnvironmentFault] * 5 + [type(None)]
    assert "episode 1: step gave the reward 'nan'" in str(planned[1].live.error)
    assert (
        told(search(agent_lm, "Broken", starts[5:], sims=4))[0] == told(search(agent_lm, "Broken", starts, sims=4))[5]
    )


def test_what_is_not_the_same_again_is_no_result(agent_lm):
    fickle = search(agent_lm, "Fickle", STARTS[:1]).planned[0].live.error
    assert "done again, the same actions came to something else at the beginning" in str(fickle)
    shared = search(agent_lm, "SharedCopy", STARTS[:1]).planned[0].live.error
    assert "let copy() share nothing that changes" in str(shared)


def test_transitions_are_made_once(agent_lm):
    transitions = Transitions(catalogue("GuessValid"), STARTS[0])
    transitions.root()
    first = transitions.after((), "1")
    transitions.after(("1",), "2")
    assert (transitions.steps, transitions.replayed, transitions.resets) == (2, 0, 1)
    assert transitions.after((), "1") is first
    transitions.after(("1",), "3")
    assert (transitions.steps, transitions.replayed, transitions.resets) == (3, 1, 2)
    transitions.close()


def test_best_of_n_gets_the_steps_of_the_search_and_at_most_one_episode_more(agent_lm):
    environment = catalogue("GuessCopied")
    writer, settings = writer_of(agent_lm, environment), PlaySettings(6)
    once = play_once(environment, writer, settings, STARTS, "sampled")
    for result, first in zip(
        best_of_n(environment, writer, settings, [(s, 15) for s in STARTS], "steps"), once, strict=True
    ):
        assert 15 <= result.steps < 15 + 6
        assert result.tried == result.sims == result.resets
        assert result.episode.score >= first.episode.score  # its first episode is that one
    alone = best_of_n(environment, writer, settings, [(s, 1) for s in STARTS], "steps")
    assert [r.episode.actions for r in alone] == [r.episode.actions for r in once]


def test_acting_with_the_model_alone_wants_a_value_head_and_never_comes_back(agent_lm, agent_base):
    from tiny import speaking

    from colasearch.model.latent_lm import LatentLM, new_latents

    environment = catalogue("GuessValid")
    plan, settings = SearchPlan("gumbel", 4, 3), PlaySettings(3)
    with pytest.raises(PrerequisiteError, match="has no value head"):
        ActingPlayer(agent_lm, writer_of(agent_lm, environment), settings, plan)
    modules = speaking(new_latents(agent_base, seed=1, num_codes=8, value_hidden=8)).requires_grad_(False).eval()
    lm = LatentLM("valued", agent_base, modules)
    player = ActingPlayer(lm, writer_of(lm, environment), settings, plan)
    lives = player.play(environment, STARTS)
    assert [live.error for live in lives] == [None] * 3
    assert all(live.episode.stop for live in lives)
    assert [live.episode.actions for live in player.play(environment, STARTS[1:])] == [
        live.episode.actions for live in lives[1:]
    ]
