"""One GPU session that gives a Qwen2 base latent actions learned on its own texts; see docs/gpu-queue.md.

Stages, each with its own share of the time: weights from a GGUF file; texts that the base itself writes on training
problems; stage 1 and stage 2 on them, and, shorter, on written solutions, to compare; a value head from the texts'
rewards; texts for the benchmarks (greedy and sampled, of the base and of the codes), which are graded elsewhere.

Prompts come as token ids (``prompts.npz``), so neither tokenizer nor verifier is needed here. Everything is written to
the output folder as soon as it is there. ``--tiny`` runs it all on a random model on a CPU, in a minute.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.config import BaseIdentity, LatentConfig
from colasearch.model.latent_lm import LatentModules
from colasearch.model.value import ValueHead
from colasearch.training.data.documents import Document
from colasearch.training.data.hidden_cache import HiddenStates
from colasearch.training.latent_actions.actions import ActionLearner, ActionsConfig
from colasearch.training.latent_actions.cloning import PolicyCloner
from colasearch.training.latent_actions.evaluate import evaluate

BEGUN = time.monotonic()
FILE_TOKENS, TEXT_FILES = 5_000_000, 2
"""Texts that are brought home: about 2 bytes a token once compressed, and a file may have 16 MiB."""


def say(text: str) -> None:
    """A line with the seconds since the start."""
    print(f"[{time.monotonic() - BEGUN:6.1f} s] {text}", flush=True)


@dataclass(slots=True)
class Shape:
    """Of a Qwen2 model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    theta: float
    eps: float


class Qwen2:
    """A frozen Qwen2 as plain tensors: whole texts, and one more token of many rows against a static cache.

    The learners take it for a ``BaseModel``: they ask for logits, the final norm, device and element type.
    """

    autocast = False

    def __init__(self, weights: dict[str, Tensor], shape: Shape) -> None:
        self.w, self.shape = weights, shape
        for layer in range(shape.layers):
            p = f"model.layers.{layer}.self_attn."
            for kind in ("weight", "bias"):
                weights[f"{p}qkv.{kind}"] = torch.cat([weights.pop(f"{p}{n}_proj.{kind}") for n in "qkv"])
            p = f"model.layers.{layer}.mlp."
            weights[f"{p}both.weight"] = torch.cat([weights.pop(f"{p}{n}_proj.weight") for n in ("gate", "up")])
        self.device = weights["model.norm.weight"].device
        self.dtype = weights["model.norm.weight"].dtype

    def norm(self, x: Tensor, name: str) -> Tensor:
        """RMS norm in float32."""
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.shape.eps)
        return y.to(x.dtype) * self.w[name]

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``[B, 1, T, head_dim]``."""
        half = torch.arange(0, self.shape.head_dim, 2, device=positions.device).float() / self.shape.head_dim
        angles = positions[..., None].float() * torch.pow(self.shape.theta, -half)
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos(), angles.sin()

    def forward(self, tokens: Tensor, positions: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """Hidden states ``[B, T, D]`` after the final norm; ``attend(layer, q, k, v)`` gives ``[B, T, heads, hd]``."""
        s = self.shape
        x = F.embedding(tokens, self.w["model.embed_tokens.weight"])
        cos, sin = (a.to(x.dtype) for a in self.angles(positions))
        for layer in range(s.layers):
            p = f"model.layers.{layer}."
            y = self.norm(x, p + "input_layernorm.weight")
            y = F.linear(y, self.w[p + "self_attn.qkv.weight"], self.w[p + "self_attn.qkv.bias"])
            q, k, v = y.split([s.heads * s.head_dim, s.kv_heads * s.head_dim, s.kv_heads * s.head_dim], -1)
            q, k, v = (t.view(*t.shape[:2], -1, s.head_dim).transpose(1, 2) for t in (q, k, v))
            q, k = turned(q, cos, sin), turned(k, cos, sin)
            a = attend(layer, q, k, v)
            x = x + F.linear(a.reshape(*x.shape[:2], -1), self.w[p + "self_attn.o_proj.weight"])
            y = self.norm(x, p + "post_attention_layernorm.weight")
            gate, up = F.linear(y, self.w[p + "mlp.both.weight"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.w[p + "mlp.down_proj.weight"])
        return self.norm(x, "model.norm.weight")

    @torch.inference_mode()
    def hidden(self, tokens: Tensor, keep: Callable[[int, Tensor, Tensor], None] | None = None) -> Tensor:
        """Hidden states of whole texts ``[B, T]``, padded on the right."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if keep is not None:
                keep(layer, k, v)
            return causal(q, k, v)

        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        return self.forward(tokens, positions, attend)

    def logits(self, states: Tensor) -> Tensor:
        """Float32 logits of head inputs."""
        return F.linear(states.to(self.dtype), self.w["lm_head.weight"]).float()

    def head(self, states: Tensor) -> Tensor:
        """Logits in the model's own element type."""
        return F.linear(states.to(self.dtype), self.w["lm_head.weight"])

    def apply_final_norm(self, states: Tensor) -> Tensor:
        """The base's final norm."""
        return self.norm(states, "model.norm.weight")


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of whole texts."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


