"""ScienceWorld (Wang et al. 2022, "ScienceWorld: Is your agent smarter than a 5th grader?"), in servers of its own.

A score is the game's, divided by 100; one below 0, with which the game ends an episode that can no longer be solved,
counts as 0, as is usual. Splits are those that were published.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from typing import Any

from colasearch.environments.base import SPLITS, Kind
from colasearch.environments.servers.served import served_kind
from colasearch.errors import PrerequisiteError

MAX_STEPS = 100
JAVA_OPTIONS = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2"
"""The game lists things in the order of sets over Java's identity hashes, which are drawn anew for each object: the
same episode would read otherwise each time. Where all are equal, things come in the order in which they were put in."""
NO_LIMIT = 1_000_000_000
"""For the game's own limit of steps; ours is ``max_steps``."""


class Inside:
    """The environment as it is in a server.

    Attributes:
        tasks: Names of the 30 tasks.
        max_steps: Longest episode.
        instruction: What the model is told first.
    """

    max_steps = MAX_STEPS
    instruction = (
        "You are in a small world of ten rooms where you do experiments. Reach the goal by short commands, such as: "
        "open door to kitchen, go to kitchen, look in cupboard, pick up thermometer, focus on thermometer, use "
        "thermometer in inventory on water. Give one command at a time."
    )

    def __init__(self) -> None:
        from scienceworld import ScienceWorldEnv

        os.environ["JDK_JAVA_OPTIONS"] = " ".join((os.environ.get("JDK_JAVA_OPTIONS", ""), JAVA_OPTIONS)).strip()
        logging.disable(logging.CRITICAL)  # py4j logs pages of a Java that is gone; whoever asked is told anyway
        self._game: Any = ScienceWorldEnv("", envStepLimit=NO_LIMIT)
        self.tasks = list(self._game.task_names)
        self._splits: dict[str, dict[str, list[int]]] = {}
        self._begun = ("", 0)
        self._done: list[str] = []
        self._score = 0.0

    def variations(self, task: str, split: str) -> list[int]:
        """The published variations."""
        if task not in self._splits:
            self._game.load(task, 0, "")  # which takes a second, and tells those of all splits
            self._splits[task] = {
                name: [int(number) for number in getattr(self._game, f"get_variations_{name}")()] for name in SPLITS
            }
        return self._splits[task][split]

    def reset(self, task: str, variation: int) -> str:
        """Begin an episode."""
        task = task or self.tasks[0]
        self._load(task, variation, gold=False)
        self._begun, self._done = (task, variation), []
        return f"{str(self._game.get_task_description()).strip()}\n{str(self._game.look()).strip()}"

    def step(self, text: str) -> tuple[str, float, bool]:
        """Act."""
        observation = str(self._game.server.step(text))
        self._done.append(text)
        raw = float(self._game.server.getScore())
        before, self._score = self._score, max(0.0, round(raw, 2))
        return observation, round(self._score - before, 4), bool(self._game.server.getCompleted()) or raw < 0

    def success(self) -> bool:
        """Whether the whole score was reached."""
        return self._score >= 1

    def valid_actions(self) -> list[str]:
        """What can be done now; takes the game about 0.2 seconds."""
        found = {str(action) for action in self._game.get_valid_action_object_combinations()}
        return sorted(found)

    def gold(self) -> list[str]:
        """The game's own solution. The episode is begun again for it, and played up to where it was."""
        (task, variation), done = self._begun, self._done
        self._load(task, variation, gold=True)
        path = [str(action) for action in self._game.get_gold_action_sequence()]
        self._load(task, variation, gold=False)
        for text in done:
            self._game.server.step(text)
        self._score = max(0.0, round(float(self._game.server.getScore()), 2)) if done else 0.0
        return path

    def alive(self) -> bool:
        """Whether the Java program still answers."""
        try:
            return bool(self._game.server.getTaskNames())
        except Exception:  # py4j's own and the system's, by the way in which it was lost
            return False

    def close(self) -> None:
        """End the Java program."""
        self._game.close()

    def _load(self, task: str, variation: int, gold: bool) -> None:
        self._game.load(task, variation, "", gold)
        self._score = 0.0


def kind(servers: int = 1, timeout: float = 60.0, **options: Any) -> Kind:
    """The kind ``scienceworld``.

    Args:
        servers: Processes at a time; each takes 0.7 GB.
        timeout: Seconds in which a call must be answered.
        options: Of other kinds.

    Raises:
        PrerequisiteError: The package or Java is absent.
    """
    if importlib.util.find_spec("scienceworld") is None:
        raise PrerequisiteError("ScienceWorld is not installed; run `pip install '.[scienceworld]'`")
    if shutil.which("java") is None:
        raise PrerequisiteError(
            "ScienceWorld needs Java, and there is no program java; install one of version 17 (on Debian and Ubuntu "
            "`apt-get install openjdk-17-jre-headless`) and see that it is on the PATH"
        )
    return served_kind("scienceworld", f"{__name__}:Inside", servers, timeout)
