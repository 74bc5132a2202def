"""Double DQN: Q-values of codes from logged rollouts, where no search has backed up returns."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.value import QHead
from colasearch.training.data.corpus import Corpus, Document
from colasearch.training.data.documents import corpus_digest, tokens_digest
from colasearch.training.data.hidden_cache import HiddenStates
from colasearch.training.reinforcement.rl import Episode
from colasearch.training.running.loop import Metrics
from colasearch.training.values.heads import ValueData


@dataclass(frozen=True, slots=True)
class Transitions:
    """N logged steps of rollouts.

    Attributes:
        states_ND, next_ND: Hidden states before and after the step.
        codes_N: Codes taken.
        rewards_N: Rewards of the steps.
        done_N: Nothing follows; ``next_ND`` is not read there.
    """

    states_ND: Tensor
    next_ND: Tensor
    codes_N: Tensor
    rewards_N: Tensor
    done_N: Tensor


def rollout_corpus(episodes: Sequence[Episode]) -> Corpus:
    """The rollouts' tokens as documents, in order."""
    digest = corpus_digest()
    for e in episodes:
        digest.update(tokens_digest(e.tokens))
    return Corpus([Document(e.tokens, e.prompt, e.prompt) for e in episodes], digest.hexdigest())


def transitions(states: HiddenStates, episodes: Sequence[Episode]) -> Transitions:
    """Every step of the rollouts, in order; the reward falls on the last."""
    before, after, rewards, done = [], [], [], []
    for i, e in enumerate(episodes):
        hidden = states.of(i)[e.prompt - 1 :]
        before.append(hidden[:-1])
        after.append(hidden[1:])
        count = len(e.actions)
        rewards += [0.0] * (count - 1) + [e.reward]
        done += [False] * (count - 1) + [True]
    device = states.device
    codes = torch.tensor([code for e in episodes for code in e.actions], device=device)
    return Transitions(
        torch.cat(before),
        torch.cat(after),
        codes,
        torch.tensor(rewards, device=device),
        torch.tensor(done, device=device),
    )


def final_rewards(data: Transitions, episodes: Sequence[Episode]) -> ValueData:
    """Each state of the rollouts with the reward at the end, for the value head (Monte Carlo)."""
    rewards = torch.tensor([e.reward for e in episodes for _ in e.actions], device=data.states_ND.device)
    return ValueData(data.states_ND, rewards, torch.ones_like(rewards))


def scores_to_go(states: HiddenStates, episodes: Sequence[Episode]) -> ValueData:
    """Each state of an environment's episodes in which an action begins, with the score that came after it.

    These are the states that a search over whole actions values.
    """
    found = [states.of(i)[[place for place, _ in e.to_go]] for i, e in enumerate(episodes)]
    scores = torch.tensor([score for e in episodes for _, score in e.to_go], device=states.device)
    return ValueData(torch.cat(found), scores, torch.ones_like(scores))


def returns_of_codes(data: Transitions, episodes: Sequence[Episode], num_codes: int) -> ValueData:
    """Each state of the rollouts with the reward at the end for the code taken, for the Q head (Monte Carlo)."""
    final = final_rewards(data, episodes)
    targets = torch.zeros(len(final.targets), num_codes, device=final.targets.device)
    weights = torch.zeros_like(targets)
    targets.scatter_(1, data.codes_N[:, None], final.targets[:, None])
    weights.scatter_(1, data.codes_N[:, None], 1.0)
    return ValueData(data.states_ND, targets, weights)


class DoubleQ(torch.nn.Module):
    """A Q head and its slowly followed copy; the copy lies in buffers, so that checkpoints keep it."""

    def __init__(self, head: QHead) -> None:
        super().__init__()
        self.online = head
        for name, value in copy.deepcopy(head).state_dict().items():
            self.register_buffer(f"target_{name.replace('.', '_')}", value)

    def _target(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(f"target_{name.replace('.', '_')}") for name in self.online.state_dict()}

    def target(self, states: Tensor) -> Tensor:
        """The copy's values ``[N, K]``."""
        values: Tensor = torch.func.functional_call(self.online, self._target(), (states,))
        return values

    @torch.no_grad()
    def sync(self) -> None:
        """The copy becomes the head as it is."""
        for name, value in self.online.state_dict().items():
            self._target()[name].copy_(value)


class DoubleQLearner:
    """Double DQN on logged transitions (cola-spec section 2.5): offline, no new rollouts.

    y = r + gamma * Qcopy(s', argmax_a Q(s', a)) where something follows, else r; L = mean (Q(s, a) - y)^2. The copy is
    renewed every ``sync_every`` optimiser steps. Discount 1 by default: a Q-value is the expected terminal reward.
    """

    def __init__(self, head: QHead, data: Transitions, discount: float = 1.0, sync_every: int = 50) -> None:
        self.holder = DoubleQ(head.requires_grad_(True))
        self.data, self.discount, self.sync_every = data, discount, sync_every

    def parameters(self) -> list[torch.nn.Parameter]:
        """The Q head's."""
        return list(self.holder.online.parameters())

    def targets(self, rows: Sequence[int]) -> Tensor:
        """Targets y ``[N]`` of some transitions."""
        data, index = self.data, list(rows)
        with torch.no_grad():
            best = self.holder.online(data.next_ND[index]).argmax(-1, keepdim=True)
            after = self.holder.target(data.next_ND[index]).gather(1, best)[:, 0]
            return data.rewards_N[index] + self.discount * after * ~data.done_N[index]

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch of transitions."""
        rows = list(indices)
        taken = self.holder.online(self.data.states_ND[rows]).gather(1, self.data.codes_N[rows, None])[:, 0]
        loss = F.mse_loss(taken, self.targets(rows))
        loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": float(loss.detach()), "q": float(taken.detach().mean())}

    def after_step(self, step: int, optimizer: torch.optim.AdamW) -> None:
        """Renew the copy when it is time."""
        if (step + 1) % self.sync_every == 0:
            self.holder.sync()

    @torch.no_grad()
    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Held-out Bellman error and mean value of the codes taken."""
        rows = list(indices)
        taken = self.holder.online(self.data.states_ND[rows]).gather(1, self.data.codes_N[rows, None])[:, 0]
        return {"td_mse": float(F.mse_loss(taken, self.targets(rows))), "q": float(taken.mean())}