class Cache:
    """Keys and values of rows, ``[layers, rows, kv heads, columns, head_dim]``, written where each row is."""

    def __init__(self, layers: int, rows: int, kv_heads: int, columns: int, head_dim: int, like: Tensor) -> None:
        self.k, self.v = (like.new_zeros(layers, rows, kv_heads, columns, head_dim) for _ in range(2))
        self.every = torch.arange(rows, device=like.device)
        self.columns = torch.arange(columns, device=like.device)

    def put(self, layer: int, rows: Tensor, k: Tensor, v: Tensor) -> None:
        """Keys and values ``[R, kv, T, hd]`` of whole prompts."""
        self.k[layer, rows, :, : k.shape[2]] = k
        self.v[layer, rows, :, : k.shape[2]] = v

    def step(self, position_B: Tensor) -> Callable[..., Tensor]:
        """Attention of one more token of every row, at ``position_B``."""
        seen = (self.columns[None] <= position_B[:, None])[:, None, None]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.k[layer, self.every, :, position_B] = k[:, :, 0]
            self.v[layer, self.every, :, position_B] = v[:, :, 0]
            rows, heads, _, width = q.shape
            # The query heads of a group as so many queries: no key is repeated.
            q = q.reshape(rows, k.shape[1], heads // k.shape[1], width)
            out = F.scaled_dot_product_attention(q, self.k[layer], self.v[layer], attn_mask=seen)
            return out.reshape(rows, 1, heads, width)

        return attend


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


# --- weights -----------------------------------------------------------------------------------------------------


NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
TOP = {"token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm"}


def from_gguf(path: Path, device: torch.device, dtype: torch.dtype) -> Qwen2:
    """A Qwen2 from its GGUF file, rounded to float16 first, as the base folder made from the same file is."""
    from concurrent.futures import ThreadPoolExecutor

    from gguf import GGUFReader, dequantize

    reader = GGUFReader(str(path))

    def field(name: str) -> Any:
        part = reader.fields[f"qwen2.{name}"]
        return part.parts[part.data[0]].tolist()[0]

    def convert(tensor: Any) -> tuple[str, Tensor]:
        head, *rest = tensor.name.split(".")
        if head == "blk":
            layer, name, kind = rest
            key = f"model.layers.{layer}.{NAMES[name]}.{kind}"
        else:
            key = f"{TOP[head]}.{rest[0]}"
        values = dequantize(tensor.data, tensor.tensor_type)
        return key, torch.from_numpy(np.ascontiguousarray(values)).half().to(device, dtype)

    with ThreadPoolExecutor(8) as pool:
        weights = dict(pool.map(convert, reader.tensors))
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    heads, width = int(field("attention.head_count")), int(field("embedding_length"))
    return Qwen2(
        weights,
        Shape(
            int(field("block_count")), width, heads, int(field("attention.head_count_kv")), width // heads,
            float(field("rope.freq_base")), float(field("attention.layer_norm_rms_epsilon")),
        ),
    )  # fmt: skip


# --- training ----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def states_of(base: Qwen2, documents: Sequence[Document], batch_tokens: int) -> HiddenStates:
    """Hidden states of all documents, on the device."""
    total = sum(len(d.tokens) for d in documents)
    result = HiddenStates(
        documents, torch.empty(total, base.shape.width, dtype=torch.float16, device=base.device), base.device
    )
    order = sorted(range(len(documents)), key=lambda i: len(documents[i].tokens))
    while order:
        longest = len(documents[order[-1]].tokens)
        group = order[-max(1, batch_tokens // longest) :]
        del order[-len(group) :]
        tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(documents[i].tokens) for i in group], batch_first=True)
        hidden = base.hidden(tokens.to(base.device)).half()
        for row, i in enumerate(group):
            result.hidden[int(result.offsets[i]) : int(result.offsets[i + 1])] = hidden[row, : len(documents[i].tokens)]
    return result


def new_modules(base: Qwen2, vocabulary: int, sizes: dict[str, int], seed: int) -> LatentModules:
    """Fresh modules of the base's width."""
    s = base.shape
    shape: dict[str, Any] = {
        "num_heads": s.heads, "num_kv_heads": s.kv_heads, "head_dim": s.head_dim, "rope_theta": s.theta,
        "idm_ffn": s.width, "policy_ffn": s.width, "merge_ffn": 32 * math.ceil(s.width * 5 / 9 / 32), **sizes,
    }  # fmt: skip
    config = LatentConfig(base=BaseIdentity("base"), hidden_size=s.width, vocab_size=vocabulary, **shape)
    torch.manual_seed(seed)
    return LatentModules(config).to(base.device)


def train(
    name: str, learner: Any, documents: Sequence[Document], indices: Sequence[int], *, seconds: float, lr: float,
    batch_tokens: int, no_decay: Sequence[Tensor] = (), log: list[dict[str, float]],
) -> None:  # fmt: skip
    """Train for ``seconds``: warm-up, then a cosine in time."""
    parameters = learner.parameters()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if all(p is not q for q in no_decay)], "weight_decay": 0.01},
            {"params": [p for p in parameters if any(p is q for q in no_decay)], "weight_decay": 0.0},
        ],
        lr=lr,
        betas=(0.9, 0.99),
        fused=True,
    )
    begun, step, tokens = time.monotonic(), 0, 0
    rng = np.random.default_rng(0)
    while True:
        order = rng.permutation(np.array(indices))
        window = 4096
        for begin in range(0, len(order), window):
            chunk = sorted(order[begin : begin + window].tolist(), key=lambda i: len(documents[i].tokens))
            groups: list[list[int]] = [[]]
            for i in chunk:
                if groups[-1] and (len(groups[-1]) + 1) * len(documents[i].tokens) > batch_tokens:
                    groups.append([])
                groups[-1].append(i)
            for number in rng.permutation(len(groups)):
                share = (time.monotonic() - begun) / seconds
                if share >= 1:
                    say(f"{name}: {step} steps, {tokens / 1e6:.2f} M tokens, {log[-1] if log else ''}")
                    return
                rate = lr * min(1.0, (step + 1) / 40) * (0.05 + 0.95 * (1 + math.cos(math.pi * share)) / 2)
                for part in optimizer.param_groups:
                    part["lr"] = rate
                optimizer.zero_grad(set_to_none=True)
                metrics = learner.accumulate(groups[number], int(share * 1000), 1000)
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                after = getattr(learner, "after_step", None)
                if after is not None and share < 0.8:  # late revivals would have no time to learn
                    after(step, optimizer)
                step, tokens = step + 1, tokens + sum(len(documents[i].tokens) for i in groups[number])
                if step % 20 == 0:
                    log.append(
                        {"stage": name, "step": step, "seconds": time.monotonic() - begun, "tokens": tokens, **metrics}
                    )  # type: ignore[dict-item]
                if step % 200 == 0:
                    say(f"{name}: step {step}, {tokens / 1e6:.2f} M tokens, {metrics}")


