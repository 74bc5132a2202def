"""What RL trains: the policy over codes, or (the control) the base over tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from colasearch.model.base import BaseModel
from colasearch.model.policy import Policy, sampling_log_probs
from colasearch.training.rl import Episode, Scored
from colasearch.training.tuning import TunableBase, mixed_precision, swapped

Collect = Callable[[Sequence[int], int], list[Episode]]


class LatentAgent:
    """The policy over codes on cached states of the frozen base. Only the policy trains.

    Args:
        policy: Trained in place.
        collect: Rolls out.
        temperature, top_k: Of the sampler; log-probabilities are those of the same truncated distribution.
        base: Whose precision the policy is computed in; None computes in that of the states.
    """

    def __init__(
        self,
        policy: Policy,
        collect: Collect,
        temperature: float = 1.0,
        top_k: int = 0,
        base: BaseModel | None = None,
    ) -> None:
        self.holder: nn.Module = policy
        self.policy, self._collect, self.temperature, self.top_k = policy, collect, temperature, top_k
        self.base = base
        policy.requires_grad_(True)
        self._start = [p.detach().clone() for p in policy.parameters()]

    def parameters(self) -> list[nn.Parameter]:
        """The policy's."""
        return list(self.policy.parameters())

    def collect(self, problems: Sequence[int], round_number: int) -> list[Episode]:
        """Roll out."""
        return self._collect(problems, round_number)

    def at_start(self) -> AbstractContextManager[None]:
        """The policy as it was before training."""
        return swapped(self.parameters(), self._start)

    def score(self, episodes: Sequence[Episode], whole: bool = False) -> Scored:
        """Score codes by the policy alone: the base is not run."""
        device = self.parameters()[0].device
        states = [e.hidden_TD for e in episodes if e.hidden_TD is not None]
        hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True).to(device)
        # Padding is on the right and attention is causal, so real positions never see it.
        with contextlib.nullcontext() if self.base is None else mixed_precision(self.base):
            scores = self.policy(hidden).float()
        positions, valid = _positions(episodes, device)
        log_probs = sampling_log_probs(_at(scores, positions), self.temperature, 0 if whole else self.top_k)
        return _scored(log_probs, _actions(episodes, device), _at(hidden, positions), valid)


class TokenAgent:
    """The base over tokens, with some of its weights trainable.

    Args:
        base: The base.
        tunable: Which of its weights train.
        collect: Rolls out.
        temperature, top_k: Of the sampler, as for ``LatentAgent``.
    """

    def __init__(
        self, base: BaseModel, tunable: TunableBase, collect: Collect, temperature: float = 1.0, top_k: int = 0
    ) -> None:
        self.holder = tunable.model
        self.base, self.tunable, self._collect = base, tunable, collect
        self.temperature, self.top_k = temperature, top_k

    def parameters(self) -> list[nn.Parameter]:
        """The base's trainable ones."""
        return self.tunable.parameters()

    def collect(self, problems: Sequence[int], round_number: int) -> list[Episode]:
        """Roll out."""
        return self._collect(problems, round_number)

    def at_start(self) -> AbstractContextManager[None]:
        """The base as it was before training."""
        return self.tunable.at_start()

    def score(self, episodes: Sequence[Episode], whole: bool = False) -> Scored:
        """Score tokens by a pass through the whole base."""
        device = self.base.device
        rows = [torch.tensor(e.tokens) for e in episodes]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        positions, valid = _positions(episodes, device)
        with mixed_precision(self.base):
            states = _at(self.base.hidden(tokens), positions)
            logits = self.base.logits(states)
        log_probs = sampling_log_probs(logits, self.temperature, 0 if whole else self.top_k)
        return _scored(log_probs, _actions(episodes, device), states, valid)


def _positions(episodes: Sequence[Episode], device: torch.device) -> tuple[Tensor, Tensor]:
    """Position ``[N, L]`` of the state before each action, and where there is one."""
    longest = max(len(e.actions) for e in episodes)
    counts = torch.tensor([len(e.actions) for e in episodes], device=device)[:, None]
    first = torch.tensor([e.prompt - 1 for e in episodes], device=device)[:, None]
    steps = torch.arange(longest, device=device)[None]
    valid = steps < counts
    return (first + steps) * valid, valid


def _at(values: Tensor, positions: Tensor) -> Tensor:
    """``values`` ``[N, T, X]`` at ``positions`` ``[N, L]``."""
    return values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))


def _actions(episodes: Sequence[Episode], device: torch.device) -> Tensor:
    rows = [torch.tensor(e.actions, dtype=torch.long) for e in episodes]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)


def _scored(log_probs_NLA: Tensor, actions_NL: Tensor, states_NLD: Tensor, valid_NL: Tensor) -> Scored:
    taken = log_probs_NLA.gather(2, actions_NL[..., None])[..., 0]
    with torch.no_grad():
        finite = log_probs_NLA.masked_fill(log_probs_NLA == float("-inf"), 0.0)
        entropy = -(log_probs_NLA.exp() * finite).sum(-1)
    return Scored(taken.masked_fill(~valid_NL, 0.0), entropy, states_NLD.detach().float(), valid_NL)
