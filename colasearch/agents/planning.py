"""Planning in the true environment: a search that comes back to states, then the episode itself, as it was planned.

The search has so many simulations for the whole episode; each new edge is one action in the environment. The plan is
the path to the state of greatest score (rewards collected, and what the value head expects), a solved one first; where
no state is better than the beginning, the searcher's choice there. It is then played from the beginning in an
environment of its own, which must do what the tree has seen, and goes on greedily from where the plan ends. So a score
is always that of an episode that was really played.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from colasearch.agents.episode import DONE, Episode, Live, begin, end
from colasearch.agents.layout import Turn
from colasearch.agents.players import GREEDY, Player, PlaySettings
from colasearch.agents.transitions import State, Transitions
from colasearch.agents.world import EpisodeWorld, Node, Rooted, TrueDynamics
from colasearch.agents.writer import Writer
from colasearch.environments import Catalogue, EnvironmentFault, Start
from colasearch.errors import ColasearchError
from colasearch.searchers import ALGORITHMS, Outcome, Progress, run

IN_FLIGHT = 4
"""Most edges of one tree that are looked at together."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How a search is run.

    Attributes:
        searcher: Its name.
        sims: Simulations of an episode; of an action, where the model alone is searched.
        seed: Run seed.
        options: Of the searcher.
        max_seconds: Wall-clock limit.
    """

    searcher: str
    sims: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    max_seconds: float | None = None


@dataclass(slots=True)
class Planned:
    """What came of planning one episode.

    Attributes:
        live: The episode as it was played; with its error where something broke.
        sims: Simulations done.
        steps: Actions in the environment that were new.
        replayed: Actions that only came back to a state.
        resets: Times that the episode was begun.
        tried: Episodes that the search followed to their ends.
        solved: Those of them that were solved.
        plan: Actions that the search settled.
        seen: What it saw of them.
        branching: Mean share of the looked-at actions that differ.
        tree: Its number in the batch.
    """

    live: Live
    tree: int
    sims: int = 0
    steps: int = 0
    replayed: int = 0
    resets: int = 0
    tried: int = 0
    solved: int = 0
    plan: tuple[str, ...] = ()
    seen: tuple[Turn, ...] = ()
    branching: float = 0.0


@dataclass(slots=True)
class Searched:
    """A batch of planned episodes, with their trees for traces."""

    planned: list[Planned]
    world: EpisodeWorld
    outcome: Outcome


def plan_and_play(
    catalogue: Catalogue,
    writer: Writer,
    settings: PlaySettings,
    starts: Sequence[Start],
    search: SearchPlan,
    on_round: Callable[[Progress], None] | None = None,
) -> Searched:
    """Search each of ``starts`` in the true environment, then play what was planned."""
    transitions = [Transitions(catalogue, start, restrict=settings.restrict) for start in starts]
    try:
        roots = [_root(one) for one in transitions]
        episodes = [
            Episode(start, "" if isinstance(root, ColasearchError) else root.outcome.observation)
            for start, root in zip(starts, roots, strict=True)
        ]
        world = EpisodeWorld(writer, episodes, TrueDynamics(transitions), settings.width, settings.max_steps)
        outcome = run_search(world, roots, search, settings.max_steps, on_round)
        planned = [_planned(world, outcome, tree, one) for tree, one in enumerate(transitions)]
    finally:
        for one in transitions:
            one.close()
    player = Player(writer, settings, GREEDY)
    lives = [_played(catalogue, world, start, one) for start, one in zip(starts, planned, strict=True)]
    before = [len(live.episode.turns) for live in lives]
    try:
        player.play(lives)
    finally:
        end(lives)
    for found, live, known in zip(planned, lives, before, strict=True):
        found.live = live
        found.steps += len(live.episode.turns) - known
        found.replayed += known
        found.resets += 1
        live.calls += world.calls[found.tree]
    return Searched(planned, world, outcome)


def run_search(
    world: EpisodeWorld,
    roots: Sequence[State | ColasearchError],
    search: SearchPlan,
    max_steps: int,
    on_round: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Run a searcher on all trees of a world; every tree's draws are keyed by its episode."""
    return run(
        search.searcher,
        world,
        [Rooted(root, _key(world.episodes[tree])) for tree, root in enumerate(roots)],
        sims=search.sims,
        seed=search.seed,
        leaves_in_flight=IN_FLIGHT,
        max_seconds=search.max_seconds,
        on_round=on_round,
        **_options(search),
    )