def train_both(
    base: Qwen2, documents: Sequence[Document], sizes: dict[str, int], vocabulary: int, *, seconds: tuple[float, float],
    batch_tokens: int, micro_tokens: int, log: list[dict[str, float]], name: str, others: HiddenStates | None = None,
) -> tuple[LatentModules, HiddenStates, dict[str, dict[str, float]]]:  # fmt: skip
    """Stages 1 and 2 on ``documents``; measured on those held out, and on those of ``others``."""
    states = states_of(base, documents, batch_tokens * 4)
    say(f"{name}: {len(documents)} documents, {len(states.hidden) / 1e6:.2f} M hidden states")
    held = [i for i in range(len(documents)) if i % 50 == 0][:120]
    kept = sorted(set(range(len(documents))) - set(held))
    modules = new_modules(base, vocabulary, sizes, 0)
    settings = ActionsConfig(usage_weight=0.02, revive_every=50, micro_tokens=micro_tokens)
    learner = ActionLearner(modules, base, states, settings, 0)  # type: ignore[arg-type]
    train(
        f"{name}/actions", learner, documents, kept, seconds=seconds[0], lr=1e-3, batch_tokens=batch_tokens,
        no_decay=[modules.codebook.weight], log=log,
    )  # fmt: skip
    cloner = PolicyCloner(modules, states, micro_tokens * 2, base=base)  # type: ignore[arg-type]
    train(f"{name}/policy", cloner, documents, kept, seconds=seconds[1], lr=1e-3, batch_tokens=batch_tokens, log=log)
    modules.requires_grad_(False).eval()
    measures = {}
    for label, where, which in (("own", states, held), ("other", others, None)):
        if where is not None:
            which = list(range(len(where.documents))) if which is None else which
            measures[label] = evaluate(modules, base, where, which, mixture_positions=512)  # type: ignore[arg-type]
    say(f"{name}: {json.dumps(measures)}")
    return modules, states, measures


