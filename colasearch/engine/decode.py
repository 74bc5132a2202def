"""Decoding many texts in one batch, each under its own forced first token and its own random numbers.

The actor says how the next token follows from a hidden state: with latent actions a code is drawn from the policy and
the world model's most probable token under that code is taken; without them a token is drawn from the base itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.kv_tree import BatchKV, KVShape, Segment
from colasearch.model.latent_lm import LatentLM, fan_out_states, world_model_states
from colasearch.model.policy import sample_codes, sampling_log_probs


def seeded_uniforms(count: int, *key: object) -> np.ndarray:
    """``count`` numbers in [0, 1) fixed by ``key``: a run seed, a problem id, the tokens of a path.

    They depend on nothing else, so neither batch-mates nor the number of workers can change what is drawn.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big"))).random(count)


@dataclass(slots=True)
class Features:
    """What the model knows after the last token of each of B rows.

    Attributes:
        hidden_BD: The base's hidden states.
        scores_BA: The policy's scores of the codes; None without latent modules.
    """

    hidden_BD: Tensor
    scores_BA: Tensor | None

    def rows(self, index: Tensor | slice) -> Features:
        """The features of some rows."""
        return Features(self.hidden_BD[index], None if self.scores_BA is None else self.scores_BA[index])


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes (or, without latent modules, tokens) are drawn while a text goes on.

    Attributes:
        temperature: Of the policy over codes.
        top_k: Codes to keep; 0 keeps all.
        token_temperature, token_top_k: The same for tokens, without latent modules.
    """

    temperature: float = 1.0
    top_k: int = 0
    token_temperature: float = 0.7
    token_top_k: int = 50


class Actor:
    """A model as a chooser of next tokens; counts its forward passes.

    Attributes:
        num_actions: K codes, or as many sampled first tokens.
        model_calls: Forward passes of the base so far.
        generated_tokens: Tokens decoded so far.
        poll: Called before each forward pass; what it raises ends the decoding.
    """

    def __init__(
        self, lm: LatentLM, sampling: Sampling, latent: bool = True, poll: Callable[[], None] | None = None
    ) -> None:
        self.lm, self.sampling, self.latent = lm, sampling, latent
        if latent:
            lm.require_latents()
        self.num_actions = lm.num_codes
        self.kv_shape = KVShape.of(lm)
        self.model_calls = 0
        self.generated_tokens = 0
        self.poll = poll

    def feed(self, tokens_BT: Tensor, kv: BatchKV) -> Features:
        """Run ``tokens_BT`` through base and policy after what ``kv`` holds; features of the last column."""
        if self.poll is not None:
            self.poll()
        new = tokens_BT.shape[1]
        mask, positions = kv.mask(new), kv.positions(new)
        hidden = self.lm.base.hidden(tokens_BT, mask, positions, kv.base_cache)
        scores = None
        if self.latent and self.lm.latents is not None:
            seen = mask.bool()[:, None, None, :].expand(-1, 1, new, -1)
            if new > 1:
                columns = torch.arange(kv.length + new, device=hidden.device)
                seen = seen & (columns <= columns[kv.length :, None])
                # A padded query sees no key at all, which makes softmax divide by zero: let it see itself.
                seen = seen | (columns == columns[kv.length :, None])
            scores = self.lm.latents.policy(hidden, positions, seen, list(kv.policy_caches))[:, -1].float()
        kv.length += new
        self.model_calls += 1
        return Features(hidden[:, -1], scores)

    def fan_out(self, features: Features, uniforms_BA: np.ndarray) -> Tensor:
        """First tokens ``[B, A]`` of all actions at each of the states.

        With latent actions: the most probable token under each code. Without: A draws from the base, at
        ``uniforms_BA`` in [0, 1).
        """
        base = self.lm.base
        if self.latent:
            states = fan_out_states(self.lm.require_latents(), base, features.hidden_BD)
            return self._most_probable(states)
        log_probs = self._token_log_probs(features)
        rows, count = uniforms_BA.shape
        draws = torch.from_numpy(uniforms_BA).to(log_probs.device)
        repeated = log_probs.repeat_interleave(count, dim=0)
        return sample_codes(repeated, draws.reshape(-1)).view(rows, count)

    def next_tokens(self, features: Features, uniforms_B: Tensor) -> Tensor:
        """The next token ``[B]`` of each row, drawn at ``uniforms_B`` in [0, 1)."""
        if not self.latent:
            return sample_codes(self._token_log_probs(features), uniforms_B)
        assert features.scores_BA is not None
        codes = sample_codes(
            sampling_log_probs(features.scores_BA, self.sampling.temperature, self.sampling.top_k), uniforms_B
        )
        states = world_model_states(self.lm.require_latents(), self.lm.base, features.hidden_BD, codes)
        return self._most_probable(states)

    def _most_probable(self, states: Tensor) -> Tensor:
        logits: Tensor = self.lm.base.head(states)
        return logits.argmax(-1)

    def _token_log_probs(self, features: Features) -> Tensor:
        logits = self.lm.base.logits(features.hidden_BD)
        return sampling_log_probs(logits, self.sampling.token_temperature, self.sampling.token_top_k)


@dataclass(frozen=True, slots=True)
class Rules:
    """When a step and a text end.

    Attributes:
        is_boundary: Whether a step ends after this token.
        is_finished: Whether a text (its tokens so far) is complete.
        max_step_tokens: Longest step.
        rollout: Whether decoding goes on after the step, to the end of the text.
    """

    is_boundary: Callable[[int], bool]
    is_finished: Callable[[Sequence[int]], bool]
    max_step_tokens: int
    rollout: bool


@dataclass(slots=True)
class Row:
    """One text to decode.

    Attributes:
        path: Segments of everything before the first token.
        first_token: Forced.
        uniforms: One number in [0, 1) a further token; their count limits the text to 1 + that many tokens.
        tree: Index of its problem.
        before: Tokens of the text that stand before ``first_token``; ``is_finished`` sees them.
        tokens: Filled in: the tokens decoded.
        ended: Filled in: the text is finished (end token or complete answer), rather than cut off.
        step_tokens: Filled in: how many of ``tokens`` belong to the step.
        step_ended: Filled in: the step ended the text.
        segment: Filled in: keys and values of the step's tokens; None when nothing can follow the step.
        features: Filled in: features of one row at the end of the step; None when nothing can follow it.
    """

    path: Sequence[Segment]
    first_token: int
    uniforms: np.ndarray
    tree: int = 0
    before: Sequence[int] = ()
    tokens: list[int] = field(default_factory=list)
    ended: bool = False
    step_tokens: int = 0
    step_ended: bool = False
    segment: Segment | None = None
    features: Features | None = None

    @property
    def full(self) -> bool:
        """No token may follow."""
        return len(self.tokens) > len(self.uniforms)

    def append(self, token: int, rules: Rules) -> None:
        """Take a token and note what it ends."""
        self.tokens.append(token)
        self.ended = rules.is_finished([*self.before, *self.tokens])
        over = self.ended or self.full or rules.is_boundary(token) or len(self.tokens) >= rules.max_step_tokens
        if over and not self.step_tokens:
            self.step_tokens, self.step_ended = len(self.tokens), self.ended

    def wants_feeding(self, rules: Rules) -> bool:
        """The last token must go through the model: for the token after it, or for the new node's features."""
        if self.ended or self.full:
            return False
        return rules.rollout or not self.step_tokens or self.step_tokens == len(self.tokens)

    def goes_on(self, rules: Rules) -> bool:
        """Another token is wanted."""
        return rules.rollout or not self.step_tokens


