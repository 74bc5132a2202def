"""The estimators' expected gradients, by enumeration of every action sequence and every group, against exact ones."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from colasearch.training.reinforcement.estimators import generalised_advantages, group_credit, kl_to_go, surrogate

ACTIONS, STEPS = 3, 2
SEQUENCES = list(itertools.product(range(ACTIONS), repeat=STEPS))
PREFIXES = [p for t in range(STEPS) for p in itertools.product(range(ACTIONS), repeat=t)]
BETA = 0.3


class Toy:
    """A tabular policy: one row of logits a prefix. Its expectations can be written down."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(PREFIXES), ACTIONS)
        self.logits = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        self.start = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.rewards = torch.rand(len(SEQUENCES), generator=generator, dtype=torch.float64)
        self.binary = (self.rewards > 0.5).double()

    def log_probs(self, logits: Tensor) -> Tensor:
        """``[sequences, steps]``."""
        table = torch.log_softmax(logits, -1)
        return torch.stack([torch.stack([table[PREFIXES.index(s[:t]), s[t]] for t in range(STEPS)]) for s in SEQUENCES])

    def exact(self, rewards: Tensor, beta: float) -> Tensor:
        """Gradient of E[R] - beta KL."""
        log_probs = self.log_probs(self.logits)
        total, start = log_probs.sum(1), self.log_probs(self.start).sum(1)
        objective = (total.exp() * rewards).sum() - beta * (total.exp() * (total - start)).sum()
        return torch.autograd.grad(objective, self.logits)[0]

    def expected(self, credit: Tensor, chosen: Tensor, beta: float) -> Tensor:
        """Minus the expected gradient of the loss when ``credit`` ``[groups, G]`` or ``[groups, G, L]`` is given to
        the sequences ``chosen`` ``[groups, G]``, over all groups."""
        log_probs = self.log_probs(self.logits)
        start = self.log_probs(self.start)
        rows = chosen.flatten()
        valid = torch.ones(len(rows), STEPS, dtype=torch.bool)
        mine = log_probs[rows]
        credit_NL = credit.reshape(len(rows), -1).expand(-1, STEPS)
        advantages = credit_NL - beta * kl_to_go(mine.detach(), start[rows], valid)
        losses = surrogate(mine, mine.detach(), advantages.detach(), valid, 0.2).view(chosen.shape)
        weight = log_probs.sum(1).detach()[chosen].sum(1).exp()
        assert float(weight.sum()) == pytest.approx(1)  # every group is there
        return -torch.autograd.grad((weight * losses.mean(1)).sum(), self.logits)[0]


def groups(size: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(len(SEQUENCES)), repeat=size)))


@pytest.fixture(params=[0, 1])
def toy(request):
    return Toy(request.param)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("size", [2, 3])
def test_rloo_is_unbiased(toy, size):
    chosen = groups(size)
    credit = group_credit("rloo", toy.rewards[chosen].flatten(), size)
    close(toy.expected(credit.view(chosen.shape), chosen, BETA), toy.exact(toy.rewards, BETA))


def test_remax_is_unbiased(toy):
    chosen = groups(1)
    greedy = toy.log_probs(toy.logits).sum(1).argmax()
    close(toy.expected(toy.rewards[chosen] - toy.rewards[greedy], chosen, BETA), toy.exact(toy.rewards, BETA))


def test_ppo_is_unbiased_at_lambda_1_whatever_the_critic_says(toy):
    chosen = groups(1)
    values = torch.rand(len(PREFIXES), dtype=torch.float64)
    values_NL = torch.stack([torch.stack([values[PREFIXES.index(s[:t])] for t in range(STEPS)]) for s in SEQUENCES])
    valid = torch.ones(len(SEQUENCES), STEPS, dtype=torch.bool)
    exact = toy.exact(toy.rewards, BETA)
    close(toy.expected(generalised_advantages(toy.rewards, values_NL, valid)[:, None], chosen, BETA), exact)
    shorter = generalised_advantages(toy.rewards, values_NL, valid, 0.95)[:, None]
    # The published lambda is biased: this check can fail.
    assert (toy.expected(shorter, chosen, BETA) - exact).abs().max() > 1e-4