def train_value(
    base: Qwen2, states: HiddenStates, problems: Sequence[int], rewards: Sequence[float], width: int, seconds: float
) -> tuple[ValueHead, dict[str, float]]:
    """A value head from final rewards: every fourth state of a text, and its last twice; held-out problems measured."""
    rng = np.random.default_rng(1)
    chosen, targets, weights, held_last = [], [], [], []
    for i, (problem, reward) in enumerate(zip(problems, rewards, strict=True)):
        document = states.documents[i]
        first, last = document.prompt - 1, len(document.tokens) - 1
        if problem % 20 == 0:
            held_last.append((problem, int(states.offsets[i]) + last - 1, reward))
            continue
        places = sorted({*range(first, last, 4), last - 1})
        chosen += [int(states.offsets[i]) + place for place in places]
        targets += [reward] * len(places)
        weights += [1.0 / len(places)] * len(places)
    head = ValueHead(base.shape.width, width).to(base.device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    places_N, target_N, weight_N = (torch.tensor(x, device=base.device) for x in (chosen, targets, weights))
    begun = time.monotonic()
    while (share := (time.monotonic() - begun) / seconds) < 1:
        some = torch.from_numpy(rng.integers(0, len(chosen), 8192)).to(base.device)
        for part in optimizer.param_groups:
            part["lr"] = 1e-3 * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)
        value = head(states.hidden[places_N[some]].float())
        loss = F.binary_cross_entropy(value, target_N[some].float(), weight_N[some].float())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        values = head(states.hidden[torch.tensor([p for _, p, _ in held_last], device=base.device)].float()).tolist()
    by: dict[int, list[tuple[float, float]]] = {}
    for (problem, _, reward), value in zip(held_last, values, strict=True):
        by.setdefault(problem, []).append((value, reward))
    right = pairs = 0
    for texts in by.values():
        for a, x in texts:
            for b, y in texts:
                if x > y:
                    right, pairs = right + int(a > b), pairs + 1
    measures = {"order": right / max(1, pairs), "pairs": float(pairs), "states": float(len(chosen))}
    say(f"value head: {measures}")
    return head, measures


# --- the session -------------------------------------------------------------------------------------------------


