"""vLLM's public interface as far as colasearch uses it, over transformers: it takes what vLLM takes, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import AutoModelForCausalLM

Prompt = dict[str, list[int]]


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one text is drawn; ``top_k`` 0 keeps all."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int | None = 16
    stop_token_ids: Sequence[int] | None = None
    logprobs: int | None = None
    detokenize: bool = True


@dataclass(frozen=True)
class Logprob:
    """Of one token."""

    logprob: float


@dataclass(frozen=True)
class CompletionOutput:
    """One text."""

    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str
    stop_reason: int | str | None


@dataclass(frozen=True)
class RequestOutput:
    """What one prompt got."""

    outputs: list[CompletionOutput]


class LLM:
    """A model from a folder."""

    made: ClassVar[list[LLM]] = []

    def __init__(
        self, model: str, *, skip_tokenizer_init: bool = False, dtype: str = "auto",
        gpu_memory_utilization: float = 0.9, enable_prefix_caching: bool | None = None, seed: int | None = None,
    ) -> None:  # fmt: skip
        assert skip_tokenizer_init  # then texts must not be asked for
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self.asked: list[SamplingParams] = []
        LLM.made.append(self)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling_params: Sequence[SamplingParams],
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """Texts, in the order of prompts."""
        self.asked += sampling_params
        return [
            RequestOutput([self._text(prompt["prompt_token_ids"], how)])
            for prompt, how in zip(prompts, sampling_params, strict=True)
        ]

    @torch.inference_mode()
    def _text(self, prompt: list[int], how: SamplingParams) -> CompletionOutput:
        assert not how.detokenize
        generator = torch.Generator().manual_seed(how.seed or 0)
        tokens: list[int] = []
        scores: list[dict[int, Logprob]] = []
        while len(tokens) < (how.max_tokens or 1):
            logits = self.model(torch.tensor([prompt + tokens])).logits[0, -1].float()
            if how.top_k:
                logits[logits < logits.topk(how.top_k).values[-1]] = float("-inf")
            log_probs = (logits / (how.temperature or 1.0)).log_softmax(-1)
            drawn = torch.multinomial(log_probs.exp(), 1, generator=generator) if how.temperature else logits.argmax()
            tokens.append(int(drawn))
            scores.append({tokens[-1]: Logprob(float(log_probs[tokens[-1]]))})
            if tokens[-1] in (how.stop_token_ids or ()):
                return CompletionOutput(tokens, scores, "stop", tokens[-1])
        return CompletionOutput(tokens, scores, "length", None)
