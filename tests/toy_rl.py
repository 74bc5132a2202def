"""A world small enough for RL to solve, and a small policy for it."""

from __future__ import annotations

import functools

import torch

from colasearch.model.config import BaseIdentity, LatentConfig
from colasearch.model.policy import Policy, sample_codes, sampling_log_probs
from colasearch.training.reinforcement.rl import Episode

WIDTH, CODES = 16, 4
GOAL = (2, 0, 3)


def make_policy(seed: int = 0) -> Policy:
    config = LatentConfig(
        BaseIdentity("toy"), WIDTH, 8, num_codes=CODES, num_heads=2, num_kv_heads=2, head_dim=8, policy_layers=1,
        policy_ffn=16,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Policy(config)


class ToyWorld:
    """Choose ``steps`` codes; the state after each is a fixed random vector of the codes so far.

    With one step it is a bandit whose arms pay 0.2, 0.4, 0.9 and 0.6; with three, a decision process that pays 1 for
    one sequence of 64, 0.4 for its first two codes and 0.1 for the first: credit has to reach the first choice.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.policy: Policy | None = None
        self.seed = 0

    @staticmethod
    @functools.cache
    def vector(codes: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(sum((c + 1) * 5**i for i, c in enumerate(codes)))
        return torch.randn(WIDTH, generator=generator)

    def reward(self, codes: tuple[int, ...]) -> float:
        if self.steps == 1:
            return (0.2, 0.4, 0.9, 0.6)[codes[0]]
        right = next((i for i, (a, b) in enumerate(zip(codes, GOAL, strict=True)) if a != b), 3)
        return (0.0, 0.1, 0.4, 1.0)[right]

    @staticmethod
    @functools.cache
    def hidden(codes: tuple[int, ...]) -> torch.Tensor:
        """The states after each code, from the one before the first."""
        return torch.stack([ToyWorld.vector(codes[:i]) for i in range(len(codes) + 1)])

    @torch.no_grad()
    def play(self, uniforms_NS: torch.Tensor, temperature: float = 1.0, top_k: int = 0) -> list[tuple[int, ...]]:
        """Codes of each row of random numbers."""
        played: list[tuple[int, ...]] = [()] * len(uniforms_NS)
        for uniforms_N in uniforms_NS.T:
            scores = self.policy(torch.stack([self.hidden(codes) for codes in played]))[:, -1]
            drawn = sample_codes(sampling_log_probs(scores, temperature, top_k), uniforms_N)
            played = [(*codes, code) for codes, code in zip(played, drawn.tolist(), strict=True)]
        return played

    @torch.no_grad()
    def greedy(self) -> tuple[int, ...]:
        codes: tuple[int, ...] = ()
        for _ in range(self.steps):
            codes = (*codes, int(self.policy(self.hidden(codes)[None])[0, -1].argmax()))
        return codes

    def collect(self, group: int, temperature: float = 1.0, top_k: int = 0):
        def run(problems, round_number: int) -> list[Episode]:
            greedy = self.reward(self.greedy())
            seeds = [self.seed * 10**6 + round_number * 1000 + problem for problem in problems]
            uniforms = [torch.rand(group, self.steps, generator=torch.Generator().manual_seed(s)) for s in seeds]
            played = self.play(torch.cat(uniforms), temperature, top_k)
            episodes = []
            for i, codes in enumerate(played):
                given = (problems[i // group], (0, *codes), 1, codes, self.reward(codes), greedy)
                episodes.append(Episode(*given, hidden_TD=self.hidden(codes)))
            return episodes

        return run
