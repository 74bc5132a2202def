"""Reinforcement learning of a policy by rollouts and a terminal reward: GRPO, RLOO, ReMax, PPO (cola-spec 2.4).

The learner knows neither codes nor tokens. An ``Agent`` brings rollouts and scores their actions: ``LatentAgent``
(codes, the policy trains) or ``TokenAgent`` (tokens, the base trains: the control). Rollouts depend on the weights, the
seed and the step alone, so a resumed run walks the same curve.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from colasearch.errors import InputError
from colasearch.model.value import ValueHead
from colasearch.training.reinforcement.estimators import (
    ALGORITHMS,
    Algorithm,
    generalised_advantages,
    group_credit,
    kl_to_go,
    surrogate,
)
from colasearch.training.running.loop import Metrics


@dataclass(slots=True)
class Episode:
    """One rollout.

    Attributes:
        problem: Index of its problem.
        tokens: Prompt and text.
        prompt: How many of them are prompt.
        actions: Codes or tokens chosen, one for each token of the text that the model wrote.
        reward: Terminal reward, in [0, 1]; of an environment the score of the episode, whatever that may be.
        greedy_reward: Reward of the problem's greedy rollout (ReMax).
        ended: The text is finished, rather than cut off.
        hidden_TD: The frozen base's states of ``tokens``, cached once; None where the base trains.
        form: Whether the text is well-formed, 0 or 1; None where nobody asked.
        parts: What several rewards said of the text, by name; ``missing`` is 1 where one said nothing.
        state_seconds: Its share of the time that ``hidden_TD`` took.
        equal_LK: True at the codes that count as the one chosen, itself among them; None where each counts alone, or
            nobody has looked yet.
        kept_LM: Under truncation, the codes or tokens among which the sampler drew each action (repeats mean nothing);
            None without, or where it did not say.
        where: Place of the token after which each action was taken, where others than the model wrote parts of the
            text; empty: all behind the prompt is the model's. Only these places have log-probabilities, losses and KL.
        to_go: Places at which more is known than the reward at the end, each with the score that came after it.
        measures: What else is known of it, by name; means are logged.
    """

    problem: int
    tokens: tuple[int, ...]
    prompt: int
    actions: tuple[int, ...]
    reward: float
    greedy_reward: float = 0.0
    ended: bool = True
    hidden_TD: Tensor | None = None
    form: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    state_seconds: float = 0.0
    equal_LK: Tensor | None = None
    kept_LM: Tensor | None = None
    where: tuple[int, ...] = ()
    to_go: tuple[tuple[int, float], ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def places(self) -> Sequence[int]:
        """Place of the token after which each action was taken."""
        return self.where or range(self.prompt - 1, self.prompt - 1 + len(self.actions))


def part_means(episodes: Sequence[Episode]) -> Metrics:
    """Mean of each part of the rewards as ``reward/NAME``, and of each measure, over the episodes that have it."""
    found: dict[str, list[float]] = {}
    for episode in episodes:
        for name, value in (*((f"reward/{part}", v) for part, v in episode.parts.items()), *episode.measures.items()):
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


@dataclass(slots=True)
class Scored:
    """What an agent says of N episodes, padded on the right to the longest.

    Attributes:
        log_probs_NL: Of the actions taken, under exactly the distribution that sampling draws from.
        entropy_NL: Of that distribution; of codes with gradient.
        states_NLD: The base's states before each action, without gradient.
        valid_NL: True where there is an action.
    """

    log_probs_NL: Tensor
    entropy_NL: Tensor
    states_NLD: Tensor
    valid_NL: Tensor


class Agent(Protocol):
    """A policy that can be rolled out, scored and trained."""

    holder: nn.Module

    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        ...

    def collect(self, problems: Sequence[int], round_number: int) -> list[Episode]:
        """``group`` episodes for each problem, in order."""
        ...

    def score_at_start(self, episodes: Sequence[Episode]) -> Tensor:
        """Log-probabilities ``[N, L]`` of the actions under the policy as it was before training; asked first.

        Among what the sampler kept, as ``score``: so the divergence is that of two distributions over the same actions,
        and finite. Truncated by itself, the policy before training could give a sampled action no probability.
        """
        ...

    def score(self, episodes: Sequence[Episode]) -> Scored:
        """Score the episodes' actions under the policy as it is."""
        ...


