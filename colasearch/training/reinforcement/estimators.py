"""Policy-gradient estimators as functions of rewards and log-probabilities; they know no models.

The objective is J = E[R] - beta * KL(pi || pi_start), the KL divergence taken over whole action sequences. With
discount 1 and lambda 1 the gradient is E[sum_t grad log pi(a_t) * A_t], where

    A_t = credit_t(R) - beta * sum_{t' >= t} (log pi(a_t') - log pi_start(a_t'))

and the algorithms differ in the credit alone (cola-spec section 2.4; lambda = 1 instead of the published 0.95, which
leaves 0.6 % of the reward at 100 tokens from the end: section 6, defect 9):

* ``rloo``: R minus the mean of the group's other rewards. Unbiased.
* ``remax``: R minus the reward of the greedy rollout. Unbiased.
* ``ppo``: R minus the critic's value of the state (with lambda < 1, the generalised advantage). Unbiased at lambda 1.
* ``grpo``: (R - group mean) / group standard deviation. For rewards of 0 and 1 its expectation is a positive multiple
  of the gradient of E[R], another one for each problem. The deviation is the population's (divisor G): then the mean
  square of a group's credits is 1 at every G, so beta and the learning rate mean the same at every ``--group``. TRL and
  verl take the sample's (divisor G - 1), which makes all credits sqrt((G - 1) / G) of ours, 0.87 at G = 4.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Algorithm = Literal["grpo", "rloo", "remax", "ppo"]
ALGORITHMS: tuple[Algorithm, ...] = ("grpo", "rloo", "remax", "ppo")
STD_FLOOR = 1e-6


def group_credit(algorithm: Algorithm, rewards_N: Tensor, group: int, normalise: bool = True) -> Tensor:
    """Credit ``[N]`` of GRPO or RLOO; each ``group`` consecutive rewards belong to one problem.

    Args:
        algorithm: ``grpo`` or ``rloo``.
        rewards_N: Rewards.
        group: Samples a problem, at least 2.
        normalise: Divide GRPO's credit by the group's (population) standard deviation. A group of equal rewards gets
            zeros.
    """
    rewards = rewards_N.view(-1, group)
    centred = rewards - rewards.mean(1, keepdim=True)
    if algorithm == "rloo":
        # R_i - mean of the others = (R_i - mean of all) * G / (G - 1).
        return (centred * (group / (group - 1))).flatten()
    if normalise:
        spread = rewards.std(1, keepdim=True, correction=0)
        centred = torch.where(spread > STD_FLOOR, centred / spread.clamp_min(STD_FLOOR), torch.zeros_like(centred))
    return centred.flatten()


def generalised_advantages(
    rewards_N: Tensor, values_NL: Tensor, valid_NL: Tensor, discount_lambda: float = 1.0
) -> Tensor:
    """Advantages ``[N, L]`` of a terminal reward under values of the states, discount 1.

    delta_t = V(s_{t+1}) - V(s_t), with R in place of V after the last action; A_t = sum_k lambda^k delta_{t+k}. At
    lambda 1 this is R - V(s_t).
    """
    values = values_NL * valid_NL
    is_last = valid_NL & ~torch.nn.functional.pad(valid_NL[:, 1:], (0, 1))
    after = torch.nn.functional.pad(values[:, 1:], (0, 1))
    delta = torch.where(is_last, rewards_N[:, None] - values, after - values) * valid_NL
    result = torch.zeros_like(delta)
    running = torch.zeros_like(rewards_N)
    for t in reversed(range(delta.shape[1])):
        running = delta[:, t] + discount_lambda * running
        result[:, t] = running
    return result * valid_NL


def kl_to_go(log_probs_NL: Tensor, start_log_probs_NL: Tensor, valid_NL: Tensor) -> Tensor:
    """sum_{t' >= t} (log pi - log pi_start) of the actions taken, ``[N, L]``."""
    ratio = (log_probs_NL - start_log_probs_NL).masked_fill(~valid_NL, 0.0)
    return ratio.flip(1).cumsum(1).flip(1) * valid_NL


def surrogate(
    log_probs_NL: Tensor, old_log_probs_NL: Tensor, advantages_NL: Tensor, valid_NL: Tensor, clip: float
) -> Tensor:
    """Loss ``[N]``: minus the clipped surrogate, summed over an episode's actions.

    -min(r A, clip(r, 1 - clip, 1 + clip) A) with r = pi / pi_old. While pi is still pi_old, its gradient is that of
    -A log pi, so one update a rollout needs no clipping. Sums, not means, over actions: a mean would weigh an action
    less in a longer text.
    """
    log_ratio = (log_probs_NL - old_log_probs_NL).masked_fill(~valid_NL, 0.0)
    ratio = log_ratio.exp()
    gain = torch.minimum(ratio * advantages_NL, ratio.clamp(1 - clip, 1 + clip) * advantages_NL)
    return -(gain * valid_NL).sum(1)
