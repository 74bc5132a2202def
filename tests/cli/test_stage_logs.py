"""``--log`` of commands that train in stages reaches the trainings."""

from __future__ import annotations

import pytest

from colasearch.cli.adapt import command as adapt
from colasearch.cli.experiment import command as experiment
from colasearch.cli.iterate import command as iterate
from colasearch.cli.train.policy import command as policy
from colasearch.experiments.running.stages import environment

LOG = ["--log", "tensorboard", "--log", "jsonl"]
COMMANDS = {
    "iterate": (iterate, ["--data", "p.jsonl", "--output", "o"]),
    "adapt": (adapt, ["base", "--data", "p.jsonl", "--output", "o"]),
    **{name: (one, ["--output", "o"]) for name, one in experiment.commands.items()},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_in_the_environment_of_stages_and_trainings_read_it(name, monkeypatch):
    monkeypatch.setenv("COLASEARCH_LOG", "")  # so that what is set below is taken back
    monkeypatch.delenv("COLASEARCH_LOG")
    monkeypatch.setenv("COLASEARCH_SIMS", "3")
    command, words = COMMANDS[name]
    trained = ["--model", "m", "--output", "o"]
    command.make_context(name, list(words))
    assert "COLASEARCH_LOG" not in environment()
    assert policy.make_context("policy", list(trained)).params["log"] == ()
    context = command.make_context(name, [*words, *LOG])
    assert "log" not in context.params
    assert environment()["COLASEARCH_LOG"] == "tensorboard jsonl"
    assert "COLASEARCH_SIMS" not in environment()
    assert policy.make_context("policy", list(trained)).params["log"] == ("tensorboard", "jsonl")