@dataclass(frozen=True, slots=True)
class RLConfig:
    """Settings of RL.

    Attributes:
        algorithm: ``grpo``, ``rloo``, ``remax`` or ``ppo``.
        group: Rollouts a problem.
        beta: Weight of the KL divergence to the policy before training.
        updates: Optimiser steps on each round of rollouts.
        clip: PPO's clip of the probability ratio; acts from the second update on.
        normalise: Divide GRPO's credit by the group's standard deviation.
        gae_lambda: Of PPO's advantages.
        value_weight: Weight of PPO's critic loss.
        entropy_floor: Least mean entropy of the actions along a text, in nats: what a text lacks is added to the loss,
            once for each of its actions, which is how credit counts there. Of codes only.
        micro_tokens: Padded tokens in one pass.
    """

    algorithm: Algorithm = "grpo"
    group: int = 4
    beta: float = 1e-3
    updates: int = 1
    clip: float = 0.2
    normalise: bool = True
    gae_lambda: float = 1.0
    value_weight: float = 1.0
    entropy_floor: float = 0.0
    micro_tokens: int = 8192

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        if self.algorithm not in ALGORITHMS:
            raise InputError(f"unknown algorithm {self.algorithm!r}; use one of {', '.join(ALGORITHMS)}")
        least = 2 if self.algorithm in ("grpo", "rloo") else 1
        if self.group < least:
            raise InputError(
                f"group is {self.group}, but {self.algorithm} compares rollouts of one problem with each other; "
                f"give at least {least}"
            )
        if self.beta < 0 or self.updates < 1 or not 0 <= self.gae_lambda <= 1:
            raise InputError(
                f"beta is {self.beta}, updates {self.updates}, lambda {self.gae_lambda}; they must be >= 0, >= 1 and "
                "in [0, 1]"
            )
        if not self.entropy_floor >= 0:
            raise InputError(f"entropy_floor is {self.entropy_floor}; it must be at least 0")


@dataclass(slots=True)
class _Round:
    """Episodes of one round with what the updates on them need.

    The first update fills in ``old_NL`` and ``advantages_NL``: what it scores is the policy that rolled out, so that
    takes no pass of its own.
    """

    episodes: list[Episode]
    start_NL: Tensor
    credit_N: Tensor | None  # None: PPO's, which the critic gives
    returns_N: Tensor
    old_NL: Tensor
    advantages_NL: Tensor
    kl_N: Tensor
    metrics: Metrics


