"""Do codes learn on what the base itself writes? Stages 1 and 2 on its own texts' open transitions, by the codes' size.

    colasearch train rollouts --model BASE --on tokens --samples 1 --data problems.jsonl --output own.jsonl
    python benchmarks/measurements/own_codes.py --model BASE --data own.jsonl --code-size 0 --code-size 0.5

Of each text's states those are kept at which the likeliest token has a probability below ``--below``. The next token is
drawn afresh from the base's own distribution whenever a state is seen, so that no token can be memorised and the base
is right on average, as on its own texts without end. The inverse dynamics model reads the state and, in the place of
the state after it, the drawn token's row of the output head. The vocabulary is narrowed to tokens that are among the 16
likeliest somewhere. Every eighth text is held out. One line of JSON for each size and stage.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentModules, new_latents
from colasearch.training.data.corpus import load_corpus
from colasearch.training.data.documents import Document
from colasearch.training.data.hidden_cache import Batch, HiddenStates, hidden_states
from colasearch.training.latent_actions.actions import ActionLearner, ActionsConfig
from colasearch.training.latent_actions.cloning import PolicyCloner
from colasearch.training.latent_actions.evaluate import evaluate
from colasearch.training.latent_actions.start import size_codes, state_size

LIKELIEST = 16
HELD_OUT = 8  # every so many texts


class Narrow:
    """A base's output over some of its tokens, numbered anew."""

    autocast = False

    def __init__(self, base: BaseModel, tokens: Tensor) -> None:
        self.base, self.dtype, self.device = base, base.dtype, base.device
        self.rows: Tensor = base.head.weight[tokens].float()  # type: ignore[index]

    def logits(self, states: Tensor) -> Tensor:
        """Logits over the kept tokens."""
        return self.base.output(F.linear(states.float(), self.rows))

    def apply_final_norm(self, states: Tensor) -> Tensor:
        """The base's own."""
        return self.base.apply_final_norm(states)


class Pairs:
    """Open states, each with a next token that is drawn when it is asked for; to learners, texts of two tokens."""

    def __init__(self, narrow: Narrow, states_ND: Tensor, size: float, seed: int) -> None:
        self.narrow, self.states_ND, self.size, self.device = narrow, states_ND, size, narrow.device
        self.documents: Sequence[Document] = [Document((0, 0), 1, 1)] * len(states_ND)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def of(self, index: int) -> Tensor:
        """Both states of a pair, ``[2, D]``."""
        return self.batch([index]).hidden_BTD[0]

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> Batch:
        """States and freshly drawn tokens."""
        states = self.states_ND[list(indices)]
        drawn = torch.multinomial(self.narrow.logits(states).softmax(-1), 1, generator=self.generator)
        rows = self.narrow.rows[drawn[:, 0]]
        after = rows * (self.size / rows.square().mean(-1, keepdim=True).sqrt())
        tokens = torch.cat([torch.zeros_like(drawn), drawn], 1)
        return Batch(torch.stack([states, after], 1), tokens, torch.ones_like(drawn, dtype=torch.bool))


@torch.no_grad()
def open_states(base: BaseModel, states: HiddenStates, texts: Sequence[int], below: float) -> tuple[Tensor, Tensor]:
    """Open states ``[N, D]`` of ``texts``, and the likeliest tokens at each."""
    kept, tokens = [], []
    for index in texts:
        document = states.documents[index]
        hidden = states.of(index)[document.start - 1 : -1]
        top = base.logits(hidden.to(base.dtype)).softmax(-1).topk(LIKELIEST, dim=-1)
        is_open = top.values[:, 0] < below
        kept.append(hidden[is_open])
        tokens.append(top.indices[is_open].flatten())
    return torch.cat(kept), torch.cat(tokens)


def train(learner: Any, pairs: Pairs, steps: int, rows: int, lr: float, seed: int) -> dict[str, float]:
    """``steps`` updates of ``rows`` drawn pairs each; the last metrics."""
    parameters = learner.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), fused=True)
    generator = torch.Generator().manual_seed(seed)
    metrics: dict[str, float] = {}
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10) * max(0.1, 1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        chosen = torch.randint(len(pairs.documents), (rows,), generator=generator).tolist()
        metrics = learner.accumulate(chosen, step, steps)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return metrics


def measured(modules: LatentModules, narrow: Narrow, held: Pairs, most: int, mixture: int) -> dict[str, float]:
    """Held-out measures, rounded."""
    found = evaluate(modules, narrow, held, range(min(most, len(held.documents))), mixture)  # type: ignore[arg-type]
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Parse, compute the states, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True, help="log of train rollouts, or texts")
    parser.add_argument("--code-size", type=float, action="append", required=True)
    parser.add_argument("--below", type=float, default=0.95)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--held", type=int, default=600, help="held-out transitions to measure at most")
    parser.add_argument("--mixture", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    base = BaseModel.load(args.model, "cpu", "float32")
    corpus = load_corpus([args.data], base.tokenizer, base.end_id)
    states = hidden_states(base, corpus, lambda done, total: None)
    count = len(corpus.documents)
    groups = [[i for i in range(count) if (i % HELD_OUT == 0) == held] for held in (False, True)]
    (taught, some), (kept, more) = (open_states(base, states, group, args.below) for group in groups)
    numbers = sorted({*some.tolist(), *more.tolist()})
    narrow, size = Narrow(base, torch.tensor(numbers)), state_size(base, base.vocab_size)
    head = {"states": len(taught), "held_out": len(kept), "tokens": len(narrow.rows), "state_size": round(size, 3)}
    print(json.dumps(head), flush=True)
    for code_size in args.code_size:
        modules = new_latents(base, args.seed, policy_layers=1)
        if code_size:
            size_codes(modules, code_size * size)
        pairs, held = Pairs(narrow, taught, size, args.seed), Pairs(narrow, kept, size, args.seed + 1)
        learner = ActionLearner(modules, narrow, pairs, ActionsConfig(revive_every=0), args.seed)  # type: ignore[arg-type]
        train(learner, pairs, args.steps, args.rows, args.lr, args.seed)
        line = {"code_size": code_size, "stage": "actions", **measured(modules, narrow, held, args.held, 0)}
        print(json.dumps(line), flush=True)
        cloner = PolicyCloner(modules, pairs, base=narrow)  # type: ignore[arg-type]
        train(cloner, pairs, args.steps, args.rows, args.lr, args.seed + 1)
        line = {"code_size": code_size, "stage": "policy", **measured(modules, narrow, held, args.held, args.mixture)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
