"""The model as the engine runs it: what follows from tokens, and how the next token is chosen.

With latent actions a code is drawn from the policy and the world model's most probable token under that code is taken;
without them a token is drawn from the base itself. Knows nothing of trees, problems or the order of work. The most
probable token is that of the output head's largest product, whatever scale and cap make logits of it (model/output.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.forward.features import Chosen, Features
from colasearch.engine.forward.inference import Inference, inference_of
from colasearch.engine.memory.attention import as_kept, kept_dtype
from colasearch.engine.memory.choose import Memories, Panels, memories, segment_store
from colasearch.engine.memory.interfaces import AttendedRows, Attention, NodeMemory, PromptAttention
from colasearch.engine.memory.shape import Segment
from colasearch.engine.memory.whole import WholeBatch
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.model.latent_lm import LatentLM, fan_out_states, world_model_states
from colasearch.model.policy import sample_codes, sample_several, sampling_log_probs

PROMPT_TOKENS = 2048
"""Most tokens of prompts in one forward pass."""
ROWS = 64
"""Most texts in one batch on a CPU, unless the user says otherwise."""
GPU_ROWS = (64, 512)
"""Least and most texts in one batch on a GPU, unless the user says otherwise."""
GPU_MEMORY = 0.5
"""Share of a GPU's free memory that the texts in a batch may fill; nodes and the passes themselves need some."""
PROBABLE_SHORTLIST = 64
"""Tokens among which ``Actor.most_probable`` looks. Of 449 states of word problems none was found open otherwise than
with 2,048 at a bound of 0.9, two at 0.999; the search's time falls by a third (docs/performance.md)."""


