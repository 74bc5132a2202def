"""Independent texts from a model: what greedy decoding, majority vote and best-of-N choose from.

The searchers of those names walk a tree step by step and pay for an evaluation of each step. Here a text is decoded
straight from the prompt to its end, as self-consistency and best-of-N are published, so that no baseline pays for
machinery that it does not use. Sample ``i`` of a problem is fixed by run seed, problem id and ``i``: the first n
samples are the same however many follow, and whatever else is in the batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.heads import StateHeads
from colasearch.engine.prompt import prompt_of
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.judged import values_of
from colasearch.engine.vllm import VllmTexts
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem
from colasearch.tasks import answer_of, get_task

GREEDY = Sampling(top_k=1, token_top_k=1)
"""Takes the most probable code (or token) each time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One text.

    Attributes:
        tokens: Generated tokens.
        text: Without special tokens.
        answer: Extracted; None when there is none, or the text was cut off.
        ended: The text is complete, rather than cut off at the limit.
        broken: The model gave NaN or infinity, which cut it off.
        cut: It reached the limit of its length.
    """

    tokens: tuple[int, ...]
    text: str
    answer: str | None
    ended: bool
    broken: bool = False
    cut: bool = False


class Sampler:
    """Draws texts for a batch of problems.

    Attributes:
        prompts: Prompt tokens of each problem; None for one that is too long, whose error is in ``errors``.
        errors: Why a problem cannot be sampled.
        heads: What the model's own heads say of states.
    """

    def __init__(
        self,
        lm: LatentLM,
        problems: Sequence[Problem],
        config: WorldConfig,
        seed: int,
        actions: str,
        *,
        greedy: bool = False,
        poll: Callable[[], None] | None = None,
        shared: tuple[Actor, TextEnds] | None = None,
    ) -> None:
        """Encode the prompts.

        Args:
            lm: The model.
            problems: The batch.
            config: Length limit, rows and sampling; ``references`` and ``max_step_tokens`` mean nothing here.
            seed: Run seed.
            actions: ``latent`` or ``sampled``.
            greedy: Take the most probable code (or token) each time.
            poll: Called before each forward pass; what it raises ends the drawing.
            shared: Actor and text ends of other samplers of the same model, sampling and actions, to use in place of
                new ones: so texts of all can be decoded in one batch.
        """
        self.lm, self.problems, self.config, self.seed = lm, list(problems), config, seed
        if shared is None:
            sampling = GREEDY if greedy else config.sampling
            actor = Actor(lm, sampling, latent=actions == "latent", poll=poll, engine=config.engine)
            shared = actor, TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self.actor, self.ends = shared
        self.heads = StateHeads.of(lm, config, self.actor.latent)
        self.errors: dict[int, InputError] = {}
        self.prompts = [self._prompt(i) for i in range(len(self.problems))]
        self._places = [i for i, prompt in enumerate(self.prompts) if prompt is not None]
        self._vllm = _vllm_of(lm) if config.backend == "vllm" else None
        if self._places and self._vllm is None:
            prompts = [prompt for prompt in self.prompts if prompt is not None]
            features, segments = self.actor.prefill(prompts)
            self._features, self._segments = features, dict(zip(self._places, segments, strict=True))
        self.in_progress: list[tuple[int, int, Row]] = []

    def _prompt(self, index: int) -> tuple[int, ...] | None:
        try:
            return prompt_of(self.lm, self.problems[index], self.config.max_tokens)
        except InputError as error:
            self.errors[index] = error
            return None

    def draw(self, wanted: Sequence[tuple[int, int]]) -> list[Sample]:
        """The samples ``(problem, number)``, in order. If ``poll`` raises, ``finished`` has what was done by then."""
        if self._vllm is not None:
            return self._written(self._vllm, wanted)
        rows, rules = self.begin(wanted)
        decode(self.actor, rows, rules, self.actor.rows_for(self.config))
        return [sample for _, _, sample in self.finished()]

    def begin(self, wanted: Sequence[tuple[int, int]]) -> tuple[list[Row], list[Rules]]:
        """Rows of the samples ``(problem, number)``, for a decoder, and their rules; ``finished`` tells of them."""
        rows = self._rows(wanted)
        self.in_progress = [(*name, row) for name, row in zip(wanted, rows, strict=True)]
        return rows, [self._rules(place) for place, _ in wanted]

    def _written(self, vllm: VllmTexts, wanted: Sequence[tuple[int, int]]) -> list[Sample]:
        """The same by vLLM. It writes all of them before anything can be looked at."""
        if self.actor.poll is not None:
            self.actor.poll()
        texts = vllm.write(
            [self.prompts[place] or [] for place, _ in wanted],
            [(self.seed, self.problems[place].id, "sample", number) for place, number in wanted],
            [self._rules(place).is_finished for place, _ in wanted],
            self.actor.sampling,
            self.config.max_tokens,
        )
        nothing = np.zeros(0)
        self.in_progress = [
            (*name, Row((), text.tokens[0], nothing, tokens=text.tokens, ended=text.ended))
            for name, text in zip(wanted, texts, strict=True)
        ]
        self.actor.generated_tokens += sum(len(text.tokens) for text in texts)
        return [sample for _, _, sample in self.finished()]

    def _rules(self, place: int) -> Rules:
        ends = self.ends
        is_finished = ends.finish_of(get_task(self.problems[place].task))
        return Rules(ends.is_boundary, is_finished, self.config.max_tokens, True, record=ends.writing)

    def finished(self) -> list[tuple[int, int, Sample]]:
        """``(problem, number, sample)`` of the last call of :meth:`draw`; a text in progress counts as cut off."""
        return [(place, number, self._sample(place, row)) for place, number, row in self.in_progress]

    @torch.inference_mode()
    def _rows(self, wanted: Sequence[tuple[int, int]]) -> list[Row]:
        """Rows with their first tokens chosen."""
        index = torch.tensor([self._places.index(place) for place, _ in wanted], device=self.lm.base.device)
        uniforms = [
            seeded_uniforms(self.config.max_tokens, self.seed, self.problems[place].id, "sample", number)
            for place, number in wanted
        ]
        first = torch.tensor([float(u[0]) for u in uniforms], dtype=torch.float64, device=self.lm.base.device)
        tokens = self.actor.next_tokens(self._features.rows(index), first).token_B.tolist()
        return [
            Row([self._segments[place]], token, numbers[1:], place)
            for (place, _), token, numbers in zip(wanted, tokens, uniforms, strict=True)
        ]

    def _sample(self, place: int, row: Row) -> Sample:
        text = self.ends.decode(row.tokens)
        answer = answer_of(text, self.problems[place].task) if row.ended else None
        cut = not row.ended and not row.broken and len(row.tokens) >= self.config.max_tokens
        return Sample(tuple(row.tokens), text, answer, row.ended, row.broken, cut)

    @torch.inference_mode()
    def values(self, place: int, samples: Sequence[Sample]) -> list[float] | None:
        """What the rewards of ``--values``, or the value head, say of complete texts; None if there is neither."""
        if self.config.values:
            problem = self.problems[place]
            return values_of(self.config.values)([problem] * len(samples), [sample.text for sample in samples])
        prompt = self.prompts[place]
        if not self.heads.value_states or prompt is None or not samples:
            return None
        # As in a search, by the state before the last token: the head was trained on states that go on.
        features, _ = self.actor.prefill([[*prompt, *sample.tokens[:-1]] for sample in samples])
        return [float(v) for v in self.heads.values(features).tolist()]


_STARTED: weakref.WeakKeyDictionary[LatentLM, VllmTexts] = weakref.WeakKeyDictionary()


def _vllm_of(lm: LatentLM) -> VllmTexts:
    """VLLM with a model's base, started once: that takes a minute, and most of a GPU's memory."""
    if lm not in _STARTED:
        _STARTED[lm] = VllmTexts(lm.base)
    return _STARTED[lm]
