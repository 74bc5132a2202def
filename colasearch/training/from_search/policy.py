"""The policy learns what search found: cross-entropy with the targets of root and interior nodes.

Codes that start with the same token lead to the same child, and the search gives them one probability. So the loss is
on sums of probabilities: L = -sum_g target_g log sum_{a in g} pi(a), with one group a child and one of all codes
without a child. Within a group the policy keeps its own proportions, which is also what completed Q-values ask of
codes that were not tried.

A tree's nodes are a few of the states that a text passes: inside steps the policy chooses, too, and search says nothing
there. What the policy knew of those states it keeps by ``beta`` times the KL divergence from the policy before to the
policy now, over all states of the documents. That direction makes forgetting any code that was probable expensive.

A policy that learns its own search's targets again and again grows sure of itself, and the next search sees fewer
texts. Three things can be set against that, each off by default: targets at a temperature, targets mixed with the
policy before, and a floor under the entropy of the codes along a text.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentModules, trainable
from colasearch.training.data.corpus import pack
from colasearch.training.data.hidden_cache import HiddenStates
from colasearch.training.from_search.targets import NodeTarget
from colasearch.training.running.loop import Metrics


def group_loss(log_probs_NK: Tensor, groups_NK: Tensor, target_NG: Tensor) -> Tensor:
    """Cross-entropy ``[N]`` of group targets with a policy over codes.

    Args:
        log_probs_NK: Log-probabilities of the codes.
        groups_NK: Number of each code's group, below G.
        target_NG: Target; rows sum to 1. Groups without codes have probability 0.
    """
    sums = torch.zeros_like(target_NG).scatter_add(1, groups_NK, log_probs_NK.exp())
    return -(target_NG * sums.clamp_min(1e-20).log()).sum(-1)


@dataclass(frozen=True, slots=True)
class SearchPolicyConfig:
    """How a policy learns from search.

    Attributes:
        min_visits: Nodes visited less are left out: their targets hardly differ from the prior.
        beta: Weight of the divergence from the policy before.
        target_temperature: Targets are raised to one over this, and add up to 1 again: above 1 they are less sharp.
        prior_mix: Share of the policy before in the targets.
        entropy_floor: Least mean entropy of the codes along a text, in nats: what a text lacks is added to the loss.
    """

    min_visits: int = 2
    beta: float = 0.0
    target_temperature: float = 1.0
    prior_mix: float = 0.0
    entropy_floor: float = 0.0

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        if not self.beta >= 0:
            raise InputError(f"beta is {self.beta}; it must be at least 0")
        if not self.target_temperature > 0 or not 0 <= self.prior_mix < 1 or not self.entropy_floor >= 0:
            raise InputError(
                f"target_temperature is {self.target_temperature}, prior_mix {self.prior_mix}, entropy_floor "
                f"{self.entropy_floor}; they must be above 0, in [0, 1) and at least 0"
            )


class SearchPolicyLearner:
    """Trains the policy, and nothing else, on the targets of search nodes.

    Args:
        modules: Their policy is trained; what it is now is the policy before.
        states: Hidden states of the traces' documents.
        nodes: Targets.
        config: How.
        micro_tokens: Padded tokens in one pass.

    Raises:
        InputError: No node is left, or a number is out of range.
    """

    def __init__(
        self,
        modules: LatentModules,
        states: HiddenStates,
        nodes: Sequence[NodeTarget],
        config: SearchPolicyConfig | None = None,
        micro_tokens: int = 8192,
    ) -> None:
        self.config = config or SearchPolicyConfig()
        self.config.check()
        self.modules, self.states, self.micro_tokens = modules, states, micro_tokens
        min_visits = self.config.min_visits
        # A copy that is never saved: a resumed run finds the policy before in the model it started from.
        self.before: nn.Module = copy.deepcopy(modules.policy).requires_grad_(False)
        self.by_document: dict[int, list[NodeTarget]] = {}
        for node in nodes:
            if node.children and node.visits >= min_visits:
                self.by_document.setdefault(node.document, []).append(node)
        if not self.by_document:
            raise InputError(
                f"none of {len(nodes)} nodes was visited {min_visits} times and has children; search with more "
                "simulations, or lower --min-visits"
            )

    def parameters(self) -> list[torch.nn.Parameter]:
        """The policy's."""
        return list(trainable(self.modules, "policy"))

    def _losses(self, documents: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cross-entropy and entropy of the target, ``[N]``, of the nodes of some documents.

        Third the divergence from the policy before at each of their states from the prompt's last on, ``[S]``, and
        fourth what each document's mean entropy lacks to the floor, ``[B]``.
        """
        nodes = [(row, node) for row, i in enumerate(documents) for node in self.by_document[i]]
        size = self.modules.config.num_codes
        groups, targets = torch.zeros(len(nodes), size, dtype=torch.long), torch.zeros(len(nodes), size + 1)
        for at, (_, node) in enumerate(nodes):
            for number, child in enumerate(node.children, 1):
                groups[at, list(child.codes)] = number
                targets[at, number] = child.target
            if bool((groups[at] == 0).any()):
                targets[at, 0] = max(0.0, 1.0 - float(targets[at].sum()))
        hidden = self.states.batch(documents).hidden_BTD
        now = torch.log_softmax(self.modules.policy(hidden).float(), -1)
        with torch.no_grad():
            before = torch.log_softmax(self.before(hidden).float(), -1)
        rows = torch.tensor([row for row, _ in nodes], device=now.device)
        positions = torch.tensor([node.position for _, node in nodes], device=now.device)
        groups, targets = groups.to(now.device), self._softened(targets.to(now.device))
        if self.config.prior_mix:
            prior = torch.zeros_like(targets).scatter_add(1, groups, before[rows, positions].exp())
            targets = (1 - self.config.prior_mix) * targets + self.config.prior_mix * prior
        entropy = -(targets * targets.clamp_min(1e-12).log()).sum(-1)
        inside = self._inside(documents, now)
        drift = (before.exp() * (before - now)).sum(-1)[inside]
        means = ((-(now.exp() * now).sum(-1)) * inside).sum(-1) / inside.sum(-1)
        lacks = (self.config.entropy_floor - means).clamp_min(0)
        return group_loss(now[rows, positions], groups, targets), entropy, drift, lacks

    def _softened(self, targets_NG: Tensor) -> Tensor:
        """Rows that add up to 1, at the temperature of the targets."""
        if self.config.target_temperature != 1:
            targets_NG = targets_NG.pow(1 / self.config.target_temperature)
        return targets_NG / targets_NG.sum(-1, keepdim=True).clamp_min(1e-9)

    def _inside(self, documents: Sequence[int], scores_BTK: Tensor) -> Tensor:
        """``[B, T]``: the states in which a text's tokens are chosen."""
        inside = torch.zeros(scores_BTK.shape[:2], dtype=torch.bool, device=scores_BTK.device)
        for row, i in enumerate(documents):
            document = self.states.documents[i]
            inside[row, document.prompt - 1 : len(document.tokens)] = True
        return inside

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch of documents.

        ``kl`` is the divergence from target to policy, ``drift`` that from the policy before, ``lacking`` what the
        codes' entropy lacks to the floor: means in nats.
        """
        total = sum(len(self.by_document[i]) for i in indices)
        states = sum(self._texts(i) for i in indices)
        sums = {"ce": 0.0, "kl": 0.0, "drift": 0.0, **({"lacking": 0.0} if self.config.entropy_floor else {})}
        device = self.states.device.type
        for micro in pack(self.states.documents, indices, self.micro_tokens):
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                losses, entropy, drift, lacks = self._losses(micro)
            loss = losses.sum() / total + self.config.beta * drift.sum() / states + lacks.sum() / len(indices)
            loss.backward()  # type: ignore[no-untyped-call]
            sums["ce"] += float(losses.detach().sum()) / total
            sums["kl"] += float((losses.detach() - entropy).sum()) / total
            sums["drift"] += float(drift.detach().sum()) / states
            if self.config.entropy_floor:
                sums["lacking"] += float(lacks.detach().sum()) / len(indices)
        return sums

    def _texts(self, index: int) -> int:
        """States of a document in which a token of its text is chosen."""
        document = self.states.documents[index]
        return len(document.tokens) - document.prompt + 1

    @torch.no_grad()
    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Held-out cross-entropy and divergences as in ``accumulate``, and the number of nodes."""
        sums, total, drifted, states = {"ce": 0.0, "kl": 0.0}, 0, 0.0, 0
        for micro in pack(self.states.documents, indices, self.micro_tokens):
            losses, entropy, drift, _ = self._losses(micro)
            sums["ce"] += float(losses.sum())
            sums["kl"] += float((losses - entropy).sum())
            total += len(losses)
            drifted, states = drifted + float(drift.sum()), states + len(drift)
        means = {key: value / max(1, total) for key, value in sums.items()}
        return {**means, "drift": drifted / max(1, states), "nodes": float(total)}
