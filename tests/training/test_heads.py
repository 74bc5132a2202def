"""What value and Q heads learn from given targets: regression, within problems, double DQN."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch

from colasearch.errors import InputError
from colasearch.model.value import QHead
from colasearch.training.data.documents import Document
from colasearch.training.data.hidden_cache import HiddenStates
from colasearch.training.reinforcement.rl import Episode
from colasearch.training.running.loop import LoopConfig, TrainRun, fit
from colasearch.training.values.heads import (
    HeadLearner,
    Texts,
    ValueData,
    add_head,
    ordered_pairs,
    plan_of,
    within_problems,
)
from colasearch.training.values.q_learning import DoubleQLearner, Transitions, returns_of_codes, transitions


def fit_head(learner: HeadLearner, count: int, rate: float = 3e-2, steps: int = 300) -> None:
    optimizer = torch.optim.AdamW(learner.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        for batch in plan_of(range(count), count, 0, step):
            optimizer.zero_grad()
            learner.accumulate(batch, step, steps)
            optimizer.step()


def test_value_regression_recovers_known_values(own):
    """Noisy returns of states whose true value is known: the head finds their means, weighted by visits."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 16, generator=generator)
    truth = torch.tensor([0.1, 0.35, 0.6, 0.9])
    which = torch.arange(200) % 4
    returns = (torch.rand(200, generator=generator) < truth[which]).float()
    means = torch.stack([returns[which == k].mean() for k in range(4)])
    modules = own.require_latents()
    add_head(modules, "value", seed=0)
    learner = HeadLearner(modules, "value", ValueData(centres[which], returns, torch.ones(200)))
    fit_head(learner, 200, steps=150)
    with torch.no_grad():
        torch.testing.assert_close(modules.value(centres), means, atol=0.02, rtol=0)
    weights = torch.where(returns > 0, 3.0, 1.0)
    learner = HeadLearner(modules, "value", ValueData(centres[which], returns, weights))
    fit_head(learner, 200, steps=150)
    weighted = torch.stack([(returns * weights)[which == k].sum() / weights[which == k].sum() for k in range(4)])
    with torch.no_grad():
        torch.testing.assert_close(modules.value(centres), weighted, atol=0.02, rtol=0)


def test_within_problems_the_sides_weigh_alike_and_undivided_problems_are_left_out():
    states = torch.arange(12.0)[:, None]
    texts = Texts(["a", "b", "a", "a", "c"], [3, 2, 1, 2, 4], [1.0, 1.0, 0.0, 0.0, 0.5])
    rewards = torch.tensor(texts.rewards).repeat_interleave(torch.tensor(texts.counts))
    data, some = within_problems(ValueData(states, rewards, torch.ones(12)), texts)
    assert (some.problems, some.counts, some.rewards) == (["a"] * 3, [3, 1, 2], [1.0, 0.0, 0.0])
    assert some.last_states() == [2, 3, 5]
    assert data.states_ND[:, 0].tolist() == [0, 1, 2, 5, 6, 7]
    assert data.targets.tolist() == [1, 1, 1, 0, 0, 0]
    torch.testing.assert_close(data.weights, torch.tensor([1 / 3] * 3 + [1 / 2] + [1 / 4] * 2))
    assert data.mean() == pytest.approx(0.5)
    # Graded rewards: what is above the problem's mean is the better side.
    graded, _ = within_problems(
        ValueData(torch.zeros(3, 1), torch.zeros(3), torch.ones(3)), Texts(["a"] * 3, [1] * 3, [0.1, 0.4, 1.0])
    )
    assert graded.targets.tolist() == [0, 0, 1]
    equal = [0.1] * 6  # whose mean is rounded to less than 0.1
    assert sum(equal) / 6 < 0.1
    assert Texts(["a"] * 6, [1] * 6, equal).better() == []
    with pytest.raises(InputError, match="nothing to tell apart"):
        within_problems(ValueData(states[:4], rewards[:4], torch.ones(4)), Texts(["a", "b"], [2, 2], [1.0, 0.0]))


