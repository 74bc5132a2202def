"""Stage 1: learn the latent actions (IDM, codebook, merge head) from text, with the base frozen.

Loss (cola-spec section 2.1), per transition t -> t+1 with z the IDM's shifted scores:

    y = GumbelSoftmax(z, tau),  a = onehot(argmax y) + y - sg(y)
    L = CE(WM(e_t, a C), x_{t+1}) + w_e * sum_a y_a log y_a  -  w_u * H(mean_t softmax(z_t))

The second term is the published one: it raises the entropy of each token's sample. It does not stop codes from dying:
a constant z has it all. The third, ours, raises the entropy of the *marginal* use of codes over a batch, and codes
that still fall out of use are re-initialised next to one that is used much (``revive``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.base import BaseModel
from colasearch.model.codebook import straight_through_gumbel
from colasearch.model.latent_lm import LatentModules, trainable
from colasearch.training.base.tuning import mixed_precision
from colasearch.training.data.corpus import pack
from colasearch.training.data.hidden_cache import Batch, States, padded
from colasearch.training.running.loop import Metrics
from colasearch.training.running.ranks import ALONE, Ranks

STAGE_1_PARTS = ("idm", "codebook", "merge")


@dataclass(frozen=True, slots=True)
class ActionsConfig:
    """Settings of stage 1.

    Attributes:
        temperature, final_temperature: Gumbel-softmax temperature at the first and last step (linear between).
        entropy_weight: w_e, the published per-token entropy term (0.001).
        usage_weight: w_u, the marginal-usage entropy term; 0 is the published training.
        revive_every: Re-initialise dead codes every so many steps; 0 never does.
        micro_tokens: Padded tokens in one forward and backward pass.
    """

    temperature: float = 2.0
    final_temperature: float = 1.0
    entropy_weight: float = 0.001
    usage_weight: float = 0.02
    revive_every: int = 50
    micro_tokens: int = 4096


class ActionLearner:
    """Accumulates stage-1 gradients over batches and keeps dead codes alive.

    Args:
        modules: Their IDM, codebook and merge head are trained.
        base: The frozen base.
        states: Its hidden states.
        config: Settings.
        seed: Of the noise.
        ranks: The processes that share each batch.
        weights: Each document's ``[T-1]`` weights of its transitions in the loss (``uncertain.weights_of``); those of
            weight 0 cost neither merge head nor softmax. None: all count once.
    """

    def __init__(
        self,
        modules: LatentModules,
        base: BaseModel,
        states: States,
        config: ActionsConfig,
        seed: int,
        ranks: Ranks = ALONE,
        weights: Sequence[Tensor] | None = None,
    ) -> None:
        self.modules, self.base, self.states, self.config, self.seed = modules, base, states, config, seed
        self.ranks, self.weights = ranks, weights
        size = modules.config.num_codes
        # A buffer of the modules (not of their state dict): checkpoints keep it, so a resumed run revives the same.
        modules.register_buffer("usage_K", torch.full((size,), 1 / size, device=states.device), persistent=False)

    @property
    def usage_K(self) -> Tensor:
        """Moving average of each code's share of use, ``[K]``."""
        return self.modules.get_buffer("usage_K")

    def _seed(self, step: int, stream: int) -> int:
        return (self.seed * 1_000_003 + step) * 2 + stream

    def parameters(self) -> list[torch.nn.Parameter]:
        """What stage 1 trains."""
        return list(trainable(self.modules, *STAGE_1_PARTS))

    def temperature(self, step: int, steps: int) -> float:
        """Gumbel-softmax temperature of a step."""
        share = step / max(1, steps - 1)
        return self.config.temperature + (self.config.final_temperature - self.config.temperature) * share

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch; returns its metrics, averaged over transitions."""
        documents = self.states.documents
        micros = list(pack(documents, indices, self.config.micro_tokens))
        total = sum(self._weight(i) for i in indices)
        sums: dict[str, float] = {"ce": 0.0, "sample_entropy": 0.0, "usage_entropy": 0.0}
        counts_K = torch.zeros_like(self.usage_K)
        for number, micro in self.ranks.share(micros):
            # Noise belongs to the pass, so that it is the same whichever process does it.
            seed = hash((self.seed, step, number)) % (1 << 62)
            generator = torch.Generator(device=self.states.device).manual_seed(seed)
            batch = self.states.batch(micro)
            weight_BT = batch.valid_BT.float()
            if self.weights is not None:
                weight_BT = padded([self.weights[i] for i in micro], batch.valid_BT) * weight_BT
            share = float(weight_BT.sum()) / max(total, 1e-9)
            if not share:
                continue  # nothing of it counts
            with mixed_precision(self.base):
                parts, counts = self._losses(batch, weight_BT, self.temperature(step, steps), generator)
            loss = (
                parts["ce"]
                - self.config.entropy_weight * parts["sample_entropy"]
                - self.config.usage_weight * parts["usage_entropy"]
            )
            (loss * share).backward()  # type: ignore[no-untyped-call]
            counts_K += counts
            for key in sums:
                sums[key] += float(parts[key].detach()) * share
        counts_K = self.ranks.sum(counts_K)
        sums = self.ranks.sum_metrics(sums, self.states.device)
        if float(counts_K.sum()):
            self.usage_K.lerp_(counts_K / counts_K.sum(), 0.05)
        return {**sums, "alive": float((counts_K > 0).sum())}

    def _weight(self, index: int) -> float:
        """Of all transitions of a document that count."""
        document = self.states.documents[index]
        if self.weights is None:
            return document.counted
        return float(self.weights[index][document.start - 1 :].sum())

    def _losses(
        self, batch: Batch, weight_BT: Tensor, temperature: float, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        modules = self.modules
        chosen_BT = weight_BT > 0
        weight_N = weight_BT[chosen_BT] / weight_BT.sum()
        scores_NK = modules.idm.transition_scores(batch.hidden_BTD)[chosen_BT].float()
        hidden_ND = batch.hidden_BTD[:, :-1][chosen_BT]
        targets_N = batch.tokens_BT[:, 1:][chosen_BT]
        action_NK, soft_NK = straight_through_gumbel(scores_NK, temperature, generator)
        vectors_ND = modules.codebook.mix(action_NK.to(modules.codebook.weight.dtype))
        merged_ND = modules.merge.merge(hidden_ND, vectors_ND, self.base.apply_final_norm)
        # Products and sums: a matrix product would be rounded to half precision under autocast.
        marginal_K = (weight_N[:, None] * scores_NK.softmax(-1)).sum(0)
        entropy_N = -(soft_NK * soft_NK.clamp_min(1e-9).log()).sum(-1)
        ce_N = F.cross_entropy(self.base.logits(merged_ND), targets_N, reduction="none")
        parts = {
            "ce": (weight_N * ce_N).sum(),
            "sample_entropy": (weight_N * entropy_N).sum(),
            "usage_entropy": -(marginal_K * marginal_K.clamp_min(1e-9).log()).sum(),
        }
        counts_K = torch.bincount(scores_NK.argmax(-1), minlength=scores_NK.shape[-1]).to(marginal_K.dtype)
        return parts, counts_K

    def after_step(self, step: int, optimizer: torch.optim.AdamW) -> None:
        """Every ``revive_every`` steps, give each dead code a new life beside one that is used much."""
        every = self.config.revive_every
        if every and (step + 1) % every == 0:
            self.revive(optimizer, self._seed(step, 1))

    @torch.no_grad()
    def revive(self, optimizer: torch.optim.AdamW, seed: int) -> int:
        """Re-initialise codes used less than a fiftieth of their fair share; returns how many.

        A dead code takes the vector and the IDM row of a code drawn by usage, slightly changed, so that it starts by
        taking over part of that code's transitions. Its optimizer moments are cleared.
        """
        size = len(self.usage_K)
        dead = (self.usage_K < 0.02 / size).nonzero()[:, 0].tolist()
        if not dead:
            return 0
        generator = torch.Generator().manual_seed(seed)
        weights = self.usage_K.cpu().clamp_min(0)
        donors = torch.multinomial(weights, len(dead), replacement=True, generator=generator).tolist()
        for table in (self.modules.codebook.weight, self.modules.idm.head.weight):
            spread = float(table.std())
            moments = optimizer.state.get(table, {})
            for code, donor in zip(dead, donors, strict=True):
                noise = torch.randn(table.shape[1], generator=generator).to(table.device, table.dtype)
                table[code] = table[donor] + 0.1 * spread * noise
                for key in ("exp_avg", "exp_avg_sq"):
                    if key in moments:
                        moments[key][code] = 0
        # A revived code counts as used until a while of steps has shown otherwise.
        self.usage_K[dead] = 1 / size
        return len(dead)
