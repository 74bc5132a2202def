"""RL's learner on worlds small enough to solve: who gets gradient, log-probabilities, solving, resuming."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
import torch
from toy_rl import CODES, GOAL, WIDTH, ToyWorld, make_policy

from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.policy import sample_codes, sampling_log_probs
from colasearch.training.base.tuning import TunableBase, Tuning
from colasearch.training.reinforcement.agents import LatentAgent, TokenAgent
from colasearch.training.reinforcement.estimators import ALGORITHMS
from colasearch.training.reinforcement.rl import Episode, RLConfig, RLLearner, rounds
from colasearch.training.running.loop import LoopConfig, TrainRun, fit


def make(steps: int, config: RLConfig, **sampler) -> tuple[ToyWorld, RLLearner]:
    world = ToyWorld(steps)
    world.policy = make_policy()
    agent = LatentAgent(world.policy, world.collect(config.group, **sampler), **sampler)
    return world, RLLearner(agent, config, width=WIDTH)


def train(learner: RLLearner, folder, count: int, *, resume=False, stop=None, updates=1, lr=3e-2):
    def progress(done, total, metrics):
        if done == stop:
            raise KeyboardInterrupt

    loop = LoopConfig(lr=lr, final_lr=lr, warmup_steps=1, weight_decay=0.0, log_every=1, save_every=4 * updates,
                      evaluate_every=10**6)  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        fit(
            TrainRun(folder, {"config": {}}, resume), learner.holder, learner.parameters(), loop,
            rounds(8, 8, updates, 0), count, learner.accumulate, dict, progress,
        )  # fmt: skip


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_bandit_is_solved(algorithm, tmp_path):
    world, learner = make(1, RLConfig(algorithm, group=4, beta=0.0))
    train(learner, tmp_path / "run", 30)
    assert torch.softmax(world.policy(world.vector(())[None, None])[0, 0], -1)[2] > 0.9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_three_step_decision_process_is_solved(algorithm, tmp_path):
    world, learner = make(3, RLConfig(algorithm, group=4, beta=0.0))
    assert world.greedy() != GOAL
    train(learner, tmp_path / "run", 50, lr=2e-2)
    assert world.greedy() == GOAL
    rewards = [
        json.loads(line)["reward"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:-1]
    ]
    assert sum(rewards[-5:]) / 5 > 0.9 > sum(rewards[:5]) / 5 + 0.3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_updates_a_round_also_learn(algorithm, tmp_path):
    world, learner = make(1, RLConfig(algorithm, group=4, beta=0.0, updates=3))
    train(learner, tmp_path / "run", 20, updates=3)
    assert torch.softmax(world.policy(world.vector(())[None, None])[0, 0], -1)[2] > 0.8


def test_a_strong_kl_weight_holds_the_policy_back(tmp_path):
    moved = []
    for beta in (0.0, 100.0):
        world, learner = make(1, RLConfig("rloo", beta=beta))
        before = torch.softmax(make_policy()(world.vector(())[None, None])[0, 0], -1)
        train(learner, tmp_path / str(beta), 20, lr=3e-3)
        after = torch.softmax(world.policy(world.vector(())[None, None])[0, 0], -1)
        moved.append(float((after - before).detach().abs().sum()))
    assert moved[1] < 0.5 * moved[0]


def test_a_floor_under_the_entropy_leaves_the_policy_choices(tmp_path):
    """Of four arms the best gets nearly everything; with a floor of one nat the others keep about their share of it."""
    entropies = []
    for floor in (0.0, 1.0):
        world, learner = make(1, RLConfig("rloo", group=4, beta=0.0, entropy_floor=floor))
        train(learner, tmp_path / str(floor), 40)
        p = torch.softmax(world.policy(world.vector(())[None, None])[0, 0], -1).detach()
        assert int(p.argmax()) == 2
        entropies.append(float(-(p * p.log()).sum()))
    assert entropies[0] < 0.5
    assert 0.8 < entropies[1] < 1.3
    with pytest.raises(InputError, match="entropy_floor is -1"):
        RLConfig(entropy_floor=-1.0).check()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_the_policy_and_the_critic_of_ppo_get_gradient(algorithm):
    _, learner = make(3, RLConfig(algorithm))
    learner.accumulate(list(range(8)), 0, 1)
    moved = {name.split(".")[0] for name, p in learner.holder.named_parameters() if p.grad is not None}
    assert moved == ({"agent", "critic"} if algorithm == "ppo" else {"agent"})
    assert {id(p) for p in learner.parameters()} == {id(p) for p in learner.holder.parameters()}


@pytest.mark.parametrize(("paid", "learns"), [(0.75, False), (0.5, True)])
def test_remax_learns_from_what_the_greedy_text_does_not_get(paid, learns):
    world = ToyWorld(1)
    policy = world.policy = make_policy()
    episodes = [Episode(0, (0, 2), 1, (2,), 0.75, paid, hidden_TD=world.hidden((2,)))]
    learner = RLLearner(LatentAgent(policy, lambda problems, number: episodes), RLConfig("remax", group=1), WIDTH)
    learner.accumulate([0], 0, 1)
    assert any(float(p.grad.abs().sum()) > 1e-6 for p in policy.parameters() if p.grad is not None) == learns


def test_the_first_update_of_a_round_is_on_policy_and_gradients_do_not_depend_on_micro_batches():
    gradients = []
    for micro in (8, 4096):
        _, learner = make(3, RLConfig("grpo", group=4, micro_tokens=micro))
        metrics = learner.accumulate(list(range(8)), 0, 1)
        assert metrics["clipped"] == 0
        assert metrics["kl"] == pytest.approx(0, abs=1e-6)
        gradients.append(torch.cat([p.grad.flatten() for p in learner.agent.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (2.0, 2)])
def test_log_probabilities_are_those_of_the_sampler(temperature, top_k):
    """The exponentials of the scores match how often the sampler gives each code, truncated codes included."""
    _, learner = make(1, RLConfig("rloo", group=2000), temperature=temperature, top_k=top_k)
    episodes = learner.agent.collect([0], 0)
    with torch.no_grad():
        scored = learner.agent.score(episodes)
    for code in range(CODES):
        rows = [i for i, e in enumerate(episodes) if e.actions == (code,)]
        share = len(rows) / len(episodes)
        probability = float(scored.log_probs_NL[rows[0], 0].exp()) if rows else 0.0
        assert share == pytest.approx(probability, abs=4 * (0.25 / 2000) ** 0.5)
    assert torch.isfinite(learner.agent.score_at_start(episodes)).all()
    if top_k:
        assert len({e.actions for e in episodes}) == top_k


@pytest.mark.parametrize(("algorithm", "updates"), [("grpo", 1), ("ppo", 2)])
def test_a_killed_run_resumes_to_the_same_curve(algorithm, updates, tmp_path):
    def weights(name: str, **how) -> torch.Tensor:
        _, learner = make(3, RLConfig(algorithm, beta=0.1, updates=updates))
        train(learner, tmp_path / name, 9, updates=updates, **how)
        return torch.cat([p.detach().flatten() for p in learner.parameters()])

    def curve(name: str) -> list:
        rows = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]

    whole = weights("whole")
    weights("cut", stop=6 * updates - updates + 1)
    assert torch.equal(weights("cut", resume=True), whole)
    assert curve("cut") == curve("whole")
    assert curve("whole")[-2]["kl"] > 0  # the divergence is from where training began, also after a resume


def test_settings_that_make_no_sense():
    with pytest.raises(InputError, match="group is 1, but rloo"):
        RLConfig("rloo", group=1).check()
    with pytest.raises(InputError, match="unknown algorithm 'dpo'"):
        RLConfig("dpo").check()
    RLConfig("ppo", group=1).check()


def token_episodes(own: LatentLM, tunable: TunableBase, group: int):
    """Rollouts of two tokens of the tiny base; the reward is the share of small ids."""

    def run(problems, round_number: int) -> list[Episode]:
        owners = [problem for problem in problems for _ in range(group)]
        seeds = [round_number * 1000 + problem for problem in problems]
        drawn_N2 = torch.cat([torch.rand(group, 2, generator=torch.Generator().manual_seed(s)) for s in seeds])
        tokens_NT = torch.tensor([[40 + problem, 50] for problem in owners])
        for drawn_N in drawn_N2.T:
            with torch.no_grad():
                logits = own.base.logits(own.base.hidden(tokens_NT)[:, -1])
            tokens_NT = torch.cat([tokens_NT, sample_codes(sampling_log_probs(logits), drawn_N)[:, None]], 1)
        rows = [tuple(row) for row in tokens_NT.tolist()]
        rewards = [sum(token < 100 for token in row[2:]) / 2 for row in rows]
        return [Episode(*one[:2], 2, one[1][2:], one[2]) for one in zip(owners, rows, rewards, strict=True)]

    return run


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_control_on_tokens(own, algorithm):
    """The same learner on tokens: gradient in the base alone; the rewarded tokens become likelier."""
    tunable = TunableBase(own, Tuning("full"), 0)
    agent = TokenAgent(own.base, tunable, token_episodes(own, tunable, 4))
    learner = RLLearner(agent, RLConfig(algorithm, beta=0.01), width=own.base.hidden_size)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-2)
    rewards = []
    for step in range(15):
        optimizer.zero_grad()
        metrics = learner.accumulate(list(range(6)), step, 15)
        rewards.append(metrics["reward"])
        optimizer.step()
    assert sum(rewards[-3:]) / 3 > sum(rewards[:2]) / 2 + 0.15
    assert metrics["kl"] > 0
    moved = {n for n, p in own.base.model.named_parameters() if p.grad is not None}
    assert moved == set(tunable.names)
    assert all(p.grad is None for p in own.require_latents().parameters())


@pytest.mark.parametrize("algorithm", ["rloo", "remax", "ppo"])
def test_the_learner_s_expected_gradient_is_the_objective_s(algorithm):
    """Over all groups of all sequences of two codes, on the real policy, with divergence from a different start."""
    beta, group = 0.3, 2 if algorithm == "rloo" else 1
    world = ToyWorld(2)
    world.policy = make_policy()
    sequences = list(itertools.product(range(CODES), repeat=2))
    payoff = {s: float(torch.rand((), generator=torch.Generator().manual_seed(i))) for i, s in enumerate(sequences)}
    now: list[Episode] = []
    agent = LatentAgent(world.policy, lambda problems, number: list(now))
    learner = RLLearner(agent, RLConfig(algorithm, group=group, beta=beta), width=WIDTH)
    with torch.no_grad():
        for p in world.policy.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))

    def episode(codes: tuple[int, ...]) -> Episode:
        return Episode(0, (0, *codes), 1, codes, payoff[codes], payoff[0, 0], hidden_TD=world.hidden(codes))

    episodes = [episode(s) for s in sequences]
    total = agent.score(episodes).log_probs_NL.sum(1)
    start = agent.score_at_start(episodes).sum(1)
    assert (total - start).abs().max() > 0.1
    rewards = torch.tensor([payoff[s] for s in sequences])
    objective = (total.exp() * (rewards - beta * (total - start))).sum()
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(objective, agent.parameters())])
    expected = torch.zeros_like(exact)
    for chosen in itertools.product(range(len(sequences)), repeat=group):
        now[:] = [episodes[i] for i in chosen]
        for p in agent.parameters():
            p.grad = None
        learner.accumulate([0], 0, 1)
        weight = float(total.detach()[list(chosen)].sum().exp())
        expected -= weight * torch.cat([p.grad.flatten() for p in agent.parameters()])
    torch.testing.assert_close(expected, exact, atol=2e-6, rtol=1e-3)
