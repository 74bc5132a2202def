"""What RL trains: the policy over codes, or (the control) the base over tokens."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from colasearch.model.base import BaseModel
from colasearch.model.policy import Policy, sampling_log_probs
from colasearch.training.base.tuning import TunableBase, mixed_precision, swapped
from colasearch.training.reinforcement.rl import Episode, Scored

Collect = Callable[[Sequence[int], int], list[Episode]]
TokensUnder = Callable[[Tensor, Tensor], Tensor]
"""Tokens ``[B, M]`` that codes ``[B, M]`` lead to at states ``[B, D]``."""
LIKELY = 0.01
"""Codes that are less probable are not merged: they are hardly ever drawn, so it would take no noise away."""


class LatentAgent:
    """The policy over codes on cached states of the frozen base. Only the policy trains.

    Args:
        policy: Trained in place.
        collect: Rolls out.
        temperature, top_k: Of the sampler; log-probabilities are those of the same truncated distribution, over the
            codes that the sampler kept: in bfloat16 it rounds otherwise than a pass over the whole text, whose top k
            may lack a code that was drawn.
        base: Whose precision the policy is computed in; None computes in that of the states.
        tokens_under: What codes lead to, for ``merged``.
        merged: So many of the codes that are most probable at a state before training, ``LIKELY`` at least, are one
            action wherever they lead to the same token; 0 leaves every code an action of its own. Which of them was
            drawn changes nothing that follows, so this takes noise from the reward's gradient without changing its
            expectation (Rao-Blackwell); the divergence becomes that of the merged actions.
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
        """Roll out."""
        return self._collect(problems, round_number)

    @torch.no_grad()
    def score_at_start(self, episodes: Sequence[Episode]) -> Tensor:
        """Score codes by the policy as it was, which also says which are likely enough to be merged."""
        self._find_kept(episodes)
        with swapped(self.parameters(), self._start):
            log_probs, states, valid = self._distributions(episodes)
        actions = _actions(episodes, log_probs.device)
        if self.merged and self._tokens_under is not None:
            self._find_equal(episodes, log_probs[valid], states[valid], actions[valid], self._tokens_under)
        return _taken(log_probs, actions, valid, episodes)

    def _find_equal(
        self,
        episodes: Sequence[Episode],
        log_probs_VK: Tensor,
        states_VD: Tensor,
        codes_V: Tensor,
        tokens_under: TokensUnder,
    ) -> None:
        """Fill in ``equal_LK``."""
        # The rest, improbable codes, stay apart: which are merged must not depend on which was drawn.
        likely_VM, tokens_VM = self._likely_tokens(log_probs_VK, states_VD, tokens_under)
        drawn_VM = likely_VM == codes_V[:, None]
        token_V = (tokens_VM * drawn_VM).sum(-1)
        equal_VK = torch.zeros_like(log_probs_VK, dtype=torch.bool)
        equal_VK.scatter_(1, likely_VM, (tokens_VM == token_V[:, None]) & drawn_VM.any(-1, keepdim=True))
        equal_VK.scatter_(1, codes_V[:, None], True)
        for episode, equal in zip(episodes, torch.split(equal_VK, [len(e.actions) for e in episodes]), strict=True):
            episode.equal_LK = equal

    def _likely_tokens(
        self, log_probs_VK: Tensor, states_VD: Tensor, tokens_under: TokensUnder
    ) -> tuple[Tensor, Tensor]:
        """The likely codes ``[V, M]``, and the tokens they lead to; a code that stays apart has a number of its own."""
        likely = log_probs_VK.topk(min(self.merged, log_probs_VK.shape[-1]))
        alone = -2 - torch.arange(likely.indices.shape[1], device=states_VD.device)
        tokens_VM = alone.expand_as(likely.indices).clone()
        counts_V = (likely.values >= math.log(LIKELY)).sum(-1)
        for count in range(2, likely.indices.shape[1] + 1):  # states of equally many together: no work for the rest
            rows = (counts_V == count).nonzero()[:, 0]
            if len(rows):
                tokens_VM[rows, :count] = tokens_under(states_VD[rows], likely.indices[rows, :count])
        return likely.indices, tokens_VM

    def score(self, episodes: Sequence[Episode]) -> Scored:
        """Score codes by the policy alone: the base is not run."""
        self._find_kept(episodes)
        log_probs, states, valid = self._distributions(episodes)
        taken = _taken(log_probs, _actions(episodes, log_probs.device), valid, episodes)
        return Scored(taken, _entropy(log_probs), states.detach().float(), valid)

    def _find_kept(self, episodes: Sequence[Episode]) -> None:
        if _lack_kept(episodes, self.top_k):
            with torch.no_grad():
                _keep(episodes, self._distributions(episodes)[0], self.top_k)

    def _distributions(self, episodes: Sequence[Episode]) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the codes ``[N, L, K]``, states ``[N, L, D]``, and where there is an action."""
        device = self.parameters()[0].device
        states = [e.hidden_TD for e in episodes if e.hidden_TD is not None]
        hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True).to(device)
        # Padding is on the right and attention is causal, so real positions never see it.
        with contextlib.nullcontext() if self.base is None else mixed_precision(self.base):
            scores = self.policy(hidden).float()
        positions, valid = _positions(episodes, device)
        kept = _kept(episodes, valid, scores.shape[-1])
        log_probs = sampling_log_probs(_at(scores, positions), self.temperature, kept=kept)
        return log_probs, _at(hidden, positions), valid


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

    @torch.no_grad()
    def score_at_start(self, episodes: Sequence[Episode]) -> Tensor:
        """Score tokens by a pass through the base as it was."""
        self._find_kept(episodes)
        with self.tunable.at_start():
            log_probs, _, valid = self._distributions(episodes)
        return _taken(log_probs, _actions(episodes, self.base.device), valid)

    def score(self, episodes: Sequence[Episode]) -> Scored:
        """Score tokens by a pass through the whole base."""
        self._find_kept(episodes)
        log_probs, states, valid = self._distributions(episodes)
        taken = _taken(log_probs, _actions(episodes, self.base.device), valid)
        with torch.no_grad():  # over a vocabulary, its gradient would take the memory of another pass
            entropy = _entropy(log_probs)
        return Scored(taken, entropy, states.detach().float(), valid)

    def _find_kept(self, episodes: Sequence[Episode]) -> None:
        if _lack_kept(episodes, self.top_k):
            with torch.no_grad():
                _keep(episodes, self._distributions(episodes)[0], self.top_k)

    def _distributions(self, episodes: Sequence[Episode]) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the tokens ``[N, L, V]``, states ``[N, L, D]``, and where there is an action."""
        device = self.base.device
        rows = [torch.tensor(e.tokens) for e in episodes]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        positions, valid = _positions(episodes, device)
        with mixed_precision(self.base):
            states = _at(self.base.hidden(tokens), positions)
            logits = self.base.logits(states)
        kept = _kept(episodes, valid, logits.shape[-1])
        return sampling_log_probs(logits, self.temperature, kept=kept), states, valid


