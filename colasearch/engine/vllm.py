"""Whole texts written by vLLM (``--backend vllm``), an optional package that serves models on GPUs.

Texts drawn from the base token by token need no hidden states, so another engine may write them: those of greedy
decoding, majority votes and best-of-N. Codes and trees need the states of each step, which it does not give.

Only vLLM's public interface is used: ``LLM``, ``SamplingParams`` and what ``LLM.generate`` returns.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colasearch.engine.settings import Sampling
from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel

MEMORY = 0.6
"""Share of a GPU's memory for vLLM; the model stands in this process, too."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text.

    Attributes:
        tokens: Its tokens; an end token counts.
        ended: It is finished, rather than cut off.
        log_probs: Log-probability of each token under the distribution that it was drawn from, as vLLM says.
    """

    tokens: list[int]
    ended: bool
    log_probs: list[float]


@dataclass(slots=True)
class VllmTexts:
    """vLLM with the weights of a base.

    Attributes:
        base: The base, as it is in this process; if it was changed since it was read, vLLM gets the changed one.
        engine: vLLM's ``LLM``.
    """

    base: BaseModel
    engine: Any = field(init=False)
    _folder: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Start vLLM.

        Raises:
            PrerequisiteError: It is not installed, or the base cannot be handed over.
        """
        llm, _ = _vllm()
        self.engine = llm(
            model=str(self._weights()),
            skip_tokenizer_init=True,  # prompts and texts are token ids: its tokenizer could only differ from ours
            dtype=str(self.base.dtype).removeprefix("torch."),
            gpu_memory_utilization=MEMORY,
            enable_prefix_caching=True,
            seed=0,
        )

    def _weights(self) -> Path:
        if self.base.folder is not None:
            return self.base.folder
        if self.base.run_only:
            raise PrerequisiteError("--backend vllm needs weights that are not packed; use --dtype bfloat16 or float32")
        self._folder = tempfile.TemporaryDirectory(prefix="colasearch-vllm-")
        self.base.model.save_pretrained(self._folder.name)
        return Path(self._folder.name)

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[tuple[object, ...]],
        finishes: Sequence[Callable[[Sequence[int]], bool]],
        sampling: Sampling,
        max_tokens: int,
    ) -> list[Written]:
        """One text a prompt.

        Args:
            prompts: Token ids.
            keys: What the random numbers of each text depend on, beside its prompt.
            finishes: Whether a text (its tokens so far) is complete; what is written beyond is cut off.
            sampling: Of tokens; ``token_top_k = 1`` takes the most probable one.
            max_tokens: Longest text.
        """
        _, params = _vllm()
        greedy = sampling.token_top_k == 1
        ends = sorted(self.base.end_ids)
        wanted = [
            params(
                temperature=0.0 if greedy else sampling.token_temperature,
                top_k=0 if greedy else sampling.token_top_k,
                top_p=1.0 if greedy else sampling.token_top_p,
                seed=seed_of(key),
                max_tokens=max_tokens,
                stop_token_ids=ends,
                logprobs=0,
                detokenize=False,
            )
            for key in keys
        ]
        given = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        done = self.engine.generate(given, wanted, use_tqdm=False)
        return [self._written(one.outputs[0], finish) for one, finish in zip(done, finishes, strict=True)]

    def _written(self, out: Any, is_finished: Callable[[Sequence[int]], bool]) -> Written:
        tokens = [int(token) for token in out.token_ids]
        scores = [float(at[token].logprob) for token, at in zip(tokens, out.logprobs or [], strict=False)]
        if out.finish_reason == "stop" and (not tokens or tokens[-1] not in self.base.end_ids):
            tokens.append(out.stop_reason if isinstance(out.stop_reason, int) else self.base.end_id)
        for count in range(1, len(tokens) + 1):
            if is_finished(tokens[:count]):
                return Written(tokens[:count], True, scores[:count])
        return Written(tokens, False, scores)


def seed_of(key: tuple[object, ...]) -> int:
    """A request's seed: a number below 2^31 fixed by ``key``."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=4).digest(), "big") >> 1


def _vllm() -> tuple[Any, Any]:
    try:
        from vllm import LLM, SamplingParams
    except ImportError as error:
        raise PrerequisiteError(
            f"--backend vllm needs vLLM ({error}); install it on a machine with a GPU: pip install '.[vllm]', "
            "or leave --backend out"
        ) from None
    return LLM, SamplingParams