class RLLearner:
    """Rolls out, credits actions and accumulates gradients."""

    def __init__(self, agent: Agent, config: RLConfig, width: int = 0, seed: int = 0) -> None:
        config.check()
        self.agent, self.config = agent, config
        self.critic: ValueHead | None = None
        self.holder = nn.ModuleDict({"agent": agent.holder})
        if config.algorithm == "ppo":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.critic = ValueHead(width, 64)
            self.critic.to(agent.parameters()[0].device)
            self.holder["critic"] = self.critic
        self._round: _Round | None = None
        self._metrics: Metrics = {}
        self._begun = 0.0

    def parameters(self) -> list[nn.Parameter]:
        """What trains: the agent's parameters, and PPO's critic."""
        return [*self.agent.parameters(), *self.critic_parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """PPO's critic alone."""
        return list(self.critic.parameters()) if self.critic is not None else []

    def accumulate(self, problems: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one update; the first update of a round rolls out ``problems``.

        ``update_seconds`` is the time of everything but the rollouts. The pass for the frozen base's states of the
        prompts is part of it: where the base trains, every update has that pass within.
        """
        self._begun = time.perf_counter()
        rollout_seconds = 0.0
        fresh = step % self.config.updates == 0 or self._round is None
        if fresh:
            episodes = self.agent.collect(problems, step // self.config.updates)
            states = sum(e.state_seconds for e in episodes)
            rollout_seconds = time.perf_counter() - self._begun - states
            self._begun += rollout_seconds
            self._round = self._begin(episodes)
        assert self._round is not None
        this = self._round
        count = len(this.episodes)
        sums = dict.fromkeys(("loss", "entropy", "clipped", "value_loss"), 0.0)
        actions = 0
        for rows in self._micro(this.episodes):
            scored = self.agent.score([this.episodes[i] for i in rows])
            if fresh:
                self._credit(this, rows, scored)
            length = scored.valid_NL.shape[1]
            old, advantages = this.old_NL[rows, :length], this.advantages_NL[rows, :length]
            loss = surrogate(scored.log_probs_NL, old, advantages, scored.valid_NL, self.config.clip).sum() / count
            if self.config.entropy_floor:
                loss = loss + lacking(scored, self.config.entropy_floor).sum() / count
            sums["loss"] += float(loss.detach())
            if self.critic is not None:
                errors = (self.critic(scored.states_NLD) - this.returns_N[rows, None])[scored.valid_NL]
                value_loss = errors.square().sum() / sum(len(e.actions) for e in this.episodes)
                sums["value_loss"] += float(value_loss.detach())
                loss = loss + self.config.value_weight * value_loss
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                ratio = (scored.log_probs_NL - old)[scored.valid_NL].exp()
                sums["clipped"] += float(((ratio - 1).abs() > self.config.clip).sum())
                sums["entropy"] += float(scored.entropy_NL[scored.valid_NL].sum())
                actions += int(scored.valid_NL.sum())
        for key in ("clipped", "entropy"):
            sums[key] /= max(1, actions)
        if self.critic is None:
            del sums["value_loss"]
        if fresh:
            this.metrics["kl"] = float(this.kl_N.mean())
            this.metrics["nats"] = -float(this.old_NL.sum()) / actions
        times = {"rollout_seconds": rollout_seconds, "update_seconds": time.perf_counter() - self._begun}
        self._metrics = {**this.metrics, **sums, **times}
        return self._metrics

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """The optimiser's step belongs to the update's time: ``loop.fit`` calls this before it logs the metrics."""
        self._metrics["update_seconds"] = time.perf_counter() - self._begun

    @torch.no_grad()
    def _begin(self, episodes: list[Episode]) -> _Round:
        config = self.config
        device = self.agent.parameters()[0].device
        count, longest = len(episodes), max(len(e.actions) for e in episodes)
        start, old, advantages = (torch.zeros(count, longest, device=device) for _ in range(3))
        for rows in self._micro(episodes):
            found = self.agent.score_at_start([episodes[i] for i in rows])
            start[rows, : found.shape[1]] = found
        rewards = torch.tensor([e.reward for e in episodes], device=device)
        credit: Tensor | None = None
        if config.algorithm == "remax":
            credit = rewards - torch.tensor([e.greedy_reward for e in episodes], device=device)
        elif config.algorithm != "ppo":
            credit = group_credit(config.algorithm, rewards, config.group, config.normalise)
        metrics = {
            "reward": float(rewards.mean()),
            "length": sum(len(e.actions) for e in episodes) / count,
            "ended": sum(e.ended for e in episodes) / count,
            "actions_used": float(len({a for e in episodes for a in e.actions})),
        }
        metrics |= part_means(episodes)
        forms = [e.form for e in episodes if e.form is not None]
        if forms:
            metrics["format"] = sum(forms) / len(forms)
        return _Round(episodes, start, credit, rewards, old, advantages, torch.zeros_like(rewards), metrics)

    @torch.no_grad()
    def _credit(self, this: _Round, rows: list[int], scored: Scored) -> None:
        """Fill in what the episodes ``rows`` are worth, from their scores under the policy that rolled them out."""
        length = scored.valid_NL.shape[1]
        kl = kl_to_go(scored.log_probs_NL, this.start_NL[rows, :length], scored.valid_NL)
        if this.credit_N is not None:
            credit = this.credit_N[rows, None]
        else:
            assert self.critic is not None
            values = self.critic(scored.states_NLD)
            credit = generalised_advantages(this.returns_N[rows], values, scored.valid_NL, self.config.gae_lambda)
        this.old_NL[rows, :length] = scored.log_probs_NL
        this.advantages_NL[rows, :length] = (credit - self.config.beta * kl) * scored.valid_NL
        this.kl_N[rows] = kl[:, 0]

    def _micro(self, episodes: Sequence[Episode]) -> Iterator[list[int]]:
        """Indices of episodes of like length whose padded size is at most ``micro_tokens``."""
        order = sorted(range(len(episodes)), key=lambda i: (len(episodes[i].tokens), i))
        rows: list[int] = []
        for i in order:
            if rows and len(episodes[i].tokens) * (len(rows) + 1) > self.config.micro_tokens:
                yield rows
                rows = []
            rows.append(i)
        if rows:
            yield rows


def lacking(scored: Scored, floor: float) -> Tensor:
    """What each episode's entropy lacks to ``floor`` nats an action, summed over its actions, ``[N]``."""
    entropy_N = (scored.entropy_NL * scored.valid_NL).sum(-1)
    return (floor * scored.valid_NL.sum(-1) - entropy_N).clamp_min(0)


def rounds(problems: int, batch: int, updates: int, seed: int) -> Callable[[int], list[list[int]]]:
    """An epoch's plan for ``loop.fit``: every problem once, ``batch`` a round, each round ``updates`` times."""

    def plan(epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 62))
        order = torch.randperm(problems, generator=generator).tolist()
        groups = [order[begin : begin + batch] for begin in range(0, problems, batch)]
        return [group for group in groups for _ in range(updates)]

    return plan
