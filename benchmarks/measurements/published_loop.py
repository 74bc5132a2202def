"""The published search loop, re-created as a reference for speed: batch 1, nothing shared between children.

After the published code's description: for each child that is tried, the whole prefix is encoded to choose its first
token, encoded again to generate the rest of the step, and once more to roll the text out; each generation appends to
its keys and values token by token. Weights and arithmetic are plain. What it leaves out in the loop's favour: text is
not tokenised again, there are no Q-head passes, and no reward server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.settings import Sampling
from colasearch.engine.texts.ends import TextEnds
from colasearch.model.latent_lm import LatentLM, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs
from colasearch.problem import Problem
from colasearch.tasks import prompt_tokens


class _Appended:
    """Attention of the policy's blocks whose keys and values grow by concatenation."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if layer in self.kept:
            key = torch.cat([self.kept[layer][0], key], dim=2)
            value = torch.cat([self.kept[layer][1], value], dim=2)
        self.kept[layer] = (key, value)
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=query.shape[2] > 1, enable_gqa=query.shape[1] != key.shape[1]
        )
        return out.transpose(1, 2)


class PublishedLoop:
    """A world for ``searchers.run`` that works as the published loop does.

    Attributes:
        generated_tokens: Tokens generated so far.
        encoded_tokens: Tokens of prefixes encoded so far.
    """

    def __init__(self, lm: LatentLM, max_tokens: int, max_step_tokens: int, seed: int = 0) -> None:
        self.lm, self.max_tokens, self.max_step_tokens, self.seed = lm, max_tokens, max_step_tokens, seed
        self.ends = TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self.generated_tokens = self.encoded_tokens = 0
        self._prompt: list[int] = []
        self._texts: list[tuple[int, ...]] = []

    @torch.inference_mode()
    def root(self, problems: Sequence[Problem]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Encode the one problem's prompt."""
        (problem,) = problems
        self._prompt = prompt_tokens(self.lm.base.tokenizer, problem)
        self._texts = [()]
        return np.zeros(1, np.int64), self._prior(()), np.zeros(1)

    @torch.inference_mode()
    def expand(
        self, states: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Make the children one after the other; their values are 0, for speed does not depend on them."""
        new, priors, terminal = [], [], []
        for state, action in zip(states.tolist(), actions.tolist(), strict=True):
            before = self._texts[state]
            step = self._generate(before, action, self.max_step_tokens, stop_at_boundary=True)
            text = (*before, *step)
            over = self.ends.is_finished(text) or len(text) >= self.max_tokens
            if not over:
                self._generate(text, None, self.max_tokens - len(text), stop_at_boundary=False)
            self._texts.append(text)
            new.append(len(self._texts) - 1)
            terminal.append(over)
            priors.append(self._prior(text)[0])
        count = len(new)
        return np.array(new), np.zeros(count), np.array(terminal), np.stack(priors), np.zeros(count)

    def _encode(self, text: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Last hidden state and policy scores after a text; everything is encoded, nothing kept."""
        tokens = torch.tensor([[*self._prompt, *text]], device=self.lm.base.device)
        self.encoded_tokens += tokens.shape[1]
        hidden = self.lm.base.hidden(tokens)
        return hidden[0, -1:], self.lm.require_latents().policy(hidden)[0, -1:].float()

    def _prior(self, text: Sequence[int]) -> np.ndarray:
        scores: np.ndarray = self._encode(text)[1].cpu().numpy().astype(np.float64)
        return scores

    def _token(self, hidden: Tensor, code: Tensor) -> int:
        states = world_model_states(self.lm.require_latents(), self.lm.base, hidden, code)
        self.generated_tokens += 1
        return int(self.lm.base.head(states).argmax())

    def _generate(self, text: Sequence[int], action: int | None, most: int, *, stop_at_boundary: bool) -> list[int]:
        from transformers import DynamicCache

        new: list[int] = []
        if action is not None:
            hidden, _ = self._encode(text)
            new.append(self._token(hidden, torch.tensor([action], device=hidden.device)))
        cache: Any = DynamicCache()
        appended = _Appended()
        feed = [*self._prompt, *text, *new]
        self.encoded_tokens += len(feed)
        begin = 0
        numbers = seeded_uniforms(most + 1, self.seed, *text, action)
        while len(new) < most and not self.ends.is_finished([*text, *new]):
            if stop_at_boundary and new and self.ends.is_boundary(new[-1]):
                break
            tokens = torch.tensor([feed], device=self.lm.base.device)
            positions = torch.arange(begin, begin + len(feed), device=tokens.device)[None]
            hidden = self.lm.base.hidden(tokens, None, positions, cache)
            scores = self.lm.require_latents().policy(hidden, positions, attention=appended)[0, -1:].float()
            log_probs = sampling_log_probs(scores, Sampling().temperature)
            code = sample_codes(log_probs, torch.tensor([numbers[len(new)]], device=tokens.device))
            begin += len(feed)
            feed = [self._token(hidden[0, -1:], code)]
            new += feed
        return new
