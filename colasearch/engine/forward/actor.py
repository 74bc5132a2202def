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

from colasearch.engine.forward.capacity import rows_for
from colasearch.engine.forward.features import Chosen, Features, finite
from colasearch.engine.forward.inference import Inference, inference_of
from colasearch.engine.forward.looks import Looks, Single, Together, Wanted, packed
from colasearch.engine.forward.steps import DeviceSteps
from colasearch.engine.memory.attention import as_kept, kept_dtype
from colasearch.engine.memory.choose import Memories, Panels, memories, segment_store
from colasearch.engine.memory.interfaces import AttendedRows, Attention, NodeMemory, PromptAttention
from colasearch.engine.memory.paged import PagedRows
from colasearch.engine.memory.shape import Segment
from colasearch.engine.memory.whole import WholeBatch
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.model.latent_lm import LatentLM, fan_out_states, world_model_states
from colasearch.model.policy import sample_codes, sample_several, sampling_log_probs

PROMPT_TOKENS = 2048
"""Most tokens of prompts in one forward pass."""
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
        self._steps: DeviceSteps | None = None
        self.num_actions = lm.num_codes
        self.model_calls = self.prompt_tokens = self.generated_tokens = self.repeated_tokens = 0
        self.model_seconds = 0.0
        self.poll = poll
        self.note_kept = False

    def rows_for(self, config: WorldConfig) -> int:
        """Most texts to decode in one batch: what ``config`` says, else by the device, the model and the memory."""
        return config.rows or rows_for(self.lm.base, self.shape, config.max_tokens)

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

    def feed(self, tokens: Sequence[int], batch: AttendedRows | WholeBatch) -> Features:
        """Run one more token of each of the batch's rows, in the order of ``batch.places()``, through the model."""
        nothing = Wanted(np.zeros(len(tokens)), likely=False, drawn=False)
        return self.step(tokens, batch, nothing)[0]

    @torch.inference_mode()
    def step(self, tokens: Sequence[int], batch: AttendedRows | WholeBatch, wanted: Wanted) -> tuple[Features, Looks]:
        """As ``feed``, and answers to what is ``wanted`` of the rows then."""
        if self.poll is not None:
            self.poll()
        device = self.lm.base.device
        with self._timed():
            if isinstance(batch, WholeBatch):
                self.model_calls += len(tokens)
                features = Features.join([self._encode(row) for row in batch.extend(tokens)])
                return features, Single(self, features, wanted.uniforms)
            self.model_calls += 1
            if isinstance(batch, PagedRows) and batch.takes_tensors:
                features, together = self._device_steps().run(tokens, batch, wanted)
                batch.commit()
                return features, together
            positions = batch.begin()[None]
            features = self.attended(torch.tensor([tokens], device=device), positions, batch)
            batch.commit()
        if device.type == "cpu":
            return features, Single(self, features, wanted.uniforms)
        uniforms = torch.from_numpy(wanted.uniforms).to(device)
        numbers, kept = packed(self, features, uniforms, likely=wanted.likely, drawn=wanted.drawn)
        return features, Together(numbers.cpu().numpy(), self.latent, kept)

    def attended(self, tokens: Tensor, positions: Tensor, batch: Attention) -> Features:
        """Features after each of tokens ``[1, N]`` at ``positions`` ``[1, N]``, of whose texts ``batch`` knows."""
        hidden = self.inference.hidden(tokens, positions, batch)
        return Features(hidden[0], self._scores(hidden, positions, batch))

    def _device_steps(self) -> DeviceSteps:
        if self._steps is None:
            rows = self._memories().rows()
            assert isinstance(rows, PagedRows)
            self._steps = DeviceSteps(self, rows)
        return self._steps

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[Features, list[Segment]]:
        """Encode prompts side by side; features after the last token of each, and its keys and values."""
        features: list[Features] = []
        segments: list[Segment] = []
        at_once = self.shape is not None and self._memories().cuts_prompts
        groups: Sequence[Sequence[Sequence[int]]] = [prompts] if at_once else _groups(prompts)
        for group in groups:
            if self.poll is not None:
                self.poll()
            with self._timed():
                if self.shape is None:
                    self.model_calls += len(group)
                    features += [self._encode(prompt) for prompt in group]
                    segments += [WholeBatch.segment(prompt) for prompt in group]
                    self.prompt_tokens += sum(len(p) for p in group)
                else:
                    part, cut = self._encoded(self._memories().prompts(group), len(group))
                    features.append(part)
                    segments += cut
        return Features.join(features), segments

    @torch.inference_mode()
    def replay(self, path: Sequence[Segment], pieces: Sequence[Sequence[int]]) -> list[Segment] | None:
        """Keys and values of pieces of a text that follow ``path``; None where they are computed a token at a time."""
        if self.shape is None:
            return None
        lengths = [len(piece) for piece in pieces]
        attention = self._memories().after(path, [token for piece in pieces for token in piece])
        if attention is None:
            return None
        with self._timed():
            self._pass(attention)
        self.repeated_tokens += sum(lengths)
        return attention.runs(lengths)

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
        memories = self._memories()
        assert isinstance(memories, Panels)
        for group in _groups(parts):
            if self.poll is not None:
                self.poll()
            begin = len(segments)
            with self._timed():
                part, cut = self._encoded(memories.continued(group, before[begin : begin + len(group)]), len(group))
            features.append(part)
            segments += cut
        return Features.join(features), segments

    def _encoded(self, batch: PromptAttention, count: int) -> tuple[Features, list[Segment]]:
        """Features after the last token of each of ``count`` texts, and their keys and values."""
        after = self._pass(batch)
        self.prompt_tokens += batch.computed
        return Features.join([after[number] for number in range(count)]), batch.segments()

    def _pass(self, batch: PromptAttention) -> dict[int, Features]:
        """Run the model over all passages; features after the last token of each prompt."""
        after: dict[int, Features] = {}
        for passage in batch.passages():
            self.model_calls += 1
            tokens = torch.tensor([passage.tokens], device=self.lm.base.device)
            features = self.attended(tokens, passage.position_N[None], batch)
            if passage.ends:
                ended = features.rows([at for _, at in passage.ends])
                after |= {number: ended.rows(slice(i, i + 1)) for i, (number, _) in enumerate(passage.ends)}
        return after

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
                return tokens.masked_fill(~finite(states), -1)
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
        if candidates.device.type != "cpu":
            # One product for all: what rounds otherwise there is not for us to say.
            logits: Tensor = torch.matmul(states_BKD, weight[candidates].to(states_BKD.dtype).transpose(-1, -2))
            if bias is not None:
                logits = logits + bias[candidates][:, None]
            likeliest: Tensor = candidates.gather(-1, logits.argmax(-1))
            return likeliest
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
        return tokens_BM.masked_fill(~finite(states_BMD), -1)

    @torch.inference_mode()
    def tokens_under(self, hidden_BD: Tensor, codes_BM: Tensor) -> Tensor:
        """The token ``[B, M]`` that each of M codes leads to at each of B states, sought as ``most_probable`` does."""
        with self._timed():
            latents = self.lm.require_latents()
            final_norm = self.lm.base.apply_final_norm
            states = latents.merge.merge_some(hidden_BD, latents.codebook.weight, codes_BM, final_norm)
            return self._likely_tokens(hidden_BD, states)

    @torch.inference_mode()
    def next_tokens(self, features: Features, uniforms_B: Tensor, usable_B: Tensor | None = None) -> Chosen:
        """The next token of each row, drawn at ``uniforms_B`` in [0, 1); ``usable_B`` are its features', if known."""
        with self._timed():
            fine = features.usable() if usable_B is None else usable_B
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
