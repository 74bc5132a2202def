"""Codes that lead to the same token, counted as one action in RL."""

from __future__ import annotations

import itertools

import pytest
import torch
from toy_rl import CODES, WIDTH, ToyWorld, make_policy

from colasearch.training.reinforcement.agents import LatentAgent
from colasearch.training.reinforcement.rl import Episode, RLConfig, RLLearner

LEADS_TO = torch.tensor([0, 0, 1, 0])
"""Tokens that the codes lead to in ``Merged``."""


class Merged:
    """Two choices of four codes, three of which lead to the same token; what follows depends on the tokens alone."""

    def __init__(self, beta: float, merged: int) -> None:
        self.world = ToyWorld(2)
        self.policy = self.world.policy = make_policy()
        self.now: list[Episode] = []
        self.agent = LatentAgent(
            self.policy, lambda problems, number: list(self.now), merged=merged,
            tokens_under=lambda states_BD, codes_BM: LEADS_TO[codes_BM],
        )  # fmt: skip
        with torch.no_grad():
            self.start = self.token_log_probs()
            for p in self.policy.parameters():
                p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        self.learner = RLLearner(self.agent, RLConfig("remax", group=1, beta=beta), width=WIDTH)

    def tokens(self, codes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(LEADS_TO[list(codes)].tolist())

    def episode(self, codes: tuple[int, ...]) -> Episode:
        tokens = self.tokens(codes)
        payoff = float(torch.rand((), generator=torch.Generator().manual_seed(2 * tokens[0] + tokens[1])))
        return Episode(0, (0, *tokens), 1, codes, payoff, 0.5, hidden_TD=self.world.hidden(tokens))

    def gradients(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of every sequence of codes (ascent), their probabilities, and the log-probabilities of their tokens."""
        plain = LatentAgent(self.policy, lambda problems, number: [])
        found, weights = [], []
        for codes in itertools.product(range(CODES), repeat=2):
            self.now[:] = [self.episode(codes)]
            weights.append(float(plain.score(self.now).log_probs_NL.detach().sum().exp()))
            for p in self.agent.parameters():
                p.grad = None
            self.learner.accumulate([0], 0, 1)
            found.append(-torch.cat([p.grad.flatten() for p in self.agent.parameters()]))
        return torch.stack(found), torch.tensor(weights), self.token_log_probs()

    def token_log_probs(self) -> torch.Tensor:
        """Of the sequences of two tokens, by adding up codes."""
        rows = []
        for tokens in itertools.product(range(2), repeat=2):
            hidden = self.world.hidden(tokens[:1])[None]
            log_probs = torch.log_softmax(self.policy(hidden)[0], -1)
            parts = [log_probs[i].masked_fill(t != LEADS_TO, -torch.inf).logsumexp(-1) for i, t in enumerate(tokens)]
            rows.append(parts[0] + parts[1])
        return torch.stack(rows)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_codes_that_lead_to_the_same_token_are_one_action(beta):
    """The expected gradient is that of reward and of divergence over tokens, by exact enumeration."""
    toy = Merged(beta, CODES)
    found, weights, log_probs = toy.gradients()
    assert (log_probs - toy.start).abs().max() > 0.1
    first_of = {token: LEADS_TO.tolist().index(token) for token in (0, 1)}
    rewards = torch.tensor(
        [toy.episode((first_of[a], first_of[b])).reward for a, b in itertools.product(range(2), repeat=2)]
    )
    objective = (log_probs.exp() * (rewards - beta * (log_probs - toy.start))).sum()
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(objective, toy.agent.parameters())])
    torch.testing.assert_close((weights[:, None] * found).sum(0), exact, atol=2e-6, rtol=1e-3)


def test_merging_codes_takes_noise_and_leaves_what_is_expected():
    """None merged, the two likeliest, all: the same mean, less and less variance."""
    means, variances = [], []
    for merged in (0, 2, CODES):
        found, weights, _ = Merged(0.0, merged).gradients()
        means.append((weights[:, None] * found).sum(0))
        variances.append(float((weights * (found - means[-1]).square().sum(1)).sum()))
    for mean in means[1:]:
        torch.testing.assert_close(mean, means[0], atol=2e-6, rtol=1e-3)
    assert variances[0] > variances[1] > variances[2]
    assert variances[2] < 0.95 * variances[0]


def test_which_codes_are_merged_does_not_depend_on_the_one_drawn():
    toy = Merged(0.0, 2)
    toy.now[:] = [toy.episode(codes) for codes in itertools.product(range(CODES), repeat=2)]
    toy.agent.score_at_start(toy.now)
    equal = {e.actions[0]: e.equal_LK[0].tolist() for e in toy.now}
    assert len({e.actions for e in toy.now}) == 16
    for code, row in equal.items():
        assert row[code]
        for other, theirs in equal.items():
            assert theirs == row if row[other] else not theirs[code]


def test_improbable_codes_stay_apart_and_are_not_looked_at():
    """All codes lead to the same token; those below a hundredth and those beyond the number asked for do not count."""
    passes: list[tuple[int, ...]] = []

    def tokens_under(states_BD, codes_BM):
        passes.append(tuple(codes_BM.shape))
        return torch.zeros_like(codes_BM)

    agent = LatentAgent(make_policy(), lambda problems, number: [], merged=3)
    likely = [[0.4, 0.3, 0.2, 0.1], [0.97, 0.02, 0.006, 0.004], [0.997, 0.001, 0.001, 0.001], [0.4, 0.3, 0.2, 0.1]]
    episode = Episode(0, (0,) * 5, 1, (0, 1, 0, 3), 0.0)
    codes = torch.tensor(episode.actions)
    agent._find_equal([episode], torch.tensor(likely).log(), torch.zeros(4, WIDTH), codes, tokens_under)
    assert episode.equal_LK.long().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert passes == [(1, 2), (2, 3)]
