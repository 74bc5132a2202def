"""What RL trains: the policy over codes, or (the control) the base over tokens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from colasearch.model.base import BaseModel
from colasearch.model.policy import Policy, sampling_log_probs
from colasearch.training.rl import Episode, Scored
from colasearch.training.tuning import TunableBase, mixed_precision, swapped

Collect = Callable[[Sequence[int], int], list[Episode]]
TokensUnder = Callable[[Tensor, Tensor], Tensor]
"""Tokens ``[B, M]`` that codes ``[B, M]`` lead to at states ``[B, D]``."""
AT_ONCE = 32
"""Episodes whose codes are compared in one pass."""


class LatentAgent:
    """The policy over codes on cached states of the frozen base. Only the policy trains.

    Args:
        policy: Trained in place.
        collect: Rolls out.
        temperature, top_k: Of the sampler; log-probabilities are those of the same truncated distribution.
        base: Whose precision the policy is computed in; None computes in that of the states.
        tokens_under: What codes lead to, for ``merged``.
        merged: So many of the most probable codes at a state are one action wherever they lead to the same token; 0
            leaves every code an action of its own. Which of them was drawn changes nothing that follows, so this takes
            noise from the reward's gradient without changing its expectation (Rao-Blackwell); the divergence becomes
            that of the merged actions.
    """

    def __init__(
        self,
        policy: Policy,
        collect: Collect,
        temperature: float = 1.0,
        top_k: int = 0,
        base: BaseModel | None = None,
        tokens_under: TokensUnder | None = None,
        merged: int = 0,
    ) -> None:
        self.holder: nn.Module = policy
        self.policy, self._collect, self.temperature, self.top_k = policy, collect, temperature, top_k
        self.base, self._tokens_under, self.merged = base, tokens_under, merged
        policy.requires_grad_(True)
        self._start = [p.detach().clone() for p in policy.parameters()]

    def parameters(self) -> list[nn.Parameter]:
        """The policy's."""
        return list(self.policy.parameters())

    def collect(self, problems: Sequence[int], round_number: int) -> list[Episode]:
        """Roll out, and find the codes that are equal there."""
        episodes = self._collect(problems, round_number)
        if self.merged and self._tokens_under is not None:
            for begin in range(0, len(episodes), AT_ONCE):
                self._find_equal(episodes[begin : begin + AT_ONCE], self._tokens_under)
        return episodes

    @torch.no_grad()
    def _find_equal(self, episodes: Sequence[Episode], tokens_under: TokensUnder) -> None:
        """Fill in ``equal_LK``, from the policy as it is now: the one that rolled out."""
        begun = time.perf_counter()
        log_probs_NLK, states_NLD, valid_NL = self._distributions(episodes, self.top_k)
        codes_V = _actions(episodes, log_probs_NLK.device)[valid_NL]
        # The rest, improbable codes, stay apart: which are merged must not depend on which was drawn.
        likely_VM = log_probs_NLK[valid_NL].topk(min(self.merged, log_probs_NLK.shape[-1]), sorted=False).indices
        tokens_VM = tokens_under(states_NLD[valid_NL], likely_VM)
        drawn_VM = likely_VM == codes_V[:, None]
        token_V = tokens_VM.masked_fill(~drawn_VM, -1).amax(-1)
        equal_VK = torch.zeros(len(codes_V), log_probs_NLK.shape[-1], dtype=torch.bool, device=codes_V.device)
        equal_VK.scatter_(1, likely_VM, (tokens_VM == token_V[:, None]) & drawn_VM.any(-1, keepdim=True))
        equal_VK.scatter_(1, codes_V[:, None], True)
        counts = [len(e.actions) for e in episodes]
        seconds = (time.perf_counter() - begun) / len(episodes)
        for episode, equal in zip(episodes, torch.split(equal_VK, counts), strict=True):
            episode.equal_LK = equal
            episode.state_seconds += seconds

    def at_start(self) -> AbstractContextManager[None]:
        """The policy as it was before training."""
        return swapped(self.parameters(), self._start)

    def score(self, episodes: Sequence[Episode], whole: bool = False) -> Scored:
        """Score codes by the policy alone: the base is not run."""
        log_probs, states, valid = self._distributions(episodes, 0 if whole else self.top_k)
        scored = _scored(log_probs, _actions(episodes, log_probs.device), states, valid)
        equal = [e.equal_LK for e in episodes if e.equal_LK is not None]
        if equal:
            equal_NLK = torch.nn.utils.rnn.pad_sequence(equal, batch_first=True, padding_value=True)
            together = log_probs.masked_fill(~equal_NLK, float("-inf")).logsumexp(-1)
            scored.log_probs_NL = together.masked_fill(~valid, 0.0)
        return scored

    def _distributions(self, episodes: Sequence[Episode], top_k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the codes ``[N, L, K]``, states ``[N, L, D]``, and where there is an action."""
        device = self.parameters()[0].device
        states = [e.hidden_TD for e in episodes if e.hidden_TD is not None]
        hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True).to(device)
        # Padding is on the right and attention is causal, so real positions never see it.
        with contextlib.nullcontext() if self.base is None else mixed_precision(self.base):
            scores = self.policy(hidden).float()
        positions, valid = _positions(episodes, device)
        return sampling_log_probs(_at(scores, positions), self.temperature, top_k), _at(hidden, positions), valid


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