def _positions(episodes: Sequence[Episode], device: torch.device) -> tuple[Tensor, Tensor]:
    """Position ``[N, L]`` of the state before each action, and where there is one."""
    places = torch.nn.utils.rnn.pad_sequence([torch.tensor(e.places) for e in episodes], batch_first=True)
    counts = torch.tensor([len(e.actions) for e in episodes], device=device)[:, None]
    valid = torch.arange(places.shape[1], device=device)[None] < counts
    return places.to(device), valid


def _lack_kept(episodes: Sequence[Episode], top_k: int) -> bool:
    return bool(top_k) and any(e.kept_LM is None for e in episodes)


def _keep(episodes: Sequence[Episode], log_probs_NLA: Tensor, top_k: int) -> None:
    """Fill in ``kept_LM`` where the sampler did not say: the top k of the policy that samples, and what was drawn."""
    best = log_probs_NLA.topk(min(top_k, log_probs_NLA.shape[-1])).indices
    for episode, top_LM in zip(episodes, best, strict=True):
        if episode.kept_LM is None:
            drawn = torch.tensor(episode.actions, device=top_LM.device)[:, None]
            episode.kept_LM = torch.cat([top_LM[: len(episode.actions)], drawn], 1)


def _kept(episodes: Sequence[Episode], valid_NL: Tensor, size: int) -> Tensor | None:
    """``[N, L, size]``, true at the actions that the sampler kept; None where it kept all."""
    known = [e.kept_LM for e in episodes if e.kept_LM is not None]
    if len(known) < len(episodes):
        return None
    kept = (~valid_NL)[..., None].repeat(1, 1, size)
    for row, index_LM in zip(kept, known, strict=True):
        row[: len(index_LM)].scatter_(1, index_LM.to(row.device, torch.long), True)
    return kept


def _at(values: Tensor, positions: Tensor) -> Tensor:
    """``values`` ``[N, T, X]`` at ``positions`` ``[N, L]``."""
    return values.gather(1, positions[..., None].expand(-1, -1, values.shape[-1]))


def _actions(episodes: Sequence[Episode], device: torch.device) -> Tensor:
    rows = [torch.tensor(e.actions, dtype=torch.long) for e in episodes]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)


def _taken(log_probs_NLA: Tensor, actions_NL: Tensor, valid_NL: Tensor, merging: Sequence[Episode] = ()) -> Tensor:
    """Log-probabilities ``[N, L]`` of the actions taken; of all that count as one where ``merging`` says which do."""
    equal = [e.equal_LK for e in merging if e.equal_LK is not None]
    if equal:
        equal_NLA = torch.nn.utils.rnn.pad_sequence(equal, batch_first=True, padding_value=True)
        taken = log_probs_NLA.masked_fill(~equal_NLA, float("-inf")).logsumexp(-1)
    else:
        taken = log_probs_NLA.gather(2, actions_NL[..., None])[..., 0]
    return taken.masked_fill(~valid_NL, 0.0)


def _entropy(log_probs_NLA: Tensor) -> Tensor:
    """``[N, L]``, in nats; actions without probability count nothing."""
    finite = log_probs_NLA.masked_fill(log_probs_NLA == float("-inf"), 0.0)
    return -(log_probs_NLA.exp() * finite).sum(-1)
