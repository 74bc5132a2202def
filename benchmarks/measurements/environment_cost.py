"""Where the time of playing an environment goes: each of its methods, and the model.

    python -m colasearch.benchmarks.measurements.environment_cost --environment scienceworld:find-animal --episodes 5
    python -m colasearch.benchmarks.measurements.environment_cost --environment house --model MODEL --sims 8

Gold actions are played (``valid_actions`` is asked in each state), and each episode is begun once more. With
``--model`` greedy episodes follow, and with ``--sims`` planning searches; what of their time is not the environment's
is the model's. Prints one JSON object; times of methods are medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from colasearch.agents.layout import Layout
from colasearch.agents.planning import SearchPlan, plan_and_play
from colasearch.agents.players import GREEDY, PlaySettings
from colasearch.agents.writer import Writer
from colasearch.benchmarks.episodes.arms import play_once
from colasearch.defaults import actions_for, sampling_for
from colasearch.engine.settings import WorldConfig
from colasearch.environments import Catalogue, Start, catalogue_of, find
from colasearch.model.latent_lm import LatentLM

METHODS = ("reset", "step", "valid_actions", "copy", "gold", "success")
Ledger = defaultdict[str, list[float]]


class Timed:
    """An environment whose calls are timed, over all of its copies."""

    def __init__(self, inner: Any, ledger: Ledger) -> None:
        self._inner, self._ledger = inner, ledger

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._timed(name, found) if name in METHODS else found

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            begun = time.perf_counter()
            value = method(*given)
            self._ledger[name].append(time.perf_counter() - begun)
            return Timed(value, self._ledger) if name == "copy" else value

        return call


def told(ledger: Ledger) -> dict[str, Any]:
    """Calls and median milliseconds by method."""
    return {
        name: {"calls": len(times), "median_ms": round(1000 * median(times), 3), "seconds": round(sum(times), 2)}
        for name, times in ledger.items()
    }


def methods(catalogue: Catalogue, starts: list[Start], ledger: Ledger) -> dict[str, Any]:
    """Cost of the environment alone, on its own solutions."""
    lengths, counts, again = [], [], []
    environment = catalogue.make()
    for start in starts:
        environment.reset(start)
        gold = environment.gold() or ()
        lengths.append(len(gold))
        for action in gold:
            counts.append(len(environment.valid_actions() or ()))
            if environment.can_copy:
                environment.copy().close()
            if environment.step(action).done:
                break
        environment.reset(start)
        again.append(ledger["reset"].pop())
    environment.close()
    return {
        **told(ledger),
        "reset_again_median_ms": round(1000 * median(again), 3),
        "gold_actions": lengths,
        "valid_actions_median": median(counts) if counts else None,
    }


def played(play: Callable[[], Any], ledger: Ledger) -> dict[str, Any]:
    """How the time of playing is shared."""
    ledger.clear()
    begun = time.perf_counter()
    actions = play()
    seconds = time.perf_counter() - begun
    inside = sum(map(sum, ledger.values()))
    return {
        "actions": actions,
        "seconds": round(seconds, 2),
        "environment_seconds": round(inside, 2),
        "model_share": round(1 - inside / seconds, 3),
        **told(ledger),
    }


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="scienceworld")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--played", type=int, default=1, help="Episodes of these that the model plays.")
    parser.add_argument("--model")
    parser.add_argument("--actions", default="auto")
    parser.add_argument("--sims", type=int)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    kind, task = find(given.environment, servers=1)
    with ExitStack() as stack:
        stack.callback(kind.close)
        ledger: Ledger = defaultdict(list)
        plain = kind.make
        catalogue = catalogue_of(replace(kind, make=lambda: Timed(plain(), ledger)))
        starts = catalogue.starts(task, given.split, limit=given.episodes)
        result: dict[str, Any] = {"environment": given.environment, "episodes": len(starts)}
        result["methods"] = methods(catalogue, starts, ledger)
        if given.model:
            result.update(with_model(given, catalogue, starts[: given.played], ledger))
    print(json.dumps(result))


def with_model(given: argparse.Namespace, catalogue: Catalogue, starts: list[Start], ledger: Ledger) -> dict[str, Any]:
    """The same of greedy episodes, and of searches."""
    lm = LatentLM.from_pretrained(given.model, "auto", "auto", print_nothing, run_only=True)
    config = WorldConfig(max_tokens=24, sampling=sampling_for(lm.base, None))
    actions = actions_for(lm, given.actions, print_nothing)
    settings = PlaySettings(given.max_steps or catalogue.max_steps)

    def writer() -> Writer:  # each with nothing kept from before
        return Writer(lm, Layout.of(lm.base, catalogue.instruction), config, 0, actions)

    def greedy() -> int:
        return sum(len(play_once(catalogue, writer(), settings, [start], GREEDY)[0].episode.turns) for start in starts)

    def planned() -> int:
        search = SearchPlan("gumbel", given.sims, 0)
        return sum(plan_and_play(catalogue, writer(), settings, [start], search).planned[0].steps for start in starts)

    found = {"greedy": played(greedy, ledger)}
    if given.sims:
        found["search"] = {"sims": given.sims, **played(planned, ledger)}
    return found


def print_nothing(text: str) -> None:
    """Takes what loading says."""


if __name__ == "__main__":
    main()