@pytest.mark.parametrize("size", [2, 3])
def test_grpo_without_normalising_is_the_gradient_shrunk(toy, size):
    """The group's mean holds each reward itself: (G - 1) / G of the gradient of E[R]."""
    chosen = groups(size)
    credit = group_credit("grpo", toy.rewards[chosen].flatten(), size, normalise=False)
    close(toy.expected(credit.view(chosen.shape), chosen, 0.0), toy.exact(toy.rewards, 0.0) * (size - 1) / size)


@pytest.mark.parametrize("size", [2, 4, 8])
def test_grpo_s_credit_has_mean_square_one_at_every_group_size(size):
    """The deviation is the population's; the sample's would make the credit depend on --group."""
    rewards = torch.rand(3 * size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    credit = group_credit("grpo", rewards, size).view(3, size)
    torch.testing.assert_close(credit.square().mean(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("size", [2, 3])
def test_grpo_on_binary_rewards_is_a_known_multiple_of_the_gradient(toy, size):
    """With success probability p: E[credit | R = 1] - E[credit | R = 0], from the binomial of the others."""
    p = float((toy.log_probs(toy.logits.detach()).sum(1).exp() * toy.binary).sum())
    factor = 0.0
    for successes in range(size):
        others = torch.distributions.Binomial(size - 1, torch.tensor(p, dtype=torch.float64))
        probability = float(others.log_prob(torch.tensor(float(successes))).exp())
        for mine, sign in ((1, 1.0), (0, -1.0)):
            mean = (successes + mine) / size
            spread = (mean * (1 - mean)) ** 0.5
            factor += probability * sign * ((mine - mean) / spread if spread else 0.0)
    assert factor > 0
    chosen = groups(size)
    credit = group_credit("grpo", toy.binary[chosen].flatten(), size)
    close(toy.expected(credit.view(chosen.shape), chosen, 0.0), toy.exact(toy.binary, 0.0) * factor)


def test_a_group_of_equal_rewards_teaches_nothing():
    assert group_credit("grpo", torch.tensor([0.3, 0.3, 0.3]), 3).tolist() == [0, 0, 0]
    assert group_credit("rloo", torch.tensor([1.0, 1.0]), 2).tolist() == [0, 0]


def test_advantages_are_those_of_the_definition():
    rewards, lam = torch.tensor([1.0, 0.5]), 0.9
    values = torch.tensor([[0.2, 0.4, 0.1], [0.3, 0.6, 7.0]])
    valid = torch.tensor([[True, True, True], [True, True, False]])
    d = [0.4 - 0.2, 0.1 - 0.4, 1.0 - 0.1]
    first = [d[0] + lam * d[1] + lam**2 * d[2], d[1] + lam * d[2], d[2]]
    e = [0.6 - 0.3, 0.5 - 0.6]
    second = [e[0] + lam * e[1], e[1], 0.0]
    torch.testing.assert_close(generalised_advantages(rewards, values, valid, lam), torch.tensor([first, second]))
    whole = generalised_advantages(rewards, values, valid)
    torch.testing.assert_close(whole, (rewards[:, None] - values) * valid)


def test_padding_adds_nothing():
    log_probs = torch.tensor([[-1.0, -2.0, -5.0]], requires_grad=True)
    valid = torch.tensor([[True, True, False]])
    start = torch.tensor([[-2.0, -2.5, float("nan")]])
    assert kl_to_go(log_probs.detach(), start, valid).tolist() == [[1.5, 0.5, 0.0]]
    loss = surrogate(log_probs, torch.tensor([[-1.0, -2.0, float("nan")]]), torch.ones(1, 3), valid, 0.2)
    loss.sum().backward()
    assert log_probs.grad.tolist() == [[-1.0, -1.0, 0.0]]


def test_the_clip_stops_the_gradient_only_where_it_would_go_further():
    old = torch.zeros(1, 4)
    log_probs = torch.log(torch.tensor([[1.5, 1.5, 0.5, 0.5]])).requires_grad_(True)
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    surrogate(log_probs, old, advantages, torch.ones(1, 4, dtype=torch.bool), 0.2).sum().backward()
    torch.testing.assert_close(log_probs.grad, torch.tensor([[0.0, 1.5, -0.5, 0.0]]))