def session(args: argparse.Namespace, base: Qwen2, plan: dict[str, Any]) -> None:
    """All stages; ``plan`` has their seconds and sizes."""
    out, data = args.output, np.load(args.prompts, allow_pickle=False)
    log: list[dict[str, float]] = []
    results: dict[str, Any] = {}
    notes: dict[str, Any] = {"plan": plan, "results": results, "log": log}

    def note() -> None:
        (out / "metrics.json").write_text(json.dumps(notes))

    def ragged(name: str) -> list[list[int]]:
        return [part.tolist() for part in np.split(data[f"{name}_tokens"], data[f"{name}_ends"][:-1])]

    ends = data["ends"].tolist()
    train_prompts, written, tests = ragged("train"), ragged("written"), ragged("test")
    written_prompt = data["written_prompt"].tolist()
    vocabulary = base.w["lm_head.weight"].shape[0]
    longest = max(map(len, [*train_prompts, *tests]))
    writer = Writer(base, plan["rows"], longest, plan["length"], ends)
    checks = writer.write(tests[:4], 0.0, time.monotonic() + 120)
    notes["check"] = checks
    note()
    say(f"greedy check done: {checks[0][:40]}")

    order = np.random.default_rng(0).permutation(len(train_prompts)).tolist()
    asked = [n for n in order for _ in range(plan["samples"])]
    begun = time.monotonic()
    texts = writer.write([train_prompts[n] for n in asked], 1.0, begun + plan["texts"])
    tokens = sum(map(len, texts.values()))
    say(f"own texts: {len(texts)}, {tokens / 1e6:.2f} M tokens, {tokens / (time.monotonic() - begun):.0f} tokens/s")
    own = sorted(texts)
    documents = [
        Document((*train_prompts[asked[n]], *texts[n]), len(train_prompts[asked[n]]), len(train_prompts[asked[n]]))
        for n in own
    ]
    keep_texts(out, [asked[n] for n in own], [texts[n] for n in own])

    sizes = plan["sizes"]
    room = {"batch_tokens": plan["batch_tokens"], "micro_tokens": plan["micro_tokens"], "log": log}
    modules, states, results["own"] = train_both(
        base, documents, sizes, vocabulary, seconds=plan["own"], name="own", **room
    )
    notes["config"] = modules.config.to_dict()
    save(modules, out, {})
    note()

    gold = json.loads(bytes(data["gold"]).decode())
    rewards, of = reward_texts(args.decode, [asked[n] for n in own], [texts[n] for n in own], gold)
    say(f"rewards: mean {np.mean(rewards):.3f} of {len(rewards)}")
    head, results["value"] = train_value(base, states, of, rewards, plan["value_width"], plan["value"])
    tensors = {f"value.{k}": v.detach().half().cpu().contiguous() for k, v in head.state_dict().items()}
    save(modules, out, tensors)
    note()

    test_texts: dict[str, dict[str, Any]] = {}

    def test(name: str, heat: float, samples: int, latents: LatentModules | None) -> None:
        begun = time.monotonic()
        author = writer if latents is None else Writer(
            base, plan["rows"], longest, plan["length"], ends, latents.to(base.dtype)
        )  # fmt: skip
        asked = [p for p in tests for _ in range(samples)]
        found = author.write(asked, heat, begun + plan["test"])
        many, speed = sum(map(len, found.values())), 1 / (time.monotonic() - begun)
        say(f"{name}: {len(found)} of {len(asked)} texts, {many} tokens, {many * speed:.0f} tokens/s")
        test_texts[name] = {"samples": samples, "heat": heat, "texts": {str(k): v for k, v in found.items()}}
        with gzip.open(out / "tests.json.gz", "wt") as stream:
            json.dump(test_texts, stream)

    trained = {k: v.clone() for k, v in modules.state_dict().items()}
    test("greedy-base", 0.0, 1, None)
    test("greedy-codes", 0.0, 1, modules)
    test("sampled-codes", 1.0, plan["test_samples"], modules)
    test("sampled-base", 0.7, plan["test_samples"], None)
    modules.float().load_state_dict(trained)
    note()

    del states
    rows = [Document(tuple(t), p, p) for t, p in zip(written, written_prompt, strict=True)]
    others = states_of(base, [documents[i] for i in range(0, len(documents), 50)][:120], plan["batch_tokens"] * 4)
    compared, _, results["written"] = train_both(
        base, rows, sizes, vocabulary, seconds=plan["written"], name="written", others=others, **room
    )
    test("greedy-codes-written", 0.0, 1, compared)
    note()
    say("done")