@torch.inference_mode()
def decode(actor: Actor, rows: Sequence[Row], rules: Rules) -> None:
    """Decode all ``rows`` together, filling them in. A row that ends leaves the batch at once."""
    base = actor.lm.base
    room = max(len(row.uniforms) for row in rows)
    kv = BatchKV.from_paths(actor.kv_shape, [row.path for row in rows], room, base.dtype, base.device)
    start = kv.length
    active = list(rows)
    tokens = [row.first_token for row in rows]

    def leave(stays: Callable[[Row], bool]) -> None:
        for slot in reversed(range(len(active))):
            if not stays(active[slot]):
                last = kv.drop(slot)
                active[slot], tokens[slot] = active[last], tokens[last]
                del active[last], tokens[last]

    while active:
        for row, token in zip(active, tokens, strict=True):
            row.append(token, rules)
        actor.generated_tokens += len(active)
        leave(lambda row: row.wants_feeding(rules))
        if not active:
            return
        last_tokens = torch.tensor([row.tokens[-1] for row in active], device=base.device)
        features = actor.feed(last_tokens[:, None], kv)
        for slot, row in enumerate(active):
            if row.step_tokens == len(row.tokens):
                row.features = features.rows(slice(slot, slot + 1))
                row.segment = kv.columns(slot, start, kv.length)
        numbers = np.array([row.uniforms[len(row.tokens) - 1] for row in active])
        tokens[:] = actor.next_tokens(features, torch.from_numpy(numbers).to(base.device)).tolist()
        leave(lambda row: row.goes_on(rules))


@torch.inference_mode()
def prefill(actor: Actor, prompts: Sequence[Sequence[int]]) -> tuple[Features, list[Segment]]:
    """Encode prompts in one batch; features after the last token and each prompt's keys and values."""
    base = actor.lm.base
    longest = max(len(p) for p in prompts)
    kv = BatchKV(actor.kv_shape, len(prompts), longest, base.dtype, base.device)
    padding = [longest - len(p) for p in prompts]
    kv.padding_B = torch.tensor(padding, device=base.device)
    tokens = torch.tensor([[0] * pad + list(p) for pad, p in zip(padding, prompts, strict=True)], device=base.device)
    features = actor.feed(tokens, kv)
    return features, [kv.columns(row, pad, longest) for row, pad in enumerate(padding)]
