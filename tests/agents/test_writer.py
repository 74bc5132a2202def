"""Episodes as tokens, and the model that writes and judges actions at their ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colasearch.agents.layout import Layout, Turn, action_of
from colasearch.agents.writer import Writer, spread
from colasearch.engine.settings import WorldConfig
from colasearch.errors import InputError
from colasearch.model.likelihood import likelihoods

TURNS = [Turn("go north", "A hall.", 0.0), Turn("take cup", "You take it.", 0.5)]


def writer_of(lm, actions="latent", **changes) -> Writer:
    config = WorldConfig(max_tokens=8, **changes)
    return Writer(lm, Layout.of(lm.base, "Do well.", 8), config, seed=3, actions=actions)


def texts_of(writer):
    one, layout = ("A room.", TURNS), writer.layout
    return [layout.chunks("Short.", []), layout.chunks(*one), layout.chunks("Another room, a long one.", TURNS[:1])]


def keys_of(count):
    return [(f"episode {number}", ()) for number in range(count)]


def test_only_actions_and_their_ends_are_the_models_own(agent_lm):
    layout = Layout.of(agent_lm.base, "Do well.")
    tokens, spans = layout.document("A room.", TURNS)
    said = [agent_lm.base.tokenizer.decode(tokens[begin:end]) for begin, end in spans]
    assert said == ["go north<end>", "take cup<end>"]
    whole = agent_lm.base.tokenizer.decode(tokens)
    assert "A room." in whole
    assert "A hall." in whole
    assert "You take it." not in whole  # nothing is written behind it
    chunks = layout.chunks("A room.", TURNS)
    assert [t for chunk in chunks for t in chunk][: len(tokens)] == tokens


def test_without_a_chat_template_actions_are_lines(agent_base):
    template, agent_base.tokenizer.chat_template = agent_base.tokenizer.chat_template, None
    try:
        layout = Layout.of(agent_base, "Do well.")
        tokens, spans = layout.document("A room.", TURNS)
        assert agent_base.tokenizer.decode(tokens) == "Do well.\n\nA room.\n> go north\nA hall.\n> take cup\n"
        assert [agent_base.tokenizer.decode(tokens[a:b]) for a, b in spans] == [" go north\n", " take cup\n"]
    finally:
        agent_base.tokenizer.chat_template = template


def test_the_oldest_turns_go_when_the_context_is_full(agent_base):
    layout = Layout(agent_base.tokenizer, Layout.of(agent_base, "").frame, 120, "Do well.", 8)
    chunks = layout.chunks("A room.", [Turn(f"act {i}", f"Seen {i}.", 0.0) for i in range(9)])
    assert sum(map(len, chunks)) <= layout.room
    assert "Seen 8." in agent_base.tokenizer.decode(chunks[-1])
    assert 2 <= len(chunks) < 10
    long = layout.chunks("x" * 500, [])
    assert len(long[0]) <= layout.room
    with pytest.raises(InputError, match="the context holds 40"):
        Layout(agent_base.tokenizer, layout.frame, 40, "Do well. " * 9, 8).chunks("A room.", [])


def test_an_action_is_the_first_line_with_anything_in_it():
    assert action_of("\n  go   north \nand then") == "go north"
    assert action_of(" \n") == ""


@pytest.mark.parametrize("actions", ["latent", "sampled"])
@pytest.mark.parametrize("engine", ["tree", "paged", "whole"])
def test_what_is_known_at_a_place_is_what_the_whole_text_says(agent_lm, actions, engine):
    writer = writer_of(agent_lm, actions, engine=engine)
    places = writer.places(keys_of(3), texts_of(writer))
    for place in places:
        hidden = agent_lm.base.hidden(torch.tensor([place.tokens]))[0, -1]
        torch.testing.assert_close(place.features.hidden_BD[0], hidden, rtol=1e-3, atol=1e-3)


def test_likelihoods_are_those_of_the_whole_text(agent_lm):
    texts = ["go north", "go south", "go", "take the cup and run"]
    for actions, under in (("latent", "codes"), ("sampled", "tokens")):
        writer = writer_of(agent_lm, actions)
        place = writer.places(keys_of(1), [writer.layout.chunks("A room.", TURNS)])[0]
        rows = [[*place.tokens, *writer.layout.action(text)] for text in texts]
        wanted = [one.total for one in likelihoods(agent_lm, rows, [len(place.tokens)] * 4, under)]
        options = writer.judge([place], [texts], 4)[0]
        share = np.exp(np.array(wanted) - max(wanted))
        order = np.argsort(-share)
        assert [option.text for option in options] == [texts[i] for i in order]
        np.testing.assert_allclose([o.share for o in options], (share / share.sum())[order], rtol=2e-3)
        assert writer.judge([place], [texts], 1)[0][0].text == options[0].text


@pytest.mark.parametrize("engine", ["tree", "paged"])
def test_of_many_actions_the_likeliest_are_found(agent_lm, engine):
    texts = [
        f"{verb} {thing}"
        for verb in ("take", "drop", "open", "eat")
        for thing in ["cup", "cat", "cap", "hat", "hut", "map"]
    ]
    texts = [f"{text} {number}" for text in texts for number in range(4)]
    writer = writer_of(agent_lm, engine=engine)
    place = writer.places(keys_of(1), [writer.layout.chunks("A room.", TURNS)])[0]
    rows = [[*place.tokens, *writer.layout.action(text)] for text in texts]
    totals = [one.total for one in likelihoods(agent_lm, rows, [len(place.tokens)] * len(rows), "codes")]
    best = sorted(texts, key=lambda text: -totals[texts.index(text)])
    assert [option.text for option in writer.judge([place], [texts], 5)[0]] == best[:5]
    assert len(writer.judge([place], [texts], len(texts))[0]) <= 64


def test_draws_depend_on_seed_key_and_number_alone(agent_lm):
    writer = writer_of(agent_lm)
    together = writer.draw(writer.places(keys_of(3), texts_of(writer)), 3)
    for number in range(3):
        alone = writer_of(agent_lm, kv_bytes=1)  # nothing is kept
        place = alone.places([keys_of(3)[number]], [texts_of(alone)[number]])
        assert alone.draw(place, 3) == [together[number]]
        assert alone.draw(alone.places([keys_of(3)[number]], [texts_of(alone)[number]]), 2) == [together[number][:2]]
    assert len({one.text for row in together for one in row}) > 3
    greedy = writer.draw(writer.places(keys_of(1), texts_of(writer)[:1]), 2, greedy=True)[0]
    assert greedy[0] == greedy[1]
    assert writer.tokens_of["episode 0"] == sum(one.tokens for one in (*together[0], *greedy))


@pytest.mark.parametrize("actions", ["latent", "sampled"])
def test_proposals_are_different_texts_whose_shares_sum_to_one(agent_lm, actions):
    writer = writer_of(agent_lm, actions)
    for options in writer.propose(writer.places(keys_of(3), texts_of(writer)), 6):
        assert 1 < len(options) <= 6
        assert len({option.text for option in options}) == len(options)
        assert sum(option.share for option in options) == pytest.approx(1)


def test_rows_go_to_first_tokens_by_their_shares():
    first, share = np.array([5, 5, 7, 9, -1]), np.array([0.3, 0.3, 0.3, 0.05, 0.05])
    assert spread(first, share, 4) == [(5, 0.3), (5, 0.3), (7, 0.3), (9, 0.05)]
    assert spread(first, share, 1) == [(5, 0.6)]