def test_pairs_are_of_one_problem_and_equal_values_count_half():
    texts = Texts(["a", "b", "a", "b", "a"], [1] * 5, [1.0, 0.0, 0.0, 1.0, 0.0])
    assert ordered_pairs(dict(enumerate([0.5, 0.9, 0.4, 0.1, 0.5])), texts) == ((1 + 0.5 + 0) / 3, 3)
    assert ordered_pairs({0: 0.5, 1: 0.9, 2: 0.4}, texts) == (1.0, 1)
    assert ordered_pairs({}, texts) == (0.0, 0)


def test_within_problems_a_head_learns_what_the_problem_hides(own):
    """Simpson's paradox: texts of easier problems have more of a feature, a problem's better texts have less of it."""
    generator = torch.Generator().manual_seed(0)
    problems, each = 300, 4
    ease, quality = torch.randn(problems, 1, generator=generator), torch.randn(problems, each, generator=generator)
    rewards = (2 * ease + quality > 0).float().flatten()
    states = torch.zeros(problems * each, own.base.hidden_size)
    states[:, 0] = (2 * ease - 0.3 * quality).flatten()
    texts = Texts([f"{p}" for p in range(problems) for _ in range(each)], [1] * len(rewards), rewards.tolist())
    plain = ValueData(states, rewards, torch.ones(len(rewards)))
    order = {}
    for name, (data, owners) in {"plain": (plain, texts), "within": within_problems(plain, texts)}.items():
        modules = copy.deepcopy(own.require_latents())
        add_head(modules, "value", seed=0)
        fit_head(HeadLearner(modules, "value", data, owners), len(data.targets), steps=150)
        with torch.no_grad():
            order[name] = ordered_pairs(dict(enumerate(modules.value(states).tolist())), texts)[0]
    assert order["plain"] < 0.2
    assert order["within"] > 0.8


def test_q_regression_recovers_known_values_and_leaves_untried_codes(own):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 16, generator=generator)
    truth = torch.rand(6, 8, generator=generator)
    weights = (torch.rand(6, 8, generator=generator) < 0.7).float()
    modules = own.require_latents()
    add_head(modules, "q", seed=0)
    learner = HeadLearner(modules, "q", ValueData(states, truth, weights))
    fit_head(learner, 6, rate=0.1)
    with torch.no_grad():
        error = (modules.q(states) - truth).abs()
    assert float(error[weights > 0].max()) < 0.03
    assert float(error[weights == 0].max()) > 0.1  # nothing taught those: the check can fail


def test_a_fresh_head_says_the_mean_and_final_rewards_train_the_codes_taken(own):
    """Codes that were never tried keep what they are given: nothing that double DQN's maximum could take up."""
    modules = own.require_latents()
    for head in ("value", "q"):
        add_head(modules, head, seed=0, start=0.03)
        torch.testing.assert_close(
            getattr(modules, head)(torch.randn(5, 16)), torch.full((5, 8)[: 1 + (head == "q")], 0.03)
        )
    data = Transitions(
        torch.randn(3, 16), torch.randn(3, 16), torch.tensor([2, 0, 2]), torch.tensor([0.0, 1.0, 0.5]),
        torch.tensor([False, True, True]),
    )  # fmt: skip
    episodes = [Episode(0, (1, 5, 6), 1, (2, 0), 1.0), Episode(1, (1, 7), 1, (2,), 0.5)]
    table = returns_of_codes(data, episodes, 8)
    assert table.targets[:, 2].tolist() == [1.0, 0.0, 0.5]
    assert table.targets[1, 0] == 1.0
    assert table.weights.nonzero().tolist() == [[0, 2], [1, 0], [2, 2]]
    assert table.mean() == pytest.approx(2.5 / 3)


def test_values_outside_the_unit_interval_are_refused(own):
    add_head(own.require_latents(), "value", 0)
    with pytest.raises(InputError, match=r"targets run from 0\.000 to 2\.000"):
        HeadLearner(
            own.require_latents(), "value", ValueData(torch.zeros(2, 16), torch.tensor([0.0, 2]), torch.ones(2))
        )


