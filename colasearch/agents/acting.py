"""Acting step by step, with a search over the model alone before each action: no state is ever come back to.

The search's states are what the model imagines (``imagination.py``), its values the value head's, without which nothing
would tell one imagined state from another. Each action has so many simulations. An episode is played once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colasearch.agents.episode import LATE, Live, begin, end
from colasearch.agents.imagination import Imagination
from colasearch.agents.planning import SearchPlan, run_search
from colasearch.agents.players import PlaySettings
from colasearch.agents.transitions import State
from colasearch.agents.world import EpisodeWorld
from colasearch.agents.writer import Writer
from colasearch.environments import Catalogue, Outcome, Start
from colasearch.errors import PrerequisiteError
from colasearch.model.latent_lm import LatentLM


class ActingPlayer:
    """Plays episodes with a search over the model before each action.

    Raises:
        PrerequisiteError: The model has no value head.
    """

    def __init__(self, lm: LatentLM, writer: Writer, settings: PlaySettings, search: SearchPlan) -> None:
        if not writer.heads.value_states:
            raise PrerequisiteError(
                f"the arm act searches over the model alone, and model {lm.name!r} has no value head that would say "
                "which state is better; train one with `colasearch train value`, or leave act out of --arms"
            )
        self.lm, self.writer, self.settings, self.search = lm, writer, settings, search

    def play(self, catalogue: Catalogue, starts: Sequence[Start], late: Callable[[], bool] | None = None) -> list[Live]:
        """Play each episode once."""
        lives = [begin(catalogue, start) for start in starts]
        try:
            while going := [live for live in lives if live.going]:
                if late is not None and late():
                    for live in going:
                        live.episode.stop = LATE
                    break
                self._turn(going)
        finally:
            end(lives)
        return lives

    def _turn(self, going: Sequence[Live]) -> None:
        """One action of each episode."""
        settings = self.settings
        valid = [live.valid() if settings.restrict else None for live in going]
        ready = [(live, allowed) for live, allowed in zip(going, valid, strict=True) if live.going]
        episodes = [live.episode for live, _ in ready]
        if not ready:
            return
        dynamics = Imagination(self.lm, self.writer.layout, self.writer.config, self.writer.ends, episodes)
        world = EpisodeWorld(self.writer, episodes, dynamics, settings.width, settings.max_steps)
        roots = [
            State(episode.actions, _now(live), allowed)
            for episode, (live, allowed) in zip(episodes, ready, strict=True)
        ]
        outcome = run_search(world, roots, self.search, settings.max_steps)
        for tree, (live, _) in enumerate(ready):
            live.calls += world.calls[tree]
            self.writer.tokens_of[live.episode.start.id] += dynamics.tokens[tree]
            if tree in world.faults:
                live.error = world.faults[tree]
                continue
            options = world.nodes[int(outcome.tree.states[tree, 0])].options
            live.step(options[int(outcome.best_action_B[tree])].text, settings.max_steps)


def _now(live: Live) -> Outcome:
    turns = live.episode.turns
    return Outcome(turns[-1].observation if turns else live.episode.first, 0.0, False)