def save(modules: LatentModules, out: Path, value: dict[str, Tensor]) -> None:
    """The modules in float16, in three files: what comes back is at most 8 files of 16 MiB."""
    from safetensors.torch import save_file

    parts: dict[str, dict[str, Tensor]] = {"rest": dict(value)}
    for key, value in modules.state_dict().items():
        part = key.split(".")[0]
        parts.setdefault(part if part in ("idm", "policy") else "rest", {})[key] = value.half().cpu().contiguous()
    for part, tensors in parts.items():
        save_file(tensors, str(out / f"own-{part}.safetensors"))


def keep_texts(out: Path, problems: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
    """The texts in at most ``TEXT_FILES`` files of ``FILE_TOKENS`` tokens; those beyond are not kept."""
    ends = np.cumsum([len(text) for text in texts])
    for number in range(TEXT_FILES):
        begin, end = (int(np.searchsorted(ends, n * FILE_TOKENS, "right")) for n in (number, number + 1))
        if begin == end:
            return
        np.savez_compressed(
            out / f"rollouts-{number}.npz",
            tokens=np.array([t for text in texts[begin:end] for t in text], np.uint32),
            ends=ends[begin:end] - (int(ends[begin - 1]) if begin else 0),
            problem=np.array(problems[begin:end]),
        )


def reward_texts(
    decode: Path, problems: Sequence[int], texts: Sequence[Sequence[int]], gold: Sequence[str]
) -> tuple[list[float], list[int]]:
    r"""1 where the last ``\boxed{}`` is the gold answer as text or as a number: enough to learn from, no grade."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(decode))
    rewards = []
    for problem, text in zip(problems, tokenizer.decode_batch([list(t) for t in texts]), strict=True):
        rewards.append(float(plain(boxed(text)) == plain(gold[problem])))
    return rewards, list(problems)


def boxed(text: str) -> str:
    r"""What stands in the last complete ``\boxed{...}``."""
    for start in reversed([i for i in range(len(text)) if text.startswith("\\boxed{", i)]):
        depth = 0
        for end in range(start + 6, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                return text[start + 7 : end]
    return ""


def plain(answer: str) -> str:
    """An answer without what does not change it; numbers as numbers."""
    answer = answer.replace("\\dfrac", "\\frac").replace("\\left", "").replace("\\right", "")
    for mark in ("$", "\\$", "\\!", "\\,", " ", "\\%", "%", "^\\circ"):
        answer = answer.replace(mark, "")
    answer = answer.rstrip(".")
    try:
        return f"{float(answer.replace(',', '')):.6g}"
    except ValueError:
        return answer


def main() -> None:
    """Parse, load, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--decode", type=Path, required=True, help="tokenizer.json, to read answers for the value head")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True, help="JSON: seconds and sizes of the stages")
    parser.add_argument("--tiny", type=Path, help="a small base folder, in place of --gguf, on the CPU")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    plan = json.loads(args.plan.read_text())
    if args.tiny:
        base = from_folder(args.tiny)
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        base = from_gguf(args.gguf, torch.device("cuda"), torch.bfloat16)
    say(f"weights: {sum(w.numel() for w in base.w.values()) / 1e6:.0f} M numbers on {base.device}")
    session(args, base, plan)


def from_folder(folder: Path) -> Qwen2:
    """A Qwen2 from a base folder, in float32 on the CPU."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    c = model.config
    weights = {k: v.detach() for k, v in model.state_dict().items()}
    rope = getattr(c, "rope_parameters", None) or {}
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    return Qwen2(
        weights,
        Shape(
            c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.num_key_value_heads, head_dim,
            float(rope.get("rope_theta", 10000.0)), c.rms_norm_eps,
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
