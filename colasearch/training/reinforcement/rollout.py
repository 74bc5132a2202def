"""Rollouts for RL: texts decoded by the engine, rewarded, with the frozen base's states cached once.

The engine draws the codes (or tokens) and decodes in one batch; afterwards one pass over prompt and text gives the
hidden states that every update on the rollout uses. A rollout depends on seed, round, problem and draw alone.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from colasearch.disk import naming
from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.draws import seeded_uniforms
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling
from colasearch.engine.texts.ends import TextEnds
from colasearch.errors import ColasearchError, CorruptFileError, InputError
from colasearch.model.base import BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import LabelledProblem
from colasearch.storage.files import write_atomic
from colasearch.tasks import get_task, prompt_tokens
from colasearch.training.base.tuning import mixed_precision
from colasearch.training.reinforcement.rewards import SpecReward
from colasearch.training.reinforcement.rl import Episode, part_means
from colasearch.training.running.loop import Metrics

RewardOf = Callable[[Sequence[tuple[LabelledProblem, str]]], list[float]]


@dataclass(frozen=True, slots=True)
class RolloutConfig:
    """How problems are rolled out.

    Attributes:
        latent: Codes are drawn and tokens are greedy under them; else tokens are drawn from the base.
        group: Rollouts a problem.
        greedy_baseline: Also roll each problem out greedily (ReMax).
        max_tokens: Longest text.
        temperature, top_k: Of the sampler.
        rows: Most texts decoded in one batch.
        seed: Fixes the draws.
        states: Whether episodes get the base's hidden states, which RL on codes wants.
    """

    latent: bool = True
    group: int = 4
    greedy_baseline: bool = False
    max_tokens: int = 256
    temperature: float = 1.0
    top_k: int = 0
    rows: int = 64
    seed: int = 0
    states: bool = True


class Collector(ABC):
    """What plays rounds of episodes, ``group`` of each problem (or start of an environment).

    Attributes:
        config: How they are played.
    """

    config: RolloutConfig

    @abstractmethod
    def _roll(
        self, wanted: Sequence[tuple[int, int]], name: str, *, greedy: bool, states: bool = False
    ) -> list[Episode]:
        """An episode of each ``(problem, draw)``, in order; ``name`` and ``draw`` fix what is drawn."""

    def collect(self, indices: Sequence[int], round_number: int) -> list[Episode]:
        """``group`` episodes for each problem, in order."""
        config = self.config
        wanted = [(i, draw) for i in indices for draw in range(config.group)]
        episodes = self._roll(wanted, str(round_number), greedy=False, states=config.latent and config.states)
        if config.greedy_baseline:
            greedy = self._roll([(i, 0) for i in indices], "greedy", greedy=True)
            by_problem = {e.problem: e.reward for e in greedy}
            for episode in episodes:
                episode.greedy_reward = by_problem[episode.problem]
        return episodes


class Roller(Collector):
    """Rolls problems out with the model as it is; ``collect`` is what an agent wants.

    Attributes:
        ids: Of the problems, in order.
        told: What of the data, beyond the options, a run's results depend on.

    Args:
        lm: The model.
        problems: All that there are.
        reward: Terminal reward of texts.
        config: How.
        form: Whether texts are well-formed, to be logged; None: not asked.

    Raises:
        InputError: A prompt leaves no room for a text in the base's context.
    """

    told: Mapping[str, Any] = {}

    def __init__(
        self,
        lm: LatentLM,
        problems: Sequence[LabelledProblem],
        reward: RewardOf,
        config: RolloutConfig,
        form: RewardOf | None = None,
    ) -> None:
        self.lm, self.problems, self.reward, self.config, self.form = lm, problems, reward, config, form
        self.ids = [labelled.problem.id for labelled in problems]
        self.ends = TextEnds(lm.base.tokenizer, lm.base.end_ids)
        self.prompts = [prompt_tokens(lm.base.tokenizer, labelled.problem) for labelled in problems]
        for labelled, prompt in zip(problems, self.prompts, strict=True):
            if len(prompt) + config.max_tokens > lm.base.context_length:
                raise InputError(
                    f"problem {labelled.problem.id}: its prompt has {len(prompt)} tokens and --max-new-tokens is "
                    f"{config.max_tokens}, but the context of {lm.base.identity.name} holds {lm.base.context_length}; "
                    "leave the problem out, or lower --max-new-tokens"
                )

    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Mean reward of one sampled and of the greedy rollout of each problem, and how many of either ended.

        With ``form`` also ``format`` and ``greedy_format``, the shares that are well-formed.
        """
        wanted = [(i, 0) for i in indices]
        sampled, greedy = self._roll(wanted, "evaluate", greedy=False), self._roll(wanted, "greedy", greedy=True)
        count = max(1, len(wanted))
        found = {
            "reward": sum(e.reward for e in sampled) / count,
            "ended": sum(e.ended for e in sampled) / count,
            "greedy_reward": sum(e.reward for e in greedy) / count,
            "greedy_ended": sum(e.ended for e in greedy) / count,
            "problems": float(len(wanted)),
            **part_means(sampled),
        }
        if self.form is not None:
            found["format"] = sum(e.form or 0.0 for e in sampled) / count
            found["greedy_format"] = sum(e.form or 0.0 for e in greedy) / count
        return found

    def _roll(
        self, wanted: Sequence[tuple[int, int]], name: str, *, greedy: bool, states: bool = False
    ) -> list[Episode]:
        config = self.config
        top_k = 1 if greedy else config.top_k
        sampling = Sampling(config.temperature, top_k, token_temperature=config.temperature, token_top_k=top_k)
        lm = self.lm if config.latent else LatentLM(self.lm.name, self.lm.base, None)
        with mixed_precision(self.lm.base):
            actor = Actor(lm, sampling, latent=config.latent)
            actor.note_kept = bool(top_k) and not greedy
            episodes = self._decode(actor, wanted, name, states)
        texts = [(self.problems[e.problem], self.ends.decode(e.tokens[e.prompt :])) for e in episodes]
        for episode, reward in zip(episodes, self.reward(texts), strict=True):
            episode.reward = reward
        if isinstance(self.reward, SpecReward):
            for episode, parts in zip(episodes, self.reward.parts, strict=True):
                episode.parts = parts
        if self.form is not None:
            for episode, form in zip(episodes, self.form(texts), strict=True):
                episode.form = form
        return episodes

    def _decode(self, actor: Actor, wanted: Sequence[tuple[int, int]], name: str, states: bool) -> list[Episode]:
        config = self.config
        indices = list(dict.fromkeys(i for i, _ in wanted))
        features, segments = actor.prefill([self.prompts[i] for i in indices])
        place = {index: at for at, index in enumerate(indices)}
        numbers = [
            seeded_uniforms(config.max_tokens, config.seed, name, self.problems[i].problem.id, draw)
            for i, draw in wanted
        ]
        first = actor.next_tokens(
            features.rows([place[i] for i, _ in wanted]),
            torch.tensor([n[0] for n in numbers], device=actor.lm.base.device),
        )
        tokens = first.token_B.tolist()
        codes = [None] * len(tokens) if first.code_B is None else first.code_B.tolist()
        rows = [
            Row([segments[place[i]]], token, n[1:], states=[] if states else None, kept=[] if actor.note_kept else None)
            for (i, _), token, n in zip(wanted, tokens, numbers, strict=True)
        ]
        finishes = [self.ends.finish_of(get_task(self.problems[i].problem.task)) for i, _ in wanted]
        rules = [
            Rules(lambda token: False, finish, config.max_tokens, True, record=self.ends.writing) for finish in finishes
        ]
        decode(actor, rows, rules, config.rows)
        episodes = []
        for (i, _), code, row, fine in zip(wanted, codes, rows, first.fine_B.tolist(), strict=True):
            if row.broken or not fine:
                raise ColasearchError(
                    f"problem {self.problems[i].problem.id}: the model gave NaN or infinity in a rollout; lower --lr "
                    "and resume from the last checkpoint"
                )
            actions = tuple(row.tokens) if code is None else (code, *row.codes)
            prompt = self.prompts[i]
            episodes.append(Episode(i, (*prompt, *row.tokens), len(prompt), actions, 0.0, ended=row.ended))
        if first.kept_BA is not None:
            for episode, row, kept_A in zip(episodes, rows, first.kept_BA, strict=True):
                episode.kept_LM = _padded([kept_A.nonzero()[:, 0], *(row.kept or [])])
        if states:
            self._keep_states(episodes, rows)
        return episodes

    @torch.no_grad()
    def _keep_states(self, episodes: Sequence[Episode], rows: Sequence[Row]) -> None:
        """Hidden states of every episode, up to the token before its last: no action follows that one.

        Those of its text are the ones that its codes were drawn at; those of its prompt take a pass, once a problem.
        """
        base = self.lm.base
        begun = time.perf_counter()
        prompts: dict[int, Tensor] = {}
        order = sorted({e.problem for e in episodes}, key=lambda i: len(self.prompts[i]))
        for begin in range(0, len(order), 16):
            group = order[begin : begin + 16]
            tokens = [torch.tensor(self.prompts[i]) for i in group]
            hidden = base.hidden(torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True).to(base.device))
            prompts |= {i: hidden[row, : len(self.prompts[i])] for row, i in enumerate(group)}
        for episode, row in zip(episodes, rows, strict=True):
            known = prompts[episode.problem]
            text = [torch.stack(row.states).to(known.dtype)] if row.states else []
            episode.hidden_TD = torch.cat([known, *text])
        for episode in episodes:
            episode.state_seconds = (time.perf_counter() - begun) / len(episodes)


