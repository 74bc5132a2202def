"""Greedy texts, or episodes, of a model: what an exported copy of it is compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colasearch.environments import Catalogue, Start
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import LabelledProblem
from colasearch.tasks import prompt_tokens
from colasearch.training.data.problems import Reward
from colasearch.training.reinforcement.episodes import EpisodeRoller
from colasearch.training.reinforcement.rl import Episode
from colasearch.training.reinforcement.rollout import Collector, Roller, RolloutConfig

GREEDY_TOKENS = 256
"""Longest text."""
ACTION_TOKENS, EPISODE_STEPS = 24, 20
"""Longest action, in tokens, and longest episode, in actions."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes of an environment that a model is asked to play.

    Attributes:
        catalogue: The environment.
        starts: Where they begin.
    """

    catalogue: Catalogue
    starts: Sequence[Start]

    def __len__(self) -> int:
        return len(self.starts)


Asked = Sequence[LabelledProblem] | Episodes
"""What a model is asked: problems of one task, or episodes of an environment."""


@dataclass(frozen=True, slots=True)
class Greedy:
    """Greedy texts of a model.

    Attributes:
        texts: Tokens, for each problem under the policy's codes (where there are any), then by the base alone.
        solved: How many of the first half (of all, for a base alone) are right.
    """

    texts: tuple[tuple[int, ...], ...]
    solved: int


def greedy_texts(lm: LatentLM, asked: Asked) -> Greedy:
    """The model's greedy texts, under its policy's codes and by its base alone, as deterministic as the machine is."""
    texts: list[tuple[int, ...]] = []
    solved = 0
    for latent in [True, False] if lm.latents else [False]:
        episodes = _collector(lm, asked, latent).collect(range(len(asked)), 0)
        if latent or not lm.latents:
            solved = sum(_is_solved(e) for e in episodes)
        texts += [e.tokens[e.prompt :] for e in episodes]
    return Greedy(tuple(texts), solved)


def _collector(lm: LatentLM, asked: Asked, latent: bool) -> Collector:
    def config(most: int) -> RolloutConfig:
        return RolloutConfig(latent=latent, group=1, top_k=1, max_tokens=most, states=False)

    if isinstance(asked, Episodes):
        return EpisodeRoller(lm, asked.catalogue, asked.starts, config(ACTION_TOKENS), EPISODE_STEPS)
    prompts = [prompt_tokens(lm.base.tokenizer, one.problem) for one in asked]
    room = max(1, min(GREEDY_TOKENS, lm.base.context_length - max(map(len, prompts))))
    return Roller(lm, asked, Reward(asked[0].problem.task), config(room))


def _is_solved(episode: Episode) -> bool:
    """An episode of an environment says so itself; a text is right by its reward."""
    return bool(episode.measures["success"]) if "success" in episode.measures else episode.reward >= 1
