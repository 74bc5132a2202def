"""Semantic diversity of continuations: how different the texts are that codes, or tokens, lead to.

The measure is CoLA's (arXiv 2503.21383; reference figure: random codes 1.92, the LM's own sampling 1.54, random tokens
1.30, with BGE-M3 on Llama-3.1-8B): for each of N prefixes M continuations are written; their pairwise cosine
similarities in a sentence encoder are averaged; diversity is the reciprocal of the mean over prefixes. Continuations
alone are embedded, without their prefix. Numbers depend on the encoder and on the length, so compare within one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling
from colasearch.model.ends import encode
from colasearch.model.latent_lm import LatentLM

Embed = Callable[[Sequence[str]], npt.NDArray[np.float64]]
"""Texts to unit vectors ``[texts, width]``."""
WAYS = {
    "random codes": "each token's code drawn evenly from all codes",
    "policy codes": "each token's code drawn from the policy",
    "lm sampling": "each token drawn from the base model, temperature 1",
    "random tokens": "each token drawn evenly from the vocabulary",
}
EVEN = 1e9
"""A temperature at which the policy's preferences are gone."""
ROWS = 64
PREFIXES = (
    "The old lighthouse keeper climbed the stairs one last time and",
    "In the middle of the meeting, the engineer suddenly realised that",
    "To make a good soup, the most important thing is",
    "The committee could not agree on whether the new bridge",
    "When the train finally arrived, the passengers",
    "Scientists have recently discovered that plants",
    "My grandmother always said that a garden",
    "The price of bread had doubled in a year, so the baker",
    "After the storm, the first thing the children noticed was",
    "A triangle with two equal sides",
    "The main difference between rivers and lakes is",
    "On the third day of the expedition, the map",
    "The museum's newest painting shows",
    "If the shop sells twelve boxes a day, then in a week",
    "Nobody in the village remembered why the bell",
    "The best way to learn a language is",
)
"""What is continued when no data is given; written for this project."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """One way of writing, measured.

    Attributes:
        how: A key of ``WAYS``.
        similarity: Mean over prefixes of the mean pairwise cosine similarity of their continuations.
        value: Its reciprocal.
        low, high: 95% interval of ``value``: bootstrap over prefixes.
        distinct: Share of texts that are different from all others of their prefix.
        blank: Share of texts without a letter or digit.
    """

    how: str
    similarity: float
    value: float
    low: float
    high: float
    distinct: float
    blank: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "how": self.how,
            "similarity": round(self.similarity, 6),
            "diversity": round(self.value, 6),
            "ci95": [round(self.low, 6), round(self.high, 6)],
            "distinct": round(self.distinct, 6),
            "blank": round(self.blank, 6),
        }


def pairwise_similarity(vectors_MD: npt.NDArray[np.float64]) -> float:
    """Mean cosine similarity over the pairs of M unit vectors.

    Raises:
        ValueError: Fewer than two vectors.
    """
    count = len(vectors_MD)
    if count < 2:
        raise ValueError(f"{count} continuations have no pairs; at least 2 are needed")
    total = vectors_MD.sum(axis=0)
    # The sum over ordered pairs i != j is |sum|^2 less the M self-similarities.
    return float((total @ total - (vectors_MD**2).sum()) / (count * (count - 1)))


def measure(how: str, texts_NM: Sequence[Sequence[str]], embed: Embed, seed: int = 0) -> Diversity:
    """Diversity of M continuations of each of N prefixes."""
    flat = [text for texts in texts_NM for text in texts]
    vectors = embed(flat)
    similarities, begin = [], 0
    for texts in texts_NM:
        similarities.append(pairwise_similarity(vectors[begin : begin + len(texts)]))
        begin += len(texts)
    values = np.array(similarities)
    rng = np.random.Generator(np.random.PCG64(seed % 2**64))
    drawn = values[rng.integers(len(values), size=(10_000, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    unique = sum(texts.count(text) == 1 for texts in map(list, texts_NM) for text in texts)
    blank = sum(not any(c.isalnum() for c in text) for text in flat)
    mean = float(values.mean())
    return Diversity(how, mean, _inverse(mean), _inverse(high), _inverse(low), unique / len(flat), blank / len(flat))


def _inverse(similarity: float) -> float:
    """Reciprocal; infinite where texts are not alike at all (or opposite), which real texts never are on average."""
    return 1 / similarity if similarity > 0 else float("inf")


def continuations(
    lm: LatentLM, prefixes: Sequence[str], how: str, *, count: int, tokens: int, seed: int = 0
) -> list[list[str]]:
    """``count`` continuations of each prefix, of at most ``tokens`` tokens; an end token ends one sooner.

    Each is fixed by the seed, the way, its prefix and its number.

    Raises:
        PrerequisiteError: Codes are asked for, but the model has no latent modules.
    """
    base = lm.base
    keys = [
        (place, seeded_uniforms(tokens, seed, "diversity", how, prefix, number))
        for place, prefix in enumerate(prefixes)
        for number in range(count)
    ]
    if how == "random tokens":
        special = set(base.tokenizer.all_special_ids)
        usable = np.array([i for i in range(len(base.tokenizer)) if i not in special])
        written = [usable[(u * len(usable)).astype(np.int64)].tolist() for _, u in keys]
    else:
        written = list(_decoded(lm, prefixes, how, keys, tokens))
    texts = [str(base.tokenizer.decode(ids, skip_special_tokens=True)) for ids in written]
    return [texts[begin : begin + count] for begin in range(0, len(texts), count)]


def _decoded(
    lm: LatentLM, prefixes: Sequence[str], how: str, keys: Sequence[tuple[int, npt.NDArray[np.float64]]], tokens: int
) -> Iterator[list[int]]:
    base = lm.base
    sampling = Sampling(token_temperature=1.0, token_top_k=0)
    if how == "random codes":
        sampling = replace(sampling, temperature=EVEN)
    actor = Actor(lm, sampling, latent=how != "lm sampling")
    features, segments = actor.prefill([encode(base.tokenizer, prefix) for prefix in prefixes])
    rules = Rules(lambda token: False, lambda text: text[-1] in base.end_ids, tokens, rollout=True)
    for begin in range(0, len(keys), ROWS):
        batch = keys[begin : begin + ROWS]
        index = torch.tensor([place for place, _ in batch], device=base.device)
        first = torch.tensor([float(u[0]) for _, u in batch], dtype=torch.float64, device=base.device)
        with torch.inference_mode():
            chosen = actor.next_tokens(features.rows(index), first).token_B.tolist()
        rows = [
            Row([segments[place]], token, numbers[1:], place)
            for (place, numbers), token in zip(batch, chosen, strict=True)
        ]
        decode(actor, rows, rules)
        yield from (row.tokens for row in rows)


def compare(
    lm: LatentLM,
    embed: Embed,
    prefixes: Sequence[str] = PREFIXES,
    *,
    count: int = 8,
    tokens: int = 32,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[Diversity]:
    """All ways of ``WAYS`` that the model can do, one after the other."""
    for how in WAYS:
        if lm.latents is None and "codes" in how:
            report(f"{how}: left out, {lm.name} has no latent modules")
            continue
        report(f"{how}: writing {count} continuations of {len(prefixes)} prefixes, then embedding them")
        yield measure(how, continuations(lm, prefixes, how, count=count, tokens=tokens, seed=seed), embed, seed)