def _padded(kept: Sequence[Tensor]) -> Tensor:
    """Index lists as one int32 tensor ``[L, M]``; shorter ones (scores that tie are all kept) repeat their last."""
    most = max(len(k) for k in kept)
    return torch.stack([torch.cat([k, k[-1:].expand(most - len(k))]) for k in kept]).int()


def that_fit(base: BaseModel, problems: Sequence[LabelledProblem], max_tokens: int) -> list[LabelledProblem]:
    """The problems whose prompts leave room for ``max_tokens`` of text in the context of ``base``.

    Raises:
        InputError: None does.
    """
    most = base.context_length - max_tokens
    kept = [one for one in problems if len(prompt_tokens(base.tokenizer, one.problem)) <= most]
    if not kept:
        raise InputError(
            f"each of {len(problems)} prompts has more than {most} tokens: with texts of {max_tokens} none fits into "
            f"the context of {base.identity.name}, {base.context_length} tokens; lower --max-new-tokens"
        )
    return kept


class RolloutLog:
    """``rollouts.jsonl``: one line an episode, for training Q-values later. Rounds done again replace themselves."""

    def __init__(self, path: Path) -> None:
        self.path, self._begun = path, False

    def append(self, round_number: int, ids: Sequence[str], episodes: Sequence[Episode]) -> None:
        """Write a round; ``ids`` are those of all problems."""
        if not self._begun and self.path.exists():
            kept = [line for line in _lines(self.path) if json.loads(line)["round"] < round_number]
            write_atomic(self.path, "".join(kept))
        self._begun = True
        with naming(self.path), self.path.open("a", encoding="utf-8") as stream:
            for e in episodes:
                row = {
                    "round": round_number,
                    "problem_id": ids[e.problem],
                    "prompt": list(e.tokens[: e.prompt]),
                    "tokens": list(e.tokens[e.prompt :]),
                    "actions": list(e.actions),
                    "reward": e.reward,
                    "ended": e.ended,
                    **({"where": list(e.where), "to_go": [list(one) for one in e.to_go]} if e.where else {}),
                }
                stream.write(json.dumps(row) + "\n")


