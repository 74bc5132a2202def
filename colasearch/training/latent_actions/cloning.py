"""Stage 2: the policy learns to predict the IDM's codes (behaviour cloning; cola-spec section 2.2).

L = CE(pi(. | x_1..x_t), argmax IDM(x_1..x_{t+1})), with only the policy's parameters trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentModules, trainable
from colasearch.training.base.tuning import mixed_precision
from colasearch.training.data.corpus import pack
from colasearch.training.data.hidden_cache import States, padded
from colasearch.training.running.loop import Metrics
from colasearch.training.running.ranks import ALONE, Ranks


class PolicyCloner:
    """Accumulates stage-2 gradients.

    Args:
        modules: Their policy is trained.
        states: Hidden states that the policy reads.
        micro_tokens: Padded tokens in one pass.
        codes: Each document's codes ``[T-1]``, where they come from elsewhere: after the base was tuned the IDM still
            reads the frozen base's states (cola-spec section 6, defect 15).
        base: Whose precision the passes are computed in; None: half precision on CUDA alone.
        ranks: The processes that share each batch.
    """

    def __init__(
        self,
        modules: LatentModules,
        states: States,
        micro_tokens: int = 8192,
        codes: Sequence[torch.Tensor] | None = None,
        base: BaseModel | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.modules, self.states, self.micro_tokens, self.codes = modules, states, micro_tokens, codes
        self.base, self.ranks = base, ranks

    def parameters(self) -> list[torch.nn.Parameter]:
        """What stage 2 trains."""
        return list(trainable(self.modules, "policy"))

    def _precision(self) -> torch.autocast:
        if self.base is not None:
            return mixed_precision(self.base)
        device = self.states.device.type
        return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch; returns its metrics, averaged over transitions."""
        documents = self.states.documents
        total = sum(documents[i].counted for i in indices)
        cross_entropy = correct = 0.0
        for _, micro in self.ranks.share(list(pack(documents, indices, self.micro_tokens))):
            batch = self.states.batch(micro)
            with self._precision():
                if self.codes is None:
                    codes = self.modules.idm.codes(batch.hidden_BTD)
                else:
                    codes = padded([self.codes[i] for i in micro], batch.valid_BT)
                labels = codes[batch.valid_BT]
                scores = self.modules.policy(batch.hidden_BTD)[:, :-1][batch.valid_BT].float()
                loss = F.cross_entropy(scores, labels)
            share = len(labels) / total
            (loss * share).backward()  # type: ignore[no-untyped-call]
            cross_entropy += float(loss.detach()) * share
            correct += float((scores.argmax(-1) == labels).sum()) / total
        return self.ranks.sum_metrics({"ce": cross_entropy, "accuracy": correct}, self.states.device)