class Actor:
    """A model as a chooser of next tokens; counts what it does.

    Attributes:
        num_actions: K codes, or as many sampled first tokens.
        model_calls: Forward passes of the base so far.
        prompt_tokens: Tokens of prompts run through the base so far.
        generated_tokens: Tokens decoded so far.
        repeated_tokens: Tokens run through the base again because their keys and values had been evicted.
        model_seconds: Time spent in the model.
        poll: Called before each forward pass; what it raises ends the decoding.
        note_kept: Whether ``next_tokens`` says among what it drew, which RL under truncation wants.
    """

    def __init__(
        self,
        lm: LatentLM,
        sampling: Sampling,
        latent: bool = True,
        poll: Callable[[], None] | None = None,
        engine: str = "auto",
    ) -> None:
        self.sampling, self.latent = sampling, latent
        if latent:
            lm.require_latents()
        self.inference: Inference = inference_of(lm, engine)
        self.lm = self.inference.lm
        shape = self.inference.shape
        # Without codes the policy never runs, so its blocks keep nothing.
        self.shape = shape if latent or shape is None else replace(shape, policy_layers=0)
        self.engine = engine
        self._memory_of: dict[torch.dtype, Memories] = {}
        self.num_actions = lm.num_codes
        self.model_calls = self.prompt_tokens = self.generated_tokens = self.repeated_tokens = 0
        self.model_seconds = 0.0
        self.poll = poll
        self.note_kept = False

    def rows_for(self, config: WorldConfig) -> int:
        """Most texts to decode in one batch: what ``config`` says, else by the device, the model and the memory.

        On a CPU ``ROWS``, from where on a batch gains nothing. A GPU reads the weights once a step, whatever the rows:
        as many as its free memory holds at the full length of their texts, within ``GPU_ROWS``.
        """
        if config.rows is not None:
            return config.rows
        base = self.lm.base
        if base.device.type != "cuda" or self.shape is None:
            return ROWS
        free = torch.cuda.mem_get_info(base.device)[0] * GPU_MEMORY
        token = 2 * self.shape.layers * self.shape.heads * self.shape.head_dim * base.dtype.itemsize
        least, most = GPU_ROWS
        return max(least, min(most, int(free / (token * (PROMPT_TOKENS // 4 + config.max_tokens)))))

    def _memories(self) -> Memories:
        """Where keys and values are kept, in the element type of the moment (autocast may be on)."""
        assert self.shape is not None
        base = self.lm.base
        dtype = kept_dtype(base.dtype, base.device)
        if dtype not in self._memory_of:
            self._memory_of[dtype] = memories(self.engine, self.shape, dtype, base.device)
        return self._memory_of[dtype]

    def new_batch(self) -> AttendedRows | WholeBatch:
        """An empty batch of rows."""
        return WholeBatch() if self.shape is None else self._memories().rows()

    def node_memory(self, budget: int | None) -> NodeMemory:
        """An empty memory for the segments of tree nodes, of at most ``budget`` bytes."""
        return segment_store(budget) if self.shape is None else self._memories().nodes(budget)

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int], batch: AttendedRows | WholeBatch) -> Features:
        """Run one more token of each of the batch's rows, in the order of ``batch.places()``, through the model."""
        if self.poll is not None:
            self.poll()
        with self._timed():
            if isinstance(batch, WholeBatch):
                self.model_calls += len(tokens)
                return Features.join([self._encode(row) for row in batch.extend(tokens)])
            self.model_calls += 1
            device = self.lm.base.device
            positions = batch.begin()[None]
            hidden = self.inference.hidden(torch.tensor([tokens], device=device), positions, batch)
            features = Features(hidden[0], self._scores(hidden, positions, batch))
            batch.commit()
            return features

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[Features, list[Segment]]:
        """Encode prompts side by side; features after the last token of each, and its keys and values."""
        features: list[Features] = []
        segments: list[Segment] = []
        for group in _groups(prompts):
            if self.poll is not None:
                self.poll()
            with self._timed():
                if self.shape is None:
                    self.model_calls += len(group)
                    features += [self._encode(prompt) for prompt in group]
                    segments += [WholeBatch.segment(prompt) for prompt in group]
                else:
                    part, cut = self._encode_prompts(group)
                    features.append(part)
                    segments += cut
            self.prompt_tokens += sum(len(p) for p in group)
        return Features.join(features), segments

    @property
    def can_continue(self) -> bool:
        """Whether ``continue_texts`` can be asked; otherwise texts are encoded whole, by ``prefill``."""
        return self.shape is not None and isinstance(self._memories(), Panels)

    @torch.inference_mode()
    def continue_texts(
        self, parts: Sequence[Sequence[int]], before: Sequence[Sequence[Segment]]
    ) -> tuple[Features, list[Segment]]:
        """Encode parts of texts side by side, each behind segments of what stands before it; see ``prefill``."""
        features: list[Features] = []
        segments: list[Segment] = []
        begin = 0
        for group in _groups(parts):
            if self.poll is not None:
                self.poll()
            memories = self._memories()
            assert isinstance(memories, Panels)
            with self._timed():
                attention = memories.continued(group, before[begin : begin + len(group)])
                part, cut = self._encode_prompts(group, attention)
            features.append(part)
            segments += cut
            begin += len(group)
            self.prompt_tokens += sum(map(len, group))
        return Features.join(features), segments

    def _encode_prompts(
        self, prompts: Sequence[Sequence[int]], batch: PromptAttention | None = None
    ) -> tuple[Features, list[Segment]]:
        self.model_calls += 1
        device = self.lm.base.device
        batch = batch or self._memories().prompts(prompts)
        positions = batch.positions(device)[None]
        tokens = torch.tensor([[t for p in prompts for t in p]], device=device)
        hidden = self.inference.hidden(tokens, positions, batch)
        last = torch.tensor(batch.lengths, device=device).cumsum(0) - 1
        scores = self._scores(hidden, positions, batch)
        return Features(hidden[0, last], None if scores is None else scores[last]), batch.segments()

    def _encode(self, tokens: Sequence[int]) -> Features:
        """Features after a whole text, nothing kept."""
        hidden = self.lm.base.hidden(torch.tensor([list(tokens)], device=self.lm.base.device))
        scores = None
        if self.latent and self.lm.latents is not None:
            scores = self.lm.latents.policy(hidden)[0, -1:].float()
        return Features(hidden[0, -1:], scores)

    def _scores(self, hidden: Tensor, positions: Tensor, batch: Attention) -> Tensor | None:
        if self.lm.latents is None or not self.latent:
            return None
        assert self.shape is not None
        above = self.shape.base_layers

        def attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return batch(above + layer, *as_kept(query, key, value))

        scores: Tensor = self.lm.latents.policy(hidden, positions, attention=attention)[0].float()
        return scores

    @torch.inference_mode()
    def fan_out(self, features: Features, uniforms_BA: np.ndarray) -> Tensor:
        """First tokens ``[B, A]`` of all actions at each of the states.

        With latent actions: the most probable token under each code. All K codes' head inputs cost one batched merge;
        the output head, by far the larger part for a small model with a large vocabulary, is applied to ``shortlist``
        tokens: half of them those that the base itself finds most probable at the state, half those most probable at
        the codes' mean head input under the policy (docs/performance.md has how often that differs from the whole
        vocabulary). A code under which the world model gives NaN or infinity has -1.
        Without: A draws from the base, at ``uniforms_BA`` in [0, 1).
        """
        with self._timed():
            if self.latent:
                states = fan_out_states(self.lm.require_latents(), self.lm.base, features.hidden_BD)
                size = self.sampling.shortlist
                tokens: Tensor
                if 0 < size < self.lm.base.vocab_size // 2:
                    tokens = self._from_shortlist(features, states, size)
                else:
                    tokens = self.lm.base.head(states).argmax(-1)
                return tokens.masked_fill(~states.isfinite().all(-1), -1)
            log_probs = self._token_log_probs(features)
            return sample_several(log_probs, torch.from_numpy(uniforms_BA).to(log_probs.device))

    def _from_shortlist(self, features: Features, states_BKD: Tensor, size: int) -> Tensor:
        assert features.scores_BA is not None
        policy_BK = torch.softmax(features.scores_BA, -1).to(states_BKD.dtype)
        pivots_BPD = torch.stack([features.hidden_BD, torch.matmul(policy_BK[:, None], states_BKD)[:, 0]], dim=1)
        return self._best_among(pivots_BPD, states_BKD, size // 2)

    def _best_among(self, pivots_BPD: Tensor, states_BKD: Tensor, size: int) -> Tensor:
        """Most probable token ``[B, K]`` at each head input, among the ``size`` most probable at each pivot."""
        best_BPS = self.lm.base.head(pivots_BPD).topk(size, sorted=False).indices
        # In order of token number: equal logits must not be decided by topk's order.
        candidates = best_BPS.flatten(1).sort(-1).values
        weight, bias = self.inference.head_weight, self.inference.head_bias
        # State by state, so that the shapes, and with them the order of summation, never depend on the batch.
        best = []
        for states_KD, tokens_S in zip(states_BKD, candidates, strict=True):
            logits = states_KD @ weight[tokens_S].to(states_KD.dtype).T
            if bias is not None:
                logits = logits + bias[tokens_S]
            best.append(tokens_S[logits.argmax(-1)])
        return torch.stack(best)

    @torch.inference_mode()
    def most_probable(self, features: Features) -> tuple[Tensor, Tensor, Tensor | None]:
        """The most probable next token of each row, codes of equal first tokens taken together.

        With latent actions, each code's first token is sought among the ``PROBABLE_SHORTLIST`` tokens that the base
        itself finds most probable: a token of high probability is among them, and a state costs a third of what
        ``fan_out`` asks.

        Returns:
            Its probability ``[B]``, the token ``[B]``, and the most probable of its codes ``[B]`` (None without latent
            actions).
        """
        if not self.latent:
            best = self._token_log_probs(features).max(-1)
            return best.values.exp(), best.indices, None
        assert features.scores_BA is not None
        with self._timed():
            states = fan_out_states(self.lm.require_latents(), self.lm.base, features.hidden_BD)
            tokens_BA = self._likely_tokens(features.hidden_BD, states)
        policy_BA = sampling_log_probs(features.scores_BA, self.sampling.temperature, self.sampling.top_k).exp()
        same_BAA = tokens_BA[:, :, None] == tokens_BA[:, None, :]
        together = (same_BAA * policy_BA[:, None]).sum(-1).max(-1)
        token_B1 = tokens_BA.gather(-1, together.indices[:, None])
        code_B = policy_BA.masked_fill(tokens_BA != token_B1, -1.0).argmax(-1)
        return together.values, token_B1[:, 0], code_B

    def _likely_tokens(self, hidden_BD: Tensor, states_BMD: Tensor) -> Tensor:
        """Most probable token ``[B, M]`` at each head input, of ``PROBABLE_SHORTLIST``; -1 where one is not finite."""
        if self.lm.base.vocab_size // 2 > PROBABLE_SHORTLIST:
            tokens_BM = self._best_among(hidden_BD[:, None], states_BMD, PROBABLE_SHORTLIST)
        else:
            tokens_BM = self.lm.base.head(states_BMD).argmax(-1)
        return tokens_BM.masked_fill(~states_BMD.isfinite().all(-1), -1)

    @torch.inference_mode()
    def tokens_under(self, hidden_BD: Tensor, codes_BM: Tensor) -> Tensor:
        """The token ``[B, M]`` that each of M codes leads to at each of B states, sought as ``most_probable`` does."""
        with self._timed():
            latents = self.lm.require_latents()
            final_norm = self.lm.base.apply_final_norm
            states = latents.merge.merge_some(hidden_BD, latents.codebook.weight, codes_BM, final_norm)
            return self._likely_tokens(hidden_BD, states)

    @torch.inference_mode()
    def next_tokens(self, features: Features, uniforms_B: Tensor) -> Chosen:
        """The next token of each row, drawn at ``uniforms_B`` in [0, 1)."""
        with self._timed():
            fine = features.usable()
            if not self.latent:
                log_probs = self._token_log_probs(features)
                usable = fine & ~log_probs.isnan().any(-1)
                return Chosen(sample_codes(log_probs, uniforms_B), None, usable, self._kept(log_probs))
            assert features.scores_BA is not None
            log_probs = sampling_log_probs(features.scores_BA, self.sampling.temperature, self.sampling.top_k)
            codes = sample_codes(log_probs, uniforms_B)
            states = world_model_states(self.lm.require_latents(), self.lm.base, features.hidden_BD, codes)
            best = self.lm.base.head(states).max(-1)
            return Chosen(best.indices, codes, fine & best.values.isfinite(), self._kept(log_probs))

    @torch.inference_mode()
    def greedy_tokens(self, features: Features) -> Tensor:
        """The base's own most probable next tokens ``[B]``; no code takes part."""
        with self._timed():
            tokens: Tensor = self.lm.base.head(features.hidden_BD).argmax(-1)
            return tokens

    def _kept(self, log_probs_BA: Tensor) -> Tensor | None:
        return log_probs_BA > float("-inf") if self.note_kept else None

    def _token_log_probs(self, features: Features) -> Tensor:
        logits = self.lm.base.logits(features.hidden_BD)
        how = self.sampling
        return sampling_log_probs(logits, how.token_temperature, how.token_top_k, top_p=how.token_top_p)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.model_seconds += time.perf_counter() - begun


def _groups(prompts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    groups: list[list[Sequence[int]]] = [[]]
    total = 0
    for prompt in prompts:
        if groups[-1] and total + len(prompt) > PROMPT_TOKENS:
            groups.append([])
            total = 0
        groups[-1].append(prompt)
        total += len(prompt)
    return groups
