"""The model as a writer of actions: draws them, proposes several, and says how likely given ones are.

All that is drawn at a place is fixed by the run seed, the place's key and a number, whatever else is in the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from colasearch.agents.layout import Chunk, Layout, action_of
from colasearch.agents.likely import BEAM, log_likelihoods
from colasearch.agents.places import Key, Place, Places
from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.heads import StateHeads
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.writing import Writing
from colasearch.model.latent_lm import LatentLM
from colasearch.model.policy import sampling_log_probs


@dataclass(frozen=True, slots=True)
class Written:
    """An action that the model wrote.

    Attributes:
        text: The action.
        tokens: How many tokens it took.
        cut: It reached the limit of its length.
        broken: The model gave NaN or infinity.
        ids: The tokens, with that which ended it; ``text`` may be tidier.
        codes: The code under which each was written; empty without latent actions, or where the first was given.
    """

    text: str
    tokens: int
    cut: bool = False
    broken: bool = False
    ids: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """An action that may be taken.

    Attributes:
        text: The action.
        share: How probable the model finds it, among the options.
    """

    text: str
    share: float


class Writer:
    """A model that writes actions.

    Attributes:
        layout: Of episodes.
        heads: What the model's own heads say of states.
        tokens_of: Tokens written or judged so far, by the first part of places' keys: by episode. Observations are
            none of them.
    """

    def __init__(
        self,
        lm: LatentLM,
        layout: Layout,
        config: WorldConfig,
        seed: int,
        actions: str,
        poll: Callable[[], None] | None = None,
    ) -> None:
        self.layout, self.seed, self.config = layout, seed, config
        latent = actions == "latent"
        self.actor = Actor(lm, config.sampling, latent=latent, poll=poll, engine=config.engine)
        self.greedy = Actor(lm, Sampling(top_k=1, token_top_k=1), latent=latent, poll=poll, engine=config.engine)
        self.ends = _ends_of(lm)
        self.heads = StateHeads.of(lm, config, latent)
        self.tokens_of: Counter[Hashable] = Counter()
        self._places = Places(self.actor, config.kv_bytes)

    @property
    def generated_tokens(self) -> int:
        """Tokens decoded so far; observations do not count."""
        return self.actor.generated_tokens + self.greedy.generated_tokens

    @property
    def model_calls(self) -> int:
        """Forward passes of the base so far."""
        return self.actor.model_calls + self.greedy.model_calls

    def places(self, keys: Sequence[Key], texts: Sequence[tuple[Chunk, ...]]) -> list[Place]:
        """States of episodes, given the chunks of each."""
        return self._places.of(keys, texts) if texts else []

    def usable(self, places: Sequence[Place]) -> list[bool]:
        """Whether the model gave finite numbers at each place."""
        return [bool(place.features.usable().all()) for place in places]

    def draw(
        self, places: Sequence[Place], count: int, *, greedy: bool = False, purpose: str = "draw"
    ) -> list[list[Written]]:
        """``count`` actions at each place, drawn independently; ``greedy``: the most probable code or token each."""
        actor = self.greedy if greedy else self.actor
        wanted = [(i, number) for i in range(len(places)) for number in range(count)]
        uniforms = [self._uniforms(places[i], purpose, number) for i, number in wanted]
        if not wanted:
            return []
        features = Features.join([place.features for place in places])
        device = features.hidden_BD.device
        first = torch.tensor([float(u[0]) for u in uniforms], dtype=torch.float64, device=device)
        chosen = actor.next_tokens(features.rows([i for i, _ in wanted]), first)
        rows = [
            Row(places[i].path, token, numbers[1:], i)
            for (i, _), token, numbers in zip(wanted, chosen.token_B.tolist(), uniforms, strict=True)
        ]
        actor.generated_tokens += len(rows)
        written = self._decoded(actor, places, rows, chosen.fine_B.tolist())
        if chosen.code_B is not None:
            codes = ((first, *row.codes) for first, row in zip(chosen.code_B.tolist(), rows, strict=True))
            written = [replace(one, codes=own) for one, own in zip(written, codes, strict=True)]
        each = iter(written)
        return [[next(each) for _ in range(count)] for _ in places]

    def propose(self, places: Sequence[Place], width: int) -> list[list[Option]]:
        """Up to ``width`` different actions at each place, and how probable each is; equal texts are merged.

        All codes (or as many tokens, drawn from the model) give the first tokens. Each first token has rows in
        proportion to its probability, and at least one, as far as ``width`` goes; each row goes on as it is drawn.
        """
        if not places:
            return []
        features = Features.join([place.features for place in places])
        count = self.actor.num_actions
        drawn = [seeded_uniforms(count, self.seed, *place.key, "fan") for place in places]
        first_BA = self.actor.fan_out(features, np.stack(drawn)).cpu().numpy()
        share_BA = self._shares(features, count)
        rows: list[Row] = []
        weights: list[float] = []
        for i, place in enumerate(places):
            for number, (token, weight) in enumerate(spread(first_BA[i], share_BA[i], width)):
                rows.append(Row(place.path, token, self._uniforms(place, "propose", number)[1:], i))
                weights.append(weight)
        self.actor.generated_tokens += len(rows)
        found: list[dict[str, float]] = [{} for _ in places]
        written = self._decoded(self.actor, places, rows, [True] * len(rows))
        for row, weight, one in zip(rows, weights, written, strict=True):
            if not one.broken:
                found[row.tree][one.text] = found[row.tree].get(one.text, 0.0) + weight
        return [options_of(shares) for shares in found]

    def judge(self, places: Sequence[Place], actions: Sequence[Sequence[str]], width: int) -> list[list[Option]]:
        """Given actions at each place, the likeliest first: at most ``width``, and at most ``BEAM`` of more."""
        rows = [[self.layout.action(text) for text in texts] for texts in actions]
        for place, row in zip(places, rows, strict=True):
            self.tokens_of[place.key[0]] += sum(map(len, row))
        scores = log_likelihoods(self.actor, places, rows, width, self.actor.rows_for(self.config))
        found = []
        for texts, score_O in zip(actions, scores, strict=True):
            order = sorted(range(len(texts)), key=lambda o: (-score_O[o], o))[: min(width, BEAM)]
            fine = [o for o in order if np.isfinite(score_O[o])]
            top = max((score_O[o] for o in fine), default=0.0)
            found.append(options_of({texts[o]: float(np.exp(score_O[o] - top)) for o in fine}))
        return found

    def values(self, places: Sequence[Place]) -> np.ndarray | None:
        """What the value head expects of each place, in (0, 1); None without one."""
        if not self.heads.value_states or not places:
            return None
        return self.heads.values(Features.join([place.features for place in places]))

    def _shares(self, features: Features, count: int) -> np.ndarray:
        if features.scores_BA is None:
            return np.full((len(features.hidden_BD), count), 1 / count)
        sampling = self.actor.sampling
        log_probs = sampling_log_probs(features.scores_BA, sampling.temperature, sampling.top_k)
        shares: np.ndarray = log_probs.double().exp().cpu().numpy()
        return shares

    def _uniforms(self, place: Place, purpose: str, number: int) -> np.ndarray:
        return seeded_uniforms(self.layout.action_tokens, self.seed, *place.key, purpose, number)

    def _decoded(self, actor: Actor, places: Sequence[Place], rows: list[Row], fine: Sequence[bool]) -> list[Written]:
        """Decode rows, each below the place of its number, to the end of their actions."""
        for row, usable in zip(rows, fine, strict=True):
            row.broken = row.broken or not usable or row.first_token < 0
        most = self.layout.action_tokens
        rules = Rules(_never, self._is_over, most + 1, True, record=self.ends.writing)
        decode(actor, [row for row in rows if not row.broken], rules, actor.rows_for(self.config))
        for row in rows:
            self.tokens_of[places[row.tree].key[0]] += len(row.tokens)
        return [
            Written(
                action_of(self.ends.decode(row.tokens)),
                len(row.tokens),
                cut=not row.ended and not row.broken and len(row.tokens) >= most,
                broken=row.broken,
                ids=tuple(row.tokens),
            )
            for row in rows
        ]

    def _is_over(self, tokens: Sequence[int]) -> bool:
        """Whether an action is complete: its line has ended, or the text has."""
        if self.ends.is_ended(tokens):
            return True
        text = tokens.text if isinstance(tokens, Writing) else self.ends.decode(tokens)
        return "\n" in text.lstrip()


def _never(token: int) -> bool:
    return False


_known_ends: dict[int, TextEnds] = {}


def _ends_of(lm: LatentLM) -> TextEnds:
    """Made once a tokenizer: it looks at the whole vocabulary."""
    tokenizer = lm.base.tokenizer
    kept = _known_ends.get(id(tokenizer))
    if kept is None or kept.tokenizer is not tokenizer:
        _known_ends.clear()
        kept = _known_ends[id(tokenizer)] = TextEnds(tokenizer, lm.base.end_ids)
    return kept


def options_of(shares: dict[str, float]) -> list[Option]:
    """Actions with their shares of all, the most probable first; the shorter, then the first one, of equal ones."""
    total = sum(shares.values())
    order = sorted(shares, key=lambda text: -shares[text])
    return [Option(text, shares[text] / total) for text in order] if total > 0 else []


def spread(first_A: np.ndarray, share_A: np.ndarray, width: int) -> list[tuple[int, float]]:
    """First tokens of ``width`` rows and the weight of each: every token by its share, the most probable ones first.

    Args:
        first_A: First token of each action; -1 for one that cannot be used.
        share_A: How probable each action is.
        width: Rows.
    """
    shares: dict[int, float] = {}
    for token, share in zip(first_A.tolist(), share_A.tolist(), strict=True):
        if token >= 0:
            shares[token] = shares.get(token, 0.0) + share
    rows: list[tuple[int, float]] = []
    for token in sorted(shares, key=lambda t: (-shares[t], t)):
        count = min(max(1, round(shares[token] * width)), width - len(rows))
        rows += [(token, shares[token] / count)] * count if count > 0 else []
    return rows


def with_temperature(config: WorldConfig, temperature: float) -> WorldConfig:
    """``config`` with codes and tokens drawn at ``temperature``."""
    sampling = replace(config.sampling, temperature=temperature, token_temperature=temperature)
    return replace(config, sampling=sampling)
