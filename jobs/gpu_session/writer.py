"""Writes texts of a base, or of its codes, as fast as a GPU allows."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.latent_lm import LatentModules
from gpu_session.qwen2 import Cache, Qwen2, causal


class Writer:
    """Writes texts after prompts, many rows at a time; rows that end give their place to the next prompt.

    Args:
        base: The model.
        rows: At a time.
        prompt, length: Longest prompt and text, in tokens.
        ends: Tokens that end a text.
        modules: With them each token follows a code that the policy draws; without, tokens are drawn.
    """

    def __init__(
        self, base: Qwen2, rows: int, prompt: int, length: int, ends: Sequence[int],
        modules: LatentModules | None = None,
    ) -> None:  # fmt: skip
        s, device = base.shape, base.device
        self.base, self.rows, self.length, self.modules = base, rows, length, modules
        columns = 8 * math.ceil((prompt + length) / 8)
        like = base.w["model.norm.weight"]
        self.cache = Cache(s.layers, rows, s.kv_heads, columns, s.head_dim, like)
        if modules is not None:
            c = modules.config
            self.above = Cache(c.policy_layers, rows, c.num_kv_heads, columns, c.head_dim, like)
        self.token = torch.zeros(rows, dtype=torch.long, device=device)
        self.position = torch.zeros(rows, dtype=torch.long, device=device)
        self.count = torch.zeros(rows, dtype=torch.long, device=device)
        self.alive = torch.zeros(rows, dtype=torch.bool, device=device)
        self.heat = torch.zeros(rows, 1, device=device)
        self.text = torch.zeros(rows, length + 1, dtype=torch.long, device=device)
        self.ends = torch.tensor(list(ends), device=device)
        self.graph: Any = None

    def choose(self, hidden_BD: Tensor, scores_BK: Tensor | None, heat_B1: Tensor) -> Tensor:
        """Next tokens: Gumbel noise of the row's temperature on tokens, or on codes."""

        def noisy(logits: Tensor) -> Tensor:
            noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-9, 1 - 1e-7)))
            return (logits + heat_B1 * noise).argmax(-1)

        if self.modules is None or scores_BK is None:
            return noisy(self.base.logits(hidden_BD))
        vectors = F.embedding(noisy(scores_BK.float()), self.modules.codebook.weight)
        return self.base.logits(self.modules.merge.merge(hidden_BD, vectors, self.base.apply_final_norm)).argmax(-1)

    def step(self) -> None:
        """One token of every row; rows that have ended stay where they are."""
        hidden = self.base.forward(self.token[:, None], self.position[:, None], self.cache.step(self.position))
        scores = None
        if self.modules is not None:
            attend = self.above.step(self.position)
            scores = self.modules.policy(hidden, self.position[:, None], attention=attend)[:, 0]
        self.take(self.choose(hidden[:, 0], scores, self.heat))

    def take(self, token_B: Tensor) -> None:
        """Note the tokens, where a row still writes."""
        token_B = torch.where(self.alive, token_B, self.token)
        places = self.count.clamp_max(self.length)
        self.text.scatter_(1, places[:, None], token_B[:, None])
        self.count += self.alive.long()
        self.position += self.alive.long()
        ended = torch.isin(token_B, self.ends) | (self.count >= self.length)
        self.alive &= ~ended
        self.token.copy_(token_B)

    def begin(self, rows: Tensor, prompts: Sequence[Sequence[int]], heat: float) -> None:
        """Encode prompts into ``rows``, and take their first tokens."""
        lengths = torch.tensor([len(p) for p in prompts], device=self.base.device)
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(list(p)) for p in prompts], batch_first=True)
        hidden = self.base.hidden(tokens.to(self.base.device), lambda i, k, v: self.cache.put(i, rows, k, v))
        scores = None
        if self.modules is not None:

            def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                self.above.put(layer, rows, k, v)
                return causal(q, k, v)

            scores = self.modules.policy(hidden, attention=attend)[torch.arange(len(prompts)), lengths - 1]
        last = hidden[torch.arange(len(prompts)), lengths - 1]
        first = self.choose(last, scores, torch.full((len(prompts), 1), heat, device=self.base.device))
        self.position[rows], self.token[rows], self.heat[rows] = lengths, first, heat
        self.count[rows], self.alive[rows] = 1, ~torch.isin(first, self.ends)
        self.text[rows, 0] = first

    @torch.inference_mode()
    def write(self, prompts: Sequence[Sequence[int]], heat: float, until: float) -> dict[int, list[int]]:
        """Texts of as many prompts as are done by ``until`` (monotonic time), by their number.

        What is in progress then is left out, so that no limit of time favours short texts among those begun early.
        """
        found: dict[int, list[int]] = {}
        at: list[int] = [-1] * self.rows
        waiting = iter(range(len(prompts)))
        open_ = True
        while True:
            alive = self.alive.tolist()
            free = [r for r in range(self.rows) if not alive[r]]
            done = [r for r in free if at[r] >= 0]
            if done:
                texts, counts = self.text[done].tolist(), self.count[done].tolist()
                for row, text, count in zip(done, texts, counts, strict=True):
                    found[at[row]] = text[:count]
                    at[row] = -1
            if open_ and (len(free) >= self.rows // 16 or len(free) == self.rows):
                for begin in range(0, len(free), 64):
                    rows = free[begin : begin + 64]
                    new = [n for _, n in zip(rows, waiting, strict=False)]
                    open_ = len(new) == len(rows)
                    if not new:
                        break
                    rows = rows[: len(new)]
                    self.begin(torch.tensor(rows, device=self.base.device), [prompts[n] for n in new], heat)
                    for row, number in zip(rows, new, strict=True):
                        at[row] = number
            if all(n < 0 for n in at) or time.monotonic() > until:
                self.alive.zero_()
                return found
            self.run(16)

    def run(self, steps: int) -> None:
        """Steps of all rows: a captured graph on a GPU."""
        if self.base.device.type != "cuda":
            for _ in range(steps):
                self.step()
            return
        if self.graph is None:
            kept = [t.clone() for t in (self.token, self.position, self.count, self.alive, self.text)]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self.step()
                self.step()
            torch.cuda.current_stream().wait_stream(stream)
            for tensor, old in zip(
                (self.token, self.position, self.count, self.alive, self.text), kept, strict=True
            ):  # the trial steps wrote keys and values that the rows' own steps write again
                tensor.copy_(old)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step()
            for tensor, old in zip((self.token, self.position, self.count, self.alive, self.text), kept, strict=True):
                tensor.copy_(old)
        for _ in range(steps):
            self.graph.replay()