class Chain:
    """Four states in a row, two codes: 0 ends with a small reward, 1 goes on; the last state pays 1 for code 1.

    With discount 0.9 the optimal Q-values are known: going on from state s is worth 0.9 ** (3 - s).
    """

    rewards = (0.3, 0.2, 0.5, 0.1)

    def __init__(self) -> None:
        self.states = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))

    def transitions(self) -> Transitions:
        rows = [(s, a) for s in range(4) for a in (0, 1)]
        after = [min(s + 1, 3) for s, _ in rows]
        done = torch.tensor([a == 0 or s == 3 for s, a in rows])
        reward = torch.tensor([self.rewards[s] if a == 0 else float(s == 3) for s, a in rows])
        index = torch.tensor([s for s, _ in rows])
        return Transitions(self.states[index], self.states[after], torch.tensor([a for _, a in rows]), reward, done)

    def optimal(self, discount: float) -> torch.Tensor:
        go_on = [discount ** (3 - s) for s in range(4)]
        best = [max(r, g) for r, g in zip(self.rewards, go_on, strict=True)]
        q = [[self.rewards[s], discount * best[s + 1] if s < 3 else 1.0] for s in range(4)]
        return torch.tensor(q)


@pytest.mark.parametrize("discount", [0.9, 0.6])
def test_double_dqn_finds_the_optimal_q_of_a_small_decision_process(discount):
    chain = Chain()
    torch.manual_seed(0)
    head = QHead(16, 2)
    learner = DoubleQLearner(head, chain.transitions(), discount=discount, sync_every=25)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.1, weight_decay=0.0)
    for step in range(1500):
        optimizer.zero_grad()
        learner.accumulate(range(8), step, 1500)
        optimizer.step()
        learner.after_step(step, optimizer)
    with torch.no_grad():
        torch.testing.assert_close(head(chain.states), chain.optimal(discount), atol=3e-3, rtol=0)


def test_the_reward_of_a_text_falls_on_its_last_step():
    documents = [Document((0, 1, 2, 3), 1, 1), Document((0, 1), 1, 1)]
    states = HiddenStates(documents, torch.arange(12.0).reshape(6, 2).half(), torch.device("cpu"))
    episodes = [Episode(0, (0, 1, 2, 3), 1, (5, 6, 7), 0.75), Episode(1, (0, 1), 1, (4,), 0.25)]
    found = transitions(states, episodes)
    assert found.rewards_N.tolist() == [0, 0, 0.75, 0.25]
    assert found.done_N.tolist() == [False, False, True, True]
    assert found.codes_N.tolist() == [5, 6, 7, 4]


def test_double_dqn_chooses_by_the_head_and_values_by_the_copy():
    chain = Chain()
    head = QHead(16, 2)
    learner = DoubleQLearner(head, chain.transitions(), discount=0.5)
    with torch.no_grad():
        copy = learner.holder.target(chain.states).clone()
        torch.testing.assert_close(copy, head(chain.states))
        head.out.weight.mul_(-3)
    learner.accumulate(range(8), 0, 1)
    chosen = head(chain.states).argmax(-1)
    y = learner.targets([1, 3, 7])  # code 1 in states 0, 1 and 3
    wanted = [0.5 * float(copy[1, chosen[1]]), 0.5 * float(copy[2, chosen[2]]), 1.0]
    torch.testing.assert_close(y, torch.tensor(wanted))
    assert {n for n, p in learner.holder.named_parameters() if p.grad is not None} == {
        "online.out.weight",
        "online.out.bias",
    }
    learner.holder.sync()
    torch.testing.assert_close(learner.holder.target(chain.states), head(chain.states))


def test_double_dqn_resumes_with_its_copy(tmp_path):
    """The copy is not renewed at every step, so a checkpoint must hold it."""
    data = Chain().transitions()

    def run(name: str, resume: bool = False, stop: int | None = None) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            learner = DoubleQLearner(QHead(16, 2), data, discount=0.9, sync_every=7)

        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            if done == stop:
                raise KeyboardInterrupt

        loop = LoopConfig(lr=0.1, warmup_steps=1, save_every=5, log_every=1)
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                TrainRun(tmp_path / name, {"config": {}}, resume), learner.holder, learner.parameters(), loop,
                lambda epoch: plan_of(range(8), 4, 0, epoch), 15, learner.accumulate,
                lambda: learner.evaluate(range(8)), progress, after_step=learner.after_step,
            )  # fmt: skip
        return torch.cat([p.detach().flatten() for p in learner.parameters()])

    whole = run("whole")
    run("cut", stop=19)
    assert torch.equal(run("cut", resume=True), whole)
