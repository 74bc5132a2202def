"""Rollouts through the engine: codes, states and rewards fit together; RL on a real tiny model gains reward."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.errors import CorruptFileError, InputError
from colasearch.model.latent_lm import LatentLM, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs
from colasearch.problem import LabelledProblem, Problem
from colasearch.training.base.tuning import TunableBase, Tuning, mixed_precision
from colasearch.training.data.problems import Reward, load_problems, split_problems
from colasearch.training.reinforcement.agents import LatentAgent, TokenAgent
from colasearch.training.reinforcement.rl import RLConfig, RLLearner
from colasearch.training.reinforcement.rollout import Roller, RolloutConfig, RolloutLog, read_rollouts

PROBLEMS = [LabelledProblem(Problem.from_text(f"{i}+1?"), str(i + 1)) for i in range(6)]


def small_letters(items) -> list[float]:
    return [sum("a" <= c <= "z" for c in text) / max(1, len(text)) for _, text in items]


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 3)])
def test_codes_tokens_states_and_log_probabilities_fit_together(own, temperature, top_k):
    config = RolloutConfig(group=2, max_tokens=12, temperature=temperature, top_k=top_k, seed=3)
    episodes = Roller(own, PROBLEMS, small_letters, config).collect(range(4), 7)
    agent = LatentAgent(own.require_latents().policy, lambda i, r: episodes, temperature, top_k)
    with torch.no_grad():
        scored = agent.score(episodes)
    assert [e.problem for e in episodes] == [0, 0, 1, 1, 2, 2, 3, 3]
    for number, e in enumerate(episodes):
        assert len(e.actions) == len(e.tokens) - e.prompt <= 12
        hidden = own.base.hidden(torch.tensor([e.tokens[:-1]]))[0]
        torch.testing.assert_close(e.hidden_TD, hidden, atol=1e-5, rtol=1e-4)
        at = hidden[e.prompt - 1 :]
        codes = torch.tensor(e.actions)
        # Each token is the world model's most probable one under its code.
        states = world_model_states(own.require_latents(), own.base, at, codes)
        assert own.base.logits(states).argmax(-1).tolist() == list(e.tokens[e.prompt :])
        # The distribution that is trained on gives, at the numbers that were drawn, the codes that were drawn.
        log_probs = sampling_log_probs(
            own.require_latents().policy(hidden[None])[0, e.prompt - 1 :], temperature, top_k
        )
        numbers = seeded_uniforms(12, 3, "7", PROBLEMS[e.problem].problem.id, number % 2)
        assert sample_codes(log_probs, torch.from_numpy(numbers[: len(codes)])).tolist() == codes.tolist()
        mine = scored.log_probs_NL[number, : len(codes)]
        torch.testing.assert_close(mine, log_probs.gather(1, codes[:, None])[:, 0], atol=1e-5, rtol=1e-4)
        assert not scored.valid_NL[number, len(codes) :].any()


def test_in_half_precision_sampling_and_training_compute_alike(model_folder):
    """A base in bfloat16 and a policy in float32: both pass through the policy under the same autocast."""
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "bfloat16")
    lm.require_latents().float()
    episodes = Roller(lm, PROBLEMS, small_letters, RolloutConfig(group=4, max_tokens=10)).collect(range(6), 0)
    agent = LatentAgent(lm.require_latents().policy, lambda i, r: episodes, base=lm.base)
    agree = total = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for number, e in enumerate(episodes):
            assert e.hidden_TD.dtype == torch.bfloat16
            log_probs = sampling_log_probs(agent.policy(e.hidden_TD[None])[0, e.prompt - 1 :])
            numbers = seeded_uniforms(10, 0, "0", PROBLEMS[e.problem].problem.id, number % 4)[: len(e.actions)]
            agree += int((sample_codes(log_probs, torch.from_numpy(numbers)) == torch.tensor(e.actions)).sum())
            total += len(e.actions)
    assert agree > 0.95 * total
    learner = RLLearner(agent, RLConfig("ppo", group=4), width=lm.base.hidden_size)
    learner.accumulate(range(6), 0, 1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


def test_a_rollout_depends_on_seed_round_problem_and_draw_alone(own):
    def texts(indices, round_number, **changes):
        config = RolloutConfig(**{"group": 2, "max_tokens": 10, **changes})
        episodes = Roller(own, PROBLEMS, small_letters, config).collect(indices, round_number)
        return {(e.problem, i % 2): e.tokens for i, e in enumerate(episodes)}

    whole = texts(range(6), 0)
    assert texts([4], 0) == {key: value for key, value in whole.items() if key[0] == 4}
    assert texts([5, 2, 0], 0, rows=1).items() <= whole.items()
    assert texts(range(6), 1) != whole
    assert texts(range(6), 0, seed=1) != whole


def test_the_greedy_rollout_takes_the_most_probable_codes(own):
    roller = Roller(own, PROBLEMS, small_letters, RolloutConfig(group=1, max_tokens=8, greedy_baseline=True))
    episodes = roller.collect([0, 1], 0)
    greedy = roller._roll([(0, 0)], "greedy", greedy=True)[0]
    hidden = own.base.hidden(torch.tensor([greedy.tokens[:-1]]))
    best = own.require_latents().policy(hidden)[0, greedy.prompt - 1 :].argmax(-1)
    assert list(greedy.actions) == best.tolist()
    assert episodes[0].greedy_reward == greedy.reward


def test_token_rollouts_are_the_base_s_samples(own):
    config = RolloutConfig(latent=False, group=2, max_tokens=8)
    episodes = Roller(own, PROBLEMS, small_letters, config).collect([0, 1], 0)
    for number, e in enumerate(episodes):
        assert e.actions == e.tokens[e.prompt :]
        log_probs = sampling_log_probs(own.base.logits(own.base.hidden(torch.tensor([e.tokens]))[0, e.prompt - 1 : -1]))
        numbers = seeded_uniforms(8, 0, "0", PROBLEMS[e.problem].problem.id, number % 2)
        assert sample_codes(log_probs, torch.from_numpy(numbers[: len(e.actions)])).tolist() == list(e.actions)


def learn(agent, rounds: int, lr: float, algorithm: str = "rloo") -> list[float]:
    learner = RLLearner(agent, RLConfig(algorithm, group=4, beta=0.0))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=lr, weight_decay=0.0)
    rewards = []
    for step in range(rounds):
        optimizer.zero_grad()
        rewards.append(learner.accumulate(range(6), step, rounds)["reward"])
        optimizer.step()
    return rewards


def test_rl_on_codes_gains_reward_and_leaves_the_rest_alone(own):
    before = {k: v.clone() for k, v in own.require_latents().state_dict().items()}
    base = {k: v.clone() for k, v in own.base.model.state_dict().items()}
    roller = Roller(own, PROBLEMS, small_letters, RolloutConfig(group=4, max_tokens=8))
    rewards = learn(LatentAgent(own.require_latents().policy, roller.collect), 18, 1e-2)
    # Eight codes reach few letters: the base's greedy tokens bound what any policy can have.
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])
    changed = {k.split(".")[0] for k, v in own.require_latents().state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"policy"}
    assert all(torch.equal(v, base[k]) for k, v in own.base.model.state_dict().items())


def test_rl_on_tokens_with_low_rank_changes_gains_reward(own):
    roller = Roller(own, PROBLEMS, small_letters, RolloutConfig(latent=False, group=4, max_tokens=4))
    tunable = TunableBase(own, Tuning("lora", rank=4, alpha=8.0), 0)
    rewards = learn(TokenAgent(own.base, tunable, roller.collect), 12, 3e-2)
    assert sum(rewards[-3:]) / 3 > sum(rewards[:2]) / 2 + 0.2


def test_rewards_come_from_verifiers():
    math = Reward("math")
    texts = ["It is \\boxed{2}.", "It is \\boxed{3}.", "no answer", "so 1+1 = 2"]
    assert math([(PROBLEMS[1], t) for t in texts]) == [1.0, 0.0, 0.0, 1.0]
    both = Reward("math", format_weight=0.2)
    assert both([(PROBLEMS[1], t) for t in texts]) == pytest.approx([1.0, 0.2, 0.0, 0.8])
    unreadable = LabelledProblem(Problem.from_text("?"), "")
    assert math([(unreadable, texts[0])]) == [0.0]
    with pytest.raises(InputError, match=r"format reward is 1\.5"):
        Reward("math", format_weight=1.5)


def test_countdown_needs_no_gold_answer(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"numbers": [3, 5, 2], "target": 30}\n{"numbers": [1, 2], "target": 3}\n')
    problems = load_problems([path], "countdown")
    assert [p.gold for p in problems] == ["", ""]
    right, wrong = Reward("countdown")([(problems[0], "\\boxed{3*5*2}"), (problems[0], "\\boxed{3+5}")])
    assert (right, wrong) == (1.0, 0.0)
    path.write_text('{"problem": "x", "numbers": [3]}\n')
    with pytest.raises(InputError, match='line 1 has no whole "numbers" and "target"'):
        load_problems([path], "countdown")


def test_the_task_of_rows_that_do_not_say_it(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"numbers": [3, 5, 2], "target": 30}\n')
    assert load_problems([path], None)[0].problem.task == "countdown"
    path.write_text('{"question": "2+2?", "answer": "#### 4"}\n')
    assert (load_problems([path], None)[0].problem.task, load_problems([path], None)[0].gold) == ("math", "4")
    path.write_text('{"problem": "2+2?", "answer": 4}\n{"numbers": [3, 5], "target": 8}\n')
    with pytest.raises(InputError, match=r"line 2 is a Countdown problem and .* line 1 is none"):
        load_problems([path], None)


def test_problems_are_read_once_and_held_out_by_their_text(tmp_path):
    path = tmp_path / "p.jsonl"
    rows = [{"problem": f"{i}?", "answer": i} for i in range(50)]
    rows.append({"problem": "0?", "answer": 0})
    rows.append({"problem": "worked", "solution": "Add them.\n#### 7"})
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    problems = load_problems([path])
    assert len(problems) == 51
    assert problems[-1].gold == "7"
    train, held = split_problems(problems, 0.3)
    assert len(train) + len(held) == 51
    assert 5 < len(held) < 30
    ids = {problems[i].problem.id for i in held}
    again = split_problems(problems[10:], 0.3)[1]
    assert {problems[10 + i].problem.id for i in again} <= ids
    path.write_text('{"problem": "no answer"}\n')
    with pytest.raises(InputError, match='line 1 has no "answer"'):
        load_problems([path])


def test_a_rollout_log_is_read_back_and_rounds_done_again_replace_themselves(own, tmp_path):
    roller = Roller(own, PROBLEMS, small_letters, RolloutConfig(group=1, max_tokens=5))
    path = tmp_path / "rollouts.jsonl"
    log = RolloutLog(path)
    for number in range(3):
        log.append(number, roller.ids, roller.collect([number], number))
    whole = path.read_text()
    path.write_text(whole + '{"round": 3, "pro')  # killed while writing
    resumed = RolloutLog(path)
    for number in (1, 2):
        resumed.append(number, roller.ids, roller.collect([number], number))
    assert path.read_text() == whole
    ((first, episode), *_), count = read_rollouts(path), len(read_rollouts(path))
    assert (first, count) == (PROBLEMS[0].problem.id, 3)
    assert episode.actions == roller.collect([0], 0)[0].actions
    path.write_text('{"round": 0}\n')
    with pytest.raises(CorruptFileError, match="line 1 is no rollout"):
        read_rollouts(path)


def test_a_prompt_without_room_is_refused(own):
    with pytest.raises(InputError, match="--max-new-tokens is 510"):
        Roller(own, PROBLEMS, small_letters, RolloutConfig(max_tokens=510))


@pytest.mark.parametrize("level", ["codes", "tokens"])
def test_under_truncation_every_drawn_action_has_a_probability(own, level):
    """The scorer may round otherwise than the sampler did, so much that its own top k lacks what was drawn."""
    config = RolloutConfig(latent=level == "codes", group=4, max_tokens=8, top_k=2)
    kept: list = []

    def collect(indices, number):
        episodes = Roller(own, PROBLEMS, small_letters, config).collect(indices, number)
        kept.extend((e.kept_LM.sort(-1).values, e.actions) for e in episodes)
        return episodes

    if level == "codes":
        own.require_latents().requires_grad_(False)
        agent = LatentAgent(own.require_latents().policy, collect, 1.0, 2, own.base)
    else:
        agent = TokenAgent(own.base, TunableBase(own, Tuning("full"), 0), collect, 1.0, 2)
    learner = RLLearner(agent, RLConfig("grpo", group=4), width=own.base.hidden_size)
    metrics = learner.accumulate(range(4), 0, 1)
    assert metrics["kl"] == pytest.approx(0, abs=1e-4)  # nothing has trained: the same set on both sides
    assert metrics["clipped"] == 0
    for index_LM, actions in kept:
        assert index_LM.shape == (len(actions), 2)
        assert (index_LM == torch.tensor(actions)[:, None]).any(1).all()
    with torch.no_grad():
        for p in agent.parameters():
            p.add_(p.abs().mean() * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        episodes = learner._round.episodes
        assert agent.score(episodes).log_probs_NL.isfinite().all()
        assert agent.score_at_start(episodes).isfinite().all()


def test_truncated_rollouts_in_half_precision_train(model_folder):
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "bfloat16", whole_latents=True)
    roller = Roller(lm, PROBLEMS, small_letters, RolloutConfig(group=8, max_tokens=16, top_k=3))
    agent = LatentAgent(lm.require_latents().policy, roller.collect, 1.0, 3, lm.base)
    learner = RLLearner(agent, RLConfig("grpo", group=8, beta=0.1), width=lm.base.hidden_size)
    metrics = learner.accumulate(range(6), 0, 1)
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


@pytest.mark.parametrize("tuning", [Tuning("full"), Tuning("layers", (1,))])
def test_half_precision_bases_train_in_float32_and_compute_in_bfloat16(model_folder, tuning):
    """Updates far below bfloat16's resolution stay."""
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "bfloat16", whole_latents=True)
    tunable = TunableBase(lm, tuning, 0)
    roller = Roller(lm, PROBLEMS, small_letters, RolloutConfig(latent=False, group=4, max_tokens=6, top_k=20))
    agent = TokenAgent(lm.base, tunable, roller.collect, 1.0, 20)
    learner = RLLearner(agent, RLConfig("grpo", group=4), width=lm.base.hidden_size)
    assert {p.dtype for p in agent.parameters()} == {torch.float32}
    assert mixed_precision(lm.base)._enabled
    before = [p.detach().clone() for p in agent.parameters()]
    optimizer = torch.optim.AdamW(agent.parameters(), lr=1e-6, weight_decay=0.0)
    learner.accumulate(range(4), 0, 1)
    optimizer.step()
    moved = [float((p.detach() - old).abs().max()) for p, old in zip(agent.parameters(), before, strict=True)]
    assert 0 < max(moved) < 1e-5
    assert all(np.isfinite(value) for value in learner.accumulate(range(4), 1, 2).values())