def _options(search: SearchPlan) -> dict[str, Any]:
    """The searcher's options: without the user's word, ends are not gone to again, since nothing new is found there."""
    kind: Any = ALGORITHMS[search.searcher]
    known = {field.name for field in fields(kind)}
    return {**({"revisit": False} if "revisit" in known else {}), **search.options}


def _key(episode: Episode) -> str:
    return " > ".join((episode.start.id, *episode.actions))


def _root(transitions: Transitions) -> State | ColasearchError:
    try:
        return transitions.root()
    except EnvironmentFault as error:
        return error


def _planned(world: EpisodeWorld, outcome: Outcome, tree: int, transitions: Transitions) -> Planned:
    """What the search of one tree came to; its episode is played later."""
    live = Live(world.episodes[tree], transitions.environment, error=world.faults.get(tree))
    planned = Planned(
        live,
        tree=tree,
        sims=int(outcome.sims_B[tree]),
        steps=transitions.steps,
        replayed=transitions.replayed,
        resets=transitions.resets,
    )
    if live.error is not None:
        return planned
    ends = [node for node in nodes_of(world, outcome, tree)[1:] if node.state.over == DONE]
    planned.tried, planned.solved = len(ends), sum(world.succeeded(node) for node in ends)
    planned.plan, planned.seen = plan_of(world, outcome, tree)
    planned.branching = float(outcome.tree.effective_branching()[tree])
    return planned


def nodes_of(world: EpisodeWorld, outcome: Outcome, tree: int) -> list[Node]:
    """The nodes of one tree, by slot."""
    size = int(outcome.tree.size_B[tree])
    return [world.nodes[int(state)] for state in outcome.tree.states[tree, :size]]


def plan_of(world: EpisodeWorld, outcome: Outcome, tree: int) -> tuple[tuple[str, ...], tuple[Turn, ...]]:
    """The actions to play, from the root of a tree on, and what the search saw of them; see the head of this file."""
    nodes = nodes_of(world, outcome, tree)
    score_N = outcome.tree.scores(world.discount)[tree].round(9).tolist()

    def worth(slot: int) -> tuple[bool, float, int]:
        return world.succeeded(nodes[slot]), score_N[slot], -len(nodes[slot].turns)

    best = max(range(1, len(nodes)), key=worth, default=0)
    if best and worth(best)[:2] > (False, score_N[0]):
        turns = nodes[best].turns[len(nodes[0].turns) :]
        return tuple(turn.action for turn in turns), turns
    action, options = int(outcome.best_action_B[tree]), nodes[0].options
    return ((options[action].text,) if 0 <= action < len(options) else ()), ()


def _played(catalogue: Catalogue, world: EpisodeWorld, start: Start, planned: Planned) -> Live:
    """The episode in an environment of its own, at the end of its plan."""
    if planned.live.error is not None:
        return planned.live
    live = begin(catalogue, start)
    if live.error is None and live.episode.first != planned.live.episode.first:
        live.error = _other(start, "at the beginning")
    for number, action in enumerate(planned.plan):
        if not live.going:
            break
        live.step(action, world.max_steps)
        if live.error is None and number < len(planned.seen) and live.episode.turns[-1] != planned.seen[number]:
            live.error = _other(start, f"after {number + 1} actions")
    return live


def _other(start: Start, when: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"episode {start.id}: played from the beginning, the plan came to something else than in the search {when}; "
        "let everything depend on task, variation and actions alone, and let copy() share nothing that changes"
    )
