"""RL on environments: only what the model wrote of an episode has log-probabilities, losses and gradients."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from colasearch.agents.layout import Layout
from colasearch.cli.train import rl as rl_command
from colasearch.cli.train import rollouts as rollouts_command
from colasearch.cli.train import value as value_command
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.environments import Start, catalogue_of, find
from colasearch.model.latent_lm import LatentLM, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs
from colasearch.training.base.tuning import TunableBase, Tuning
from colasearch.training.data.corpus import load_corpus
from colasearch.training.reinforcement.agents import LatentAgent, TokenAgent
from colasearch.training.reinforcement.episodes import NO_ROOM, EpisodeRoller
from colasearch.training.reinforcement.rl import RLConfig, RLLearner
from colasearch.training.reinforcement.rollout import RolloutConfig, RolloutLog, read_rollouts

USERS = Path(__file__).parent.parent / "environments" / "users.py"
STARTS = [Start("", number) for number in range(4)]


def roller(lm, name: str = "Letters", max_steps: int | None = None, **changes) -> EpisodeRoller:
    config = RolloutConfig(**{"group": 2, "max_tokens": 6, "seed": 3, **changes})
    return EpisodeRoller(lm, catalogue_of(find(f"{USERS}:{name}")[0]), STARTS, config, max_steps)


def hidden_of(lm, episode) -> torch.Tensor:
    return lm.base.hidden(torch.tensor([episode.tokens[:-1]]))


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 3)])
def test_codes_tokens_and_log_probabilities_are_those_of_the_whole_text(own, temperature, top_k):
    how = roller(own, temperature=temperature, top_k=top_k)
    episodes = how.collect(range(4), 7)
    agent = LatentAgent(own.require_latents().policy, lambda i, r: episodes, temperature, top_k)
    with torch.no_grad():
        scored = agent.score(episodes)
    assert [e.problem for e in episodes] == [0, 0, 1, 1, 2, 2, 3, 3]
    for number, e in enumerate(episodes):
        places = torch.tensor(e.where)
        assert len(e.actions) == len(e.where) <= 3 * 6
        hidden = hidden_of(own, e)[0]
        torch.testing.assert_close(e.hidden_TD, hidden, atol=1e-5, rtol=1e-4)
        codes = torch.tensor(e.actions)
        # Each token that the model wrote is the world model's most probable one under its code.
        states = world_model_states(own.require_latents(), own.base, hidden[places], codes)
        assert own.base.logits(states).argmax(-1).tolist() == [e.tokens[place + 1] for place in e.where]
        log_probs = sampling_log_probs(own.require_latents().policy(hidden[None])[0, places], temperature, top_k)
        mine = scored.log_probs_NL[number, : len(codes)]
        torch.testing.assert_close(mine, log_probs.gather(1, codes[:, None])[:, 0], atol=1e-5, rtol=1e-4)
        # The first action's codes are drawn by seed, start, round and draw.
        first = len([place for place in e.where if place < e.to_go[1][0]]) if len(e.to_go) > 1 else len(e.where)
        uniforms = seeded_uniforms(6, 3, STARTS[e.problem].id, (), "7", number % 2, "draw", 0)
        assert sample_codes(log_probs[:first], torch.from_numpy(uniforms[:first])).tolist() == codes[:first].tolist()


def test_the_text_is_the_episode_and_scores_to_go_are_of_its_rewards(own):
    how = roller(own, seed=1)
    layout = Layout.of(own.base, how.catalogue.instruction, 6)
    decode = own.base.tokenizer.decode
    for e in how.collect(range(4), 0):
        environment = how.catalogue.make()
        assert decode(e.tokens[: e.prompt]) == decode(layout.opening(environment.reset(STARTS[e.problem])))
        rewards = []
        ends = [place for place, _ in e.to_go] + [len(e.tokens) - 1]
        for begin, end in pairwise(ends):
            own_tokens = [e.tokens[place + 1] for place in e.where if begin <= place < end]
            written = decode([t for t in own_tokens if t != own.base.end_id])
            outcome = environment.step(" ".join((written.strip().splitlines() or [""])[0].split()))
            rewards.append(outcome.reward)
        assert e.reward == pytest.approx(sum(rewards))
        assert [score for _, score in e.to_go] == pytest.approx([sum(rewards[i:]) for i in range(len(rewards))])
        assert e.measures["turns"] == len(rewards) == 3
        assert e.ended
        # Between two actions stand the end of the first, what was seen, and what asks for the next.
        for (begin, _), (end, _) in pairwise(e.to_go):
            mine = {place + 1 for place in e.where}
            between = [e.tokens[i] for i in range(begin + 1, end + 1) if i not in mine]
            assert "letters" in decode(between)


def test_tokens_that_the_model_did_not_write_have_no_gradient(own, monkeypatch):
    episodes = roller(own).collect(range(2), 0)
    wanted = [{*e.where} for e in episodes]

    kept: list[torch.Tensor] = []
    policy = own.require_latents().policy

    def keep(module, given, scores) -> None:
        if scores.requires_grad:
            scores.retain_grad()
            kept.append(scores)

    hook = policy.register_forward_hook(keep)
    RLLearner(LatentAgent(policy, lambda i, r: episodes), RLConfig("rloo", group=2, micro_tokens=10**6)).accumulate(
        range(2), 0, 1
    )
    hook.remove()
    (scores,) = kept
    order = sorted(range(len(episodes)), key=lambda i: (len(episodes[i].tokens), i))
    for row, i in enumerate(order):
        moved = {*scores.grad[row].abs().sum(-1).nonzero()[:, 0].tolist()}
        assert moved <= wanted[i]
        assert moved or episodes[i].reward == episodes[i ^ 1].reward
    assert scores.grad.abs().sum() > 0

    played = roller(own, latent=False).collect(range(2), 0)
    kept.clear()
    real = type(own.base).hidden
    tunable = TunableBase(own, Tuning("full"), 0)

    def hidden(base, *given):
        states = real(base, *given)
        if states.requires_grad:
            states.retain_grad()
            kept.append(states)
        return states

    monkeypatch.setattr(type(own.base), "hidden", hidden)
    agent = TokenAgent(own.base, tunable, lambda i, r: played)
    RLLearner(agent, RLConfig("rloo", group=2, micro_tokens=10**6)).accumulate(range(2), 0, 1)
    (states,) = kept
    order = sorted(range(len(played)), key=lambda i: (len(played[i].tokens), i))
    for row, i in enumerate(order):
        moved = {*states.grad[row].abs().sum(-1).nonzero()[:, 0].tolist()}
        assert moved <= {*played[i].where}
        assert moved or played[i].reward == played[i ^ 1].reward
    assert states.grad.abs().sum() > 0


def test_on_tokens_the_log_probabilities_are_the_bases_own(own):
    episodes = roller(own, latent=False).collect(range(2), 0)
    agent = TokenAgent(own.base, TunableBase(own, Tuning("full"), 0), lambda i, r: episodes)
    scored = agent.score(episodes)
    for number, e in enumerate(episodes):
        assert e.actions == tuple(e.tokens[place + 1] for place in e.where)
        log_probs = torch.log_softmax(own.base.logits(hidden_of(own, e)[0, list(e.where)]), -1)
        mine = log_probs.gather(1, torch.tensor(e.actions)[:, None])[:, 0]
        torch.testing.assert_close(scored.log_probs_NL[number, : len(mine)], mine, atol=1e-5, rtol=1e-4)


def test_an_episode_depends_on_seed_round_start_and_draw_alone(own):
    def played(indices, round_number, **changes):
        episodes = roller(own, **changes).collect(indices, round_number)
        return {(e.problem, i % 2): (e.tokens, e.actions) for i, e in enumerate(episodes)}

    whole = played(range(4), 0)
    assert played([3, 1], 0, rows=1).items() <= whole.items()
    assert played(range(4), 1) != whole
    assert played(range(4), 0, seed=4) != whole


def test_the_greedy_episode_is_the_baseline_of_remax(own):
    episodes = roller(own, greedy_baseline=True).collect([0, 1], 0)
    measured = roller(own).evaluate([0, 1])
    assert sum(e.greedy_reward for e in episodes[::2]) / 2 == pytest.approx(measured["greedy_reward"])
    assert {"success", "greedy_success", "turns", "greedy_turns"} <= set(measured)


def test_an_episode_ends_where_the_context_is_full(own, monkeypatch):
    how = roller(own, "Letters", max_steps=50)
    monkeypatch.setattr(how, "layout", Layout(how.layout.tokenizer, how.layout.frame, 240, "Write.", 6))
    stops = []
    real = how._episode
    monkeypatch.setattr(how, "_episode", lambda one: (stops.append(one.live.episode.stop), real(one))[1])
    monkeypatch.setattr(how.catalogue.make().inner.__class__, "length", 50, raising=False)
    episodes = how.collect([0], 0)
    assert stops == [NO_ROOM] * 2
    assert all(len(e.tokens) <= 240 and not e.ended for e in episodes)


def learn(agent, rounds: int, lr: float) -> list[float]:
    learner = RLLearner(agent, RLConfig("rloo", group=4, beta=0.0))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=lr, weight_decay=0.0)
    rewards = []
    for step in range(rounds):
        optimizer.zero_grad()
        rewards.append(learner.accumulate(range(4), step, rounds)["reward"])
        optimizer.step()
    return rewards


def test_rl_gains_score_on_codes(own):
    how = roller(own, group=4, max_tokens=4)
    rewards = learn(LatentAgent(own.require_latents().policy, how.collect), 16, 1.5e-2)
    assert sum(rewards[-3:]) > 1.5 * sum(rewards[:3])


def run(command, *words) -> dict:
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def metrics(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(model_folder, tmp_path, monkeypatch):
    words = ["--model", model_folder, "--data", f"env:{USERS}:Letters", "--rounds", 3, "--batch", 2, "--group", 2]
    words += ["--max-new-tokens", 5, "--save-every", 1, "--evaluate-every", 2, "--keep-rollouts", "--lr", 1e-2]
    whole = run(rl_command.command, *words, "--output", tmp_path / "whole")
    rows = [row for row in metrics(tmp_path / "whole") if "reward" in row]
    assert {"success", "turns", "cut", "reward", "kl"} <= set(rows[0])
    assert whole["heldout"]["problems"] == 1  # a tenth of 4 variations, one at least

    real = RLLearner.accumulate

    def cut(self, problems, step, steps):
        if step == 2:
            raise KeyboardInterrupt
        return real(self, problems, step, steps)

    monkeypatch.setattr(RLLearner, "accumulate", cut)
    CliRunner().invoke(rl_command.command, [str(w) for w in [*words, "--output", tmp_path / "cut"]])
    assert len([row for row in metrics(tmp_path / "cut") if "reward" in row]) == 2
    monkeypatch.setattr(RLLearner, "accumulate", real)
    again = run(rl_command.command, *words, "--resume", "--output", tmp_path / "cut")
    assert again["heldout"] == whole["heldout"]
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    for name in ("rollouts.jsonl", "model/model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_value_head_learns_what_the_rest_of_an_episode_brings(model_folder, tmp_path, own):
    log = tmp_path / "rollouts.jsonl"
    words = ("--model", model_folder, "--data", f"env:{USERS}:Steady", "--max-new-tokens", 5, "--samples", 6)
    report = run(rollouts_command.command, *words, "--output", log)
    found = read_rollouts(log)
    assert report["rollouts"] == len(found) == 4 * 6  # the train variations, and none of dev
    assert {problem for problem, _ in found} == {"0", "1", "2", "3"}
    result = run(
        value_command.command, "--model", model_folder, "--rollouts", log, "--output", tmp_path / "value",
        "--epochs", 150, "--heldout", 0.4, "--lr", 1e-2,
    )["heldout"]  # fmt: skip
    assert result["states"] % 3 == 0  # of each held-out episode the three states in which an action begins
    lm = LatentLM.from_pretrained(str(tmp_path / "value" / "model"), "cpu", "float32")
    values = torch.stack(
        [
            lm.require_latents().value(own.base.hidden(torch.tensor([e.tokens]))[0, [place for place, _ in e.to_go]])
            for _, e in found
        ]
    )
    # Before the first of three paid actions more is to come than before the last.
    torch.testing.assert_close(values.mean(0), torch.tensor([1.0, 2 / 3, 1 / 3]), atol=0.15, rtol=0)


def test_what_a_model_wrote_of_logged_episodes_is_what_counts_in_training_on_them(own, tmp_path):
    episodes = roller(own).collect([0, 1], 0)
    log = tmp_path / "rollouts.jsonl"
    RolloutLog(log).append(0, [start.id for start in STARTS], episodes)
    assert [(e.where, e.to_go, e.actions) for _, e in read_rollouts(log)] == [
        (e.where, e.to_go, e.actions) for e in episodes
    ]
    corpus = load_corpus([log], own.base.tokenizer, own.base.end_id, 4000)
    for document, e in zip(corpus.documents, episodes, strict=True):
        assert [i for begin, end in document.spans for i in range(begin, end)] == [place + 1 for place in e.where]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--task", "math"], "--task is for problems"),
        (["--reward", "regex:a"], "--reward is for problems"),
        (["--data", "p.jsonl"], "give it alone"),
    ],
)
def test_what_an_environment_does_by_itself_cannot_be_said(model_folder, tmp_path, words, why):
    given = ["--model", model_folder, "--data", f"env:{USERS}:Letters", "--output", tmp_path / "run", *words]
    done = CliRunner().invoke(rl_command.command, [str(word) for word in given])
    assert done.exit_code == 2
    assert why in done.output


def test_a_limit_of_steps_is_for_environments(model_folder, tmp_path):
    data = tmp_path / "p.jsonl"
    data.write_text('{"problem": "1+1?", "answer": "2"}\n')
    given = ["--model", model_folder, "--data", data, "--output", tmp_path / "run", "--max-steps", 3]
    done = CliRunner().invoke(rl_command.command, [str(word) for word in given])
    assert (done.exit_code, "--max-steps is for environments" in done.output) == (2, True)


def test_rollouts_are_of_the_variations_that_a_bench_would_choose(model_folder, tmp_path):
    words = ("--model", model_folder, "--max-new-tokens", 3, "--samples", 1, "--limit", 2, "--skip", 1)
    log = tmp_path / "rollouts.jsonl"
    run(rollouts_command.command, *words, "--data", f"env:{USERS}:Letters", "--shuffle-seed", 5, "--output", log)
    wanted = catalogue_of(find(f"{USERS}:Letters")[0]).starts(None, "train", limit=2, skip=1, shuffle_seed=5)
    assert [problem for problem, _ in read_rollouts(log)] == [start.id for start in wanted]
    data = tmp_path / "p.jsonl"
    data.write_text('{"problem": "1+1?", "answer": "2"}\n')
    done = CliRunner().invoke(rollouts_command.command, [str(w) for w in (*words, "--data", data, "--output", log)])
    assert (done.exit_code, "choose episodes of an environment" in done.output) == (2, True)
