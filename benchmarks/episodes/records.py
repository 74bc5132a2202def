"""What is written down of an episode: a record of ``problems.jsonl`` with all fields of other benchmarks, and its own.

Beside what ``colasearch.storage.records`` says::

    {"problem_id": "wash-212", "problem": "Goal: ...",      # the episode, and its first observation
     "subject": "wash",                                     # its task
     "correct": true, "oracle": true,                       # solved; any episode that was tried was solved
     "answer": "go north / take cup / ...", "text": "...",  # the actions, and the whole episode as text
     "texts": 3, "texts_correct": 1,                        # episodes followed to their ends, and those solved
     "score": 1.0, "steps": 7,                              # sum of rewards, and actions, of the episode that counts
     "environment_steps": 38,                               # actions in the environment that were new
     "replayed_steps": 12, "resets": 4,                     # actions that only came back to a state; beginnings
     "cut_actions": 0,                                      # actions that reached the limit of their length
     "step_budget": null,                                   # steps, or tokens, that the arm was given
     "turns": [{"action", "observation", "reward"}, ...]}

``gold`` is null: no arm but ``gold`` asks for it.
"""

from __future__ import annotations

from typing import Any

from colasearch.benchmarks.episodes.arms import Result

DIGITS = 6


def record_of(result: Result, arm: str, sims: int) -> dict[str, Any]:
    """The record of a result, without its trace."""
    episode = result.episode
    record: dict[str, Any] = {
        "problem_id": result.start.id,
        "problem": episode.first,
        "arm": arm,
        "sims": sims,
        "status": "ok",
        "error": None,
        "subject": result.start.task or None,
        "level": None,
        "gold": None,
        "wall_seconds": round(result.wall, DIGITS),
    }
    if result.error is not None:
        error = {"kind": type(result.error).__name__, "message": str(result.error)}
        return {**record, "status": "error", "error": error}
    return {
        **record,
        "answer": " / ".join(episode.actions) or None,
        "text": episode.shown(),
        "correct": episode.success,
        "oracle": episode.success or result.solved > 0,
        "texts": result.tried,
        "texts_correct": result.solved,
        "candidates": [],
        "cut": 0,
        "stop": result.stop,
        "sims_done": result.sims,
        "effective_branching": None if result.branching is None else round(result.branching, DIGITS),
        "token_budget": None,
        "generated_tokens": result.tokens,
        "model_calls": result.calls,
        "seconds": round(result.seconds, DIGITS),
        "score": round(episode.score, DIGITS),
        "steps": len(episode.turns),
        "environment_steps": result.steps,
        "replayed_steps": result.replayed,
        "resets": result.resets,
        "cut_actions": episode.cut,
        "step_budget": result.budget,
        "turns": [
            {"action": turn.action, "observation": turn.observation, "reward": turn.reward} for turn in episode.turns
        ],
    }
