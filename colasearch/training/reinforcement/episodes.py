"""Rollouts of an environment for RL: episodes that the model plays, with the codes (or tokens) that it chose.

The model always writes freely, since only what is written has codes: what the environment says can be done is merely
counted. An episode's text holds its actions as they were written, token for token, so that the log-probabilities that
RL computes are those of the draws; what stands between them is laid out as in ``colasearch.agents``. An episode whose
text would grow beyond the context ends there. All else that ``Roller`` says of rollouts holds for these.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch

from colasearch.agents.episode import DONE, Live, begin, end
from colasearch.agents.layout import Chunk, Layout
from colasearch.agents.writer import Writer, Written
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.environments import Catalogue, Start
from colasearch.errors import ColasearchError, InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.training.base.tuning import mixed_precision
from colasearch.training.reinforcement.rl import Episode, part_means
from colasearch.training.reinforcement.rollout import Collector, RolloutConfig
from colasearch.training.running.loop import Metrics
from colasearch.userfile import file_sha256

NO_ROOM = "context"
"""Why an episode ended: its text is as long as the context allows."""
STATE_TOKENS = 8192
"""Most padded tokens in one pass for hidden states."""


@dataclass(slots=True)
class _Played:
    """An episode while it is played.

    Attributes:
        problem: Number of its start.
        draw: Which of several episodes of that start.
        live: The episode itself.
        chunks: Its text so far.
        tokens: The same in a row.
        actions, where: Codes or tokens chosen, and the place of the token before each.
        turns: Place of the token before each whole action.
        invalid: Actions that could not be done, where the environment says what can.
    """

    problem: int
    draw: int
    live: Live
    chunks: list[Chunk] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    where: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    invalid: int = 0

    def add(self, chunk: Sequence[int]) -> None:
        """Lengthen the text by what the model did not write."""
        self.chunks.append(tuple(chunk))
        self.tokens += chunk

    def act(self, written: Written, layout: Layout, max_steps: int) -> None:
        """Take an action as it was written, and read what comes of it."""
        before = len(self.tokens)
        self.turns.append(before - 1)
        self.where += range(before - 1, before - 1 + len(written.ids))
        self.actions += written.codes or written.ids
        live = self.live
        live.episode.cut += written.cut
        live.step(written.text, max_steps)
        if live.error is not None:
            raise live.error
        end_ = layout.frame.end
        ended = written.ids if written.ids[-len(end_) :] == end_ else (*written.ids, *end_)
        self.add((*ended, *layout.seen(live.episode.turns[-1].observation)))


class EpisodeRoller(Collector):
    """Plays episodes with the model as it is; ``collect`` is what an agent wants.

    Attributes:
        ids: Of the starts, in order.
        told: What of the environment a run's results depend on.

    Args:
        lm: The model.
        catalogue: The environment.
        starts: All that may be played.
        config: How; ``max_tokens`` is the longest action, ``rows`` the most episodes that are played at a time.
        max_steps: Longest episode, in actions; None: the environment's own limit.
    """

    def __init__(
        self,
        lm: LatentLM,
        catalogue: Catalogue,
        starts: Sequence[Start],
        config: RolloutConfig,
        max_steps: int | None = None,
    ) -> None:
        self.lm, self.catalogue, self.starts, self.config = lm, catalogue, list(starts), config
        self.max_steps = max_steps or catalogue.max_steps
        self.layout = Layout.of(lm.base, catalogue.instruction, config.max_tokens)
        self.ids = [start.id for start in self.starts]
        self.told: dict[str, Any] = {"instruction": catalogue.instruction, "max_steps": self.max_steps}
        if catalogue.kind.file is not None:
            self.told["environment_sha256"] = file_sha256(catalogue.kind.file)
        slots = catalogue.kind.slots
        self._together = config.rows if slots is None else min(slots, config.rows)
        # A server takes longer to say what can be done than to do it (ScienceWorld: 190 ms).
        self._asks = "valid_actions" in catalogue.has and slots is None

    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Mean score and the like of one sampled and of the greedy episode of each start."""
        wanted = [(i, 0) for i in indices]
        found: Metrics = {"problems": float(len(wanted))}
        for prefix, greedy in (("", False), ("greedy_", True)):
            episodes = self._roll(wanted, "greedy" if greedy else "evaluate", greedy=greedy)
            count = max(1, len(episodes))
            means = {
                "reward": sum(e.reward for e in episodes) / count,
                "ended": sum(e.ended for e in episodes) / count,
                **part_means(episodes),
            }
            found |= {f"{prefix}{name}": value for name, value in means.items()}
        return found

    def _roll(
        self, wanted: Sequence[tuple[int, int]], name: str, *, greedy: bool, states: bool = False
    ) -> list[Episode]:
        config = self.config
        temperature, top_k = config.temperature, config.top_k
        sampling = Sampling(temperature, top_k, token_temperature=temperature, token_top_k=top_k)
        world = WorldConfig(max_tokens=config.max_tokens, value_head=False, sampling=sampling, rows=config.rows)
        lm = self.lm if config.latent else LatentLM(self.lm.name, self.lm.base, None)
        episodes: list[Episode] = []
        with mixed_precision(self.lm.base):
            # A new writer each time: what it keeps of texts is of the weights of the moment.
            writer = Writer(lm, self.layout, world, config.seed, "latent" if config.latent else "sampled")
            for at in range(0, len(wanted), self._together):
                episodes += self._play(writer, wanted[at : at + self._together], name, greedy)
            if states:
                self._keep_states(episodes)
        return episodes

    def _play(self, writer: Writer, wanted: Sequence[tuple[int, int]], name: str, greedy: bool) -> list[Episode]:
        played = [_Played(i, draw, begin(self.catalogue, self.starts[i])) for i, draw in wanted]
        try:
            for one in played:
                if one.live.error is not None:
                    raise one.live.error
                one.add(self.layout.opening(one.live.episode.first))
                self._check(one)
            while going := [one for one in played if self._goes_on(one)]:
                self._turn(writer, going, name, greedy)
        finally:
            end([one.live for one in played])
        return [self._episode(one) for one in played]

    def _check(self, one: _Played) -> None:
        if len(one.tokens) > self.layout.room:
            raise InputError(
                f"episode {one.live.episode.start.id}: its opening has {len(one.tokens)} tokens and an action up to "
                f"{self.layout.action_tokens}, but the context of {self.lm.base.identity.name} holds "
                f"{self.layout.context}; use a model with a longer context, or lower --max-new-tokens"
            )

    def _goes_on(self, one: _Played) -> bool:
        if one.live.going and len(one.tokens) > self.layout.room:
            one.live.episode.stop = NO_ROOM
        return one.live.going

    def _turn(self, writer: Writer, going: Sequence[_Played], name: str, greedy: bool) -> None:
        """One action of each episode."""
        keys = [(*one.live.episode.key, name, one.draw) for one in going]
        places = writer.places(keys, [tuple(one.chunks) for one in going])
        drawn = writer.draw(places, 1, greedy=greedy)
        for one, (written,) in zip(going, drawn, strict=True):
            start = one.live.episode.start.id
            if written.broken or not written.ids:
                raise ColasearchError(
                    f"episode {start}: the model gave NaN or infinity in a rollout; lower --lr and resume from the "
                    "last checkpoint"
                )
            if self._asks:
                valid = one.live.environment.valid_actions()
                one.invalid += valid is not None and written.text not in valid
            one.act(written, self.layout, self.max_steps)

    def _episode(self, one: _Played) -> Episode:
        episode = one.live.episode
        turns = len(episode.turns)
        scores = [turn.reward for turn in episode.turns]
        after = list(accumulate(reversed(scores)))[::-1]
        measures = {"success": float(episode.success), "turns": float(turns), "cut": episode.cut / turns}
        if self._asks:
            measures["invalid"] = one.invalid / turns
        return Episode(
            one.problem,
            tuple(one.tokens[: one.where[-1] + 2]),
            len(one.chunks[0]),
            tuple(one.actions),
            episode.score,
            ended=episode.stop == DONE,
            where=tuple(one.where),
            to_go=tuple(zip(one.turns, after, strict=True)),
            measures=measures,
        )

    @torch.no_grad()
    def _keep_states(self, episodes: Sequence[Episode]) -> None:
        """Hidden states of every episode, up to the token before its last: no action follows that one."""
        base = self.lm.base
        begun = time.perf_counter()
        order = sorted(range(len(episodes)), key=lambda i: len(episodes[i].tokens))
        while order:
            longest = len(episodes[order[-1]].tokens)
            count = max(1, STATE_TOKENS // longest)
            group, order = order[-count:], order[:-count]
            tokens = [torch.tensor(episodes[i].tokens[:-1]) for i in group]
            hidden = base.hidden(torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True).to(base.device))
            for row, i in enumerate(group):
                episodes[i].hidden_TD = hidden[row, : len(episodes[i].tokens) - 1].clone()
        for episode in episodes:
            episode.state_seconds = (time.perf_counter() - begun) / len(episodes)
