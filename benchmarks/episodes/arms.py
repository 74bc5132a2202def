"""The arms of a benchmark on episodes, and what it means that two of them have equal steps.

``greedy``, ``sampled`` and ``majority`` play each episode once and never come back. The searcher and ``best_of_n`` may
begin an episode again: the searcher's actions in the environment that were new are ``best_of_n``'s budget (or its
tokens are, ``--equal tokens``). Episodes are drawn in a fixed order up to the one that reaches it, so best-of-N never
has fewer than the search; the one of greatest score counts. ``act`` searches as well, but over the model alone, and
plays each episode once. ``gold`` plays what the environment says solves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from colasearch.agents.episode import Episode, Live, begin, end
from colasearch.agents.players import GREEDY, MAJORITY, SAMPLED, Player, PlaySettings
from colasearch.agents.writer import Writer
from colasearch.environments import Catalogue, EnvironmentFault, Start
from colasearch.errors import ColasearchError, InputError
from colasearch.storage.traces import Trace

BEST_OF_N, GOLD, ACT = "best_of_n", "gold", "act"
ONCE = (GREEDY, SAMPLED, MAJORITY, GOLD)
"""Arms that no number of simulations changes."""
MOST_EPISODES = 1000
"""Of one start that best-of-N draws: episodes that end at once would never reach a budget."""


@dataclass(slots=True)
class Result:
    """What an arm made of one episode.

    Attributes:
        start: Which one.
        episode: As it was played; the one that was chosen of several.
        error: Why there is no result.
        tried, solved: Episodes that were followed to their ends, and those of them that were solved.
        sims: Simulations done; of best-of-N, episodes drawn.
        branching: Of a search.
        steps: Actions in the environment that were new.
        replayed: Actions that only came back to a state.
        resets: Times that the episode was begun.
        budget: Steps (or tokens) that the arm was given.
        tokens, calls: Cost in the model.
        seconds: From the batch's begin to its end.
        wall: Its share of the wall clock.
        stop: Why a search ended.
        trace: The record of a search.
    """

    start: Start
    episode: Episode
    error: ColasearchError | None = None
    tried: int = 1
    solved: int = 0
    sims: int = 1
    branching: float | None = None
    steps: int = 0
    replayed: int = 0
    resets: int = 1
    budget: int | None = None
    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    stop: str = ""
    trace: Trace | None = field(default=None, repr=False)


def of_live(live: Live) -> Result:
    """The result of an episode that was played once."""
    episode = live.episode
    return Result(
        episode.start,
        episode,
        live.error,
        solved=int(episode.success),
        steps=len(episode.turns),
        calls=live.calls,
        stop=episode.stop,
    )


def play_once(
    catalogue: Catalogue,
    writer: Writer,
    settings: PlaySettings,
    starts: Sequence[Start],
    how: str,
    on_turn: Callable[[Live], None] | None = None,
    late: Callable[[], bool] | None = None,
) -> list[Result]:
    """Play each episode once, choosing as ``how`` says."""
    lives = [begin(catalogue, start) for start in starts]
    try:
        Player(writer, settings, how).play(lives, on_turn=on_turn, late=late)
    finally:
        end(lives)
    return [of_live(live) for live in lives]


def play_gold(catalogue: Catalogue, settings: PlaySettings, starts: Sequence[Start]) -> list[Result]:
    """Play what the environment says solves each episode, however long that is."""
    lives = []
    for start in starts:
        live = begin(catalogue, start)
        with live.own_fault():
            if live.error is None:
                actions = live.environment.gold()
                if actions is None:
                    raise EnvironmentFault(f"environment {catalogue.kind.name} has no gold actions for {start.id}")
                for action in actions:
                    if live.going:
                        live.step(action, max(settings.max_steps, len(actions)))
        live.episode.stop = live.episode.stop or "gold"
        end([live])
        lives.append(live)
    return [of_live(live) for live in lives]


def best_of_n(
    catalogue: Catalogue,
    writer: Writer,
    settings: PlaySettings,
    budgets: Sequence[tuple[Start, int]],
    equal: str,
    late: Callable[[], bool] | None = None,
) -> list[Result]:
    """Draw whole episodes of each start until they have taken its budget; the one of greatest score counts.

    Args:
        catalogue: The environment.
        writer: The model.
        settings: How episodes are played.
        budgets: Starts, each with the steps, or tokens, that the search took there.
        equal: ``steps`` or ``tokens``.
        late: Whether time is over.
    """
    found: dict[Start, list[Live]] = {start: [] for start, _ in budgets}
    spent = dict.fromkeys(found, 0)
    player = Player(writer, settings, SAMPLED)
    number = 0
    while going := [start for start, most in budgets if _wants(found[start], spent[start], most)]:
        if number and late is not None and late():
            break
        before = {start: writer.tokens_of[start.id] for start in going}
        lives = [begin(catalogue, start) for start in going]
        try:
            player.play(lives, [number] * len(lives), late=late)
        finally:
            end(lives)
        for start, live in zip(going, lives, strict=True):
            found[start].append(live)
            tokens = writer.tokens_of[start.id] - before[start]
            spent[start] += tokens if equal == "tokens" else len(live.episode.turns)
        number += 1
    return [_best(start, found[start], most) for start, most in budgets]


def _wants(lives: Sequence[Live], spent: int, budget: int) -> bool:
    if not lives:
        return True
    return spent < budget and len(lives) < MOST_EPISODES and lives[-1].error is None


def _best(start: Start, lives: Sequence[Live], budget: int) -> Result:
    fine = [live for live in lives if live.error is None]
    if len(fine) < len(lives):
        return Result(start, lives[-1].episode, lives[-1].error)
    best = max(fine, key=lambda live: (live.episode.success, live.episode.score, -len(live.episode.turns)))
    return Result(
        start,
        best.episode,
        tried=len(fine),
        solved=sum(live.episode.success for live in fine),
        sims=len(fine),
        steps=sum(len(live.episode.turns) for live in fine),
        resets=len(fine),
        budget=budget,
        calls=sum(live.calls for live in fine),
        stop=best.episode.stop,
    )


def no_budget(start: Start, searcher: str) -> Result:
    """The result of best-of-N where the search failed."""
    why = f"episode {start.id}: {searcher} failed on it, so there is no budget to match"
    return Result(start, Episode(start, ""), InputError(why))
