"""From the output head's products to a model's logits: some architectures scale them, some cap them softly.

Granite divides by ``logits_scaling``, Cohere multiplies by ``logit_scale``, Gemma 2 caps at
``final_logit_softcapping``. None of that changes which token is most probable, so argmax and top-k may use the head
alone; probabilities and losses may not. What a config declares is checked against the model's own forward pass.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from colasearch.errors import PrerequisiteError
from colasearch.model.packed import PackedLinear

SCALES = {"logits_scaling": -1, "logit_scale": 1, "lm_head_multiplier": 1, "output_multiplier": 1}
"""Config fields of a scale, and the power at which most architectures multiply by it (HyperCLOVA X turns one round)."""
CAPS = ("final_logit_softcapping", "logits_soft_cap")
TRIAL = ((1, 2, 3, 4, 5), (1, 2, 3, 7, 9))
"""Two texts of one beginning, which every new model is tried with."""
SHARED = 3
"""Tokens that they share."""


@dataclass(frozen=True, slots=True)
class OutputMap:
    """The increasing map from the output head's products to logits.

    Attributes:
        scale: Logits are the products times this, > 0.
        cap: Afterwards x becomes cap * tanh(x / cap); 0 leaves it.
    """

    scale: float = 1.0
    cap: float = 0.0

    def __call__(self, products: Tensor) -> Tensor:
        """Float32 logits of the head's products ``[..., V]``."""
        logits = products.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        return self.cap * torch.tanh(logits / self.cap) if self.cap else logits

    @classmethod
    def candidates(cls, config: Any) -> list[OutputMap]:
        """What a transformers config may mean, the likeliest first.

        Not every architecture does what its config's fields say: MPT has a ``logit_scale`` and ignores it.
        """
        text = config.get_text_config()
        scales, caps = [1.0], [0.0]
        for name, power in SCALES.items():
            value = getattr(text, name, None)
            if isinstance(value, (int, float)) and value > 0 and value != 1:
                scales = [value**power, value**-power, *scales]
        for name in CAPS:
            value = getattr(text, name, None)
            if isinstance(value, (int, float)) and value > 0:
                caps = [float(value), *caps]
        return [cls(scale, cap) for cap, scale in itertools.product(caps, scales)]

    @classmethod
    def of(cls, model: Any, trial: Trial) -> OutputMap:
        """The map of ``model``, by which its head gives the logits of its own forward pass.

        Raises:
            PrerequisiteError: No map that we know does.
        """
        candidates = cls.candidates(model.config)
        products = model.get_output_embeddings()(trial.hidden_BTD).float()
        if not bool(products.isfinite().all() and trial.logits_BTV.isfinite().all()):
            return candidates[0]  # broken weights are no matter of architecture
        if products.shape == trial.logits_BTV.shape:
            errors = [_difference(candidate(products), trial.logits_BTV) for candidate in candidates]
            # What is declared stands where rounding alone speaks for another.
            best = min(range(len(errors)), key=lambda i: errors[i] * (0.5 if i else 0.25))
            if errors[best] <= _slack(model.dtype):
                return candidates[best]
        raise PrerequisiteError(
            f"{type(model).__name__}: its logits are not those of its output head, neither as they are nor with a "
            f"scale ({', '.join(SCALES)}) or a soft cap ({', '.join(CAPS)}) of its config; colasearch cannot run this "
            "architecture, choose another base"
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model says of the texts of ``TRIAL``.

    Attributes:
        hidden_BTD: Last hidden states.
        logits_BTV: Float32 logits of its own forward pass.
    """

    hidden_BTD: Tensor
    logits_BTV: Tensor


@torch.no_grad()
def try_model(model: Any) -> Trial:
    """Run a new model, a causal LM of transformers, on a few tokens.

    Raises:
        PrerequisiteError: It has no linear output head, cannot be run on text alone, or is no causal model: later
            tokens change what it says of earlier ones.
    """
    name = type(model).__name__
    if model.config.is_encoder_decoder:
        raise PrerequisiteError(f"{name} is an encoder with a decoder; colasearch needs a decoder-only causal LM")
    if not isinstance(model.get_output_embeddings(), nn.Linear | PackedLinear):
        raise PrerequisiteError(f"{name} has no linear output head; choose a decoder-only causal LM")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    tokens = torch.tensor(TRIAL, device=model.device) % vocabulary
    try:
        trial = Trial(*own_outputs(model, tokens))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PrerequisiteError(
            f"{name} cannot be run on a text of {len(TRIAL[0])} tokens ({type(error).__name__}: {str(error)[:200]}); "
            "colasearch needs a causal LM that takes token ids alone"
        ) from None
    first, second = trial.hidden_BTD[:, :SHARED].float()
    # Random weights differ by a few per cent here, rounding by a thousandth of that.
    if bool((first.isfinite() & second.isfinite()).all()) and _difference(first, second) > _slack(model.dtype) / 10:
        raise PrerequisiteError(
            f"{name} is no causal LM: what it says of a token depends on later tokens, as in encoders (BERT); choose a "
            "decoder-only model"
        )
    return trial


def own_outputs(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states ``[B, T, D]`` and float32 logits ``[B, T, V]`` of tokens ``[B, T]``, from one forward pass."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: Any, out: Any) -> None:
        kept.append(out.last_hidden_state)

    hook = model.base_model.register_forward_hook(keep)
    try:
        logits = model(input_ids=tokens, use_cache=False).logits
    finally:
        hook.remove()
    if not kept:  # OPT passes by its base model's own forward
        kept.append(model.base_model(input_ids=tokens, use_cache=False).last_hidden_state)
    return kept[-1], cast(Tensor, logits).float()


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-9))


def _slack(dtype: torch.dtype) -> float:
    return 1e-3 if dtype == torch.float32 else 3e-2