def _lines(path: Path) -> Iterator[str]:
    """Whole lines; a last one that was cut off is left out."""
    with path.open(encoding="utf-8") as stream:
        yield from (line for line in stream if line.endswith("\n"))


def read_rollouts(path: Path) -> list[tuple[str, Episode]]:
    """Problem ids and episodes of a rollout log.

    Raises:
        CorruptFileError: A line is no record of a rollout.
    """
    found: list[tuple[str, Episode]] = []
    for number, line in enumerate(_lines(path), 1):
        try:
            row: dict[str, Any] = json.loads(line)
            tokens = (*row["prompt"], *row["tokens"])
            actions = tuple(row["actions"])
            where = tuple(int(place) for place in row.get("where", ()))
            to_go = tuple((int(place), float(score)) for place, score in row.get("to_go", ()))
            if len(actions) != (len(where) if where else len(row["tokens"])):
                raise ValueError("as many actions as tokens that the model wrote are wanted")
            if any(not 0 <= place < len(tokens) for place in (*where, *(place for place, _ in to_go))):
                raise ValueError("a place is outside the tokens")
            given = (0, tokens, len(row["prompt"]), actions, float(row["reward"]))
            episode = Episode(*given, ended=bool(row["ended"]), where=where, to_go=to_go)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{path} line {number} is no rollout ({error}); roll out again") from None
        found.append((str(row["problem_id"]), episode))
    return found
