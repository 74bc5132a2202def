"""Stages 1 and 2 and a value head on a session's texts, each for so many seconds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
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
from colasearch.training.latent_actions.start import size_codes, state_size
from colasearch.training.latent_actions.uncertain import weights_of
from gpu_session.qwen2 import Qwen2
from gpu_session.say import say


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


def new_modules(base: Qwen2, vocabulary: int, sizes: dict[str, int], seed: int, code_size: float) -> LatentModules:
    """Fresh modules of the base's width, whose codes are ``code_size`` times as large as its hidden states."""
    s = base.shape
    shape: dict[str, Any] = {
        "num_heads": s.heads, "num_kv_heads": s.kv_heads, "head_dim": s.head_dim, "rope_theta": s.theta,
        "idm_ffn": s.width, "policy_ffn": s.width, "merge_ffn": 32 * math.ceil(s.width * 5 / 9 / 32), **sizes,
    }  # fmt: skip
    config = LatentConfig(base=BaseIdentity("base"), hidden_size=s.width, vocab_size=vocabulary, **shape)
    torch.manual_seed(seed)
    modules = LatentModules(config).to(base.device)
    size_codes(modules, code_size * state_size(base, vocabulary))
    return modules


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
    code_size: float, below: float, share: float,
) -> tuple[LatentModules, HiddenStates, dict[str, dict[str, float]]]:  # fmt: skip
    """Stages 1 and 2 on ``documents``; measured on those held out, and on those of ``others``."""
    states = states_of(base, documents, batch_tokens * 4)
    say(f"{name}: {len(documents)} documents, {len(states.hidden) / 1e6:.2f} M hidden states")
    held = [i for i in range(len(documents)) if i % 50 == 0][:120]
    kept = sorted(set(range(len(documents))) - set(held))
    modules = new_modules(base, vocabulary, sizes, 0, code_size)
    weights = weights_of(base, states, below, share, batch_tokens=batch_tokens)  # type: ignore[arg-type]
    say(f"{name}: {sum(int((w > 0).sum()) for w in weights) / 1e6:.2f} M transitions to learn codes from")
    settings = ActionsConfig(usage_weight=0.02, revive_every=50, micro_tokens=micro_tokens)
    learner = ActionLearner(modules, base, states, settings, 0, weights=weights)  # type: ignore[arg-type]
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
