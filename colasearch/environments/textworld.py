"""TextWorld (Côté et al. 2018, "TextWorld: A Learning Environment for Text-based Games"): games that are made here.

A variation is a game of its own, made from the task's settings and a seed when it is first played, and kept in the
cache folder. Games, their solutions and what can be done are the package's; the score is its share of the most points.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from colasearch.environments.base import Kind
from colasearch.errors import InputError, PrerequisiteError
from colasearch.storage.files import cache_dir, waiting_lock

VARIATIONS = {"train": range(1000), "dev": range(1000, 1050), "test": range(1050, 1150)}
"""Numbers of the variations of each task, by split."""
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "simple": ("simple", {"rewards": "dense", "goal": "detailed"}),
    "coin_collector_5": ("coin_collector", {"level": 5}),
    "coin_collector_10": ("coin_collector", {"level": 10}),
    "coin_collector_110": ("coin_collector", {"level": 110}),
    "treasure_hunter_5": ("treasure_hunter", {"level": 5}),
    "treasure_hunter_15": ("treasure_hunter", {"level": 15}),
    "treasure_hunter_25": ("treasure_hunter", {"level": 25}),
    "cooking_cut": ("cooking", {"recipe": 1, "take": 1, "go": 1, "open": True, "cut": True}),
    "cooking_cook": ("cooking", {"recipe": 1, "take": 1, "go": 1, "open": True, "cut": True, "cook": True}),
    "cooking_go": ("cooking", {"recipe": 1, "take": 1, "go": 9, "open": True}),
    "cooking_all": ("cooking", {"recipe": 3, "take": 3, "go": 6, "open": True, "cut": True, "cook": True}),
}
"""Task: the package's challenge, and its settings."""
TRIES = 10
"""Seeds that are tried for a game: of some maps no quest of the wanted length can be made."""
PLAY_SEED = 1
"""Of the interpreter, whose own numbers come from the clock otherwise."""
_NOT_IN_THE_WORLD = re.compile(
    r"(?:^|[.,;]|\bthen\b|\band\b)\s*(?:tw-|(?:quit|q|restart|restore|save|undo|oops|again|g|script|transcript|verify|"
    r"version|brief|verbose|superbrief|notify|pronouns|recording|replay)\b)",
    re.IGNORECASE,
)
"""Commands to the interpreter, wherever one may begin: they would begin again, save or end the game."""


class TextWorld:
    """One game at a time.

    Attributes:
        instruction: What the model is told first.
        max_steps: Longest episode.
        tasks: Names of the tasks.
    """

    instruction = (
        "You are in a small world of rooms and things. Reach the goal by short commands, such as: look, inventory, "
        "go north, open fridge, take apple from fridge, examine cookbook. Give one command at a time."
    )
    max_steps = 50
    tasks = tuple(TASKS)

    def __init__(self) -> None:
        self._game: Any = None
        self._path: Path | None = None
        self._valid: list[str] = []
        self._gold: list[str] = []
        self._points = self._most = 0
        self._won = False

    @staticmethod
    def variations(task: str, split: str) -> range:
        """Numbers of the variations of a split."""
        return VARIATIONS[split]

    def reset(self, task: str, variation: int) -> str:
        """Begin an episode; the game is made if it is not there yet.

        Raises:
            InputError: There is no such task.
        """
        import textworld

        task = task or self.tasks[0]
        path = game_file(task, variation)
        if path != self._path:
            self.close()
            infos = textworld.EnvInfos(admissible_commands=True, description=True, extras=["walkthrough"])
            self._game, self._path = textworld.start(str(path), infos), path
        self._game.seed(PLAY_SEED)
        state = self._game.reset()
        self._points, self._most, self._won = 0, int(state.max_score), False
        self._gold = [str(command) for command in state["extra.walkthrough"]]
        self._valid = list(state.admissible_commands)
        return f"Goal: {_plain(state.objective)}\n{_plain(state.description)}"

    def step(self, text: str) -> tuple[str, float, bool]:
        """Act."""
        if _NOT_IN_THE_WORLD.search(text):
            return "That is no command in this world.", 0.0, False
        state, _, done = self._now().step(text)
        before, self._points = self._points, int(state.score or 0)
        self._valid, self._won = list(state.admissible_commands), bool(state.won)
        return _plain(state.feedback), self._points / self._most - before / self._most, bool(done)

    def success(self) -> bool:
        """Whether the game was won."""
        return self._won

    def valid_actions(self) -> list[str]:
        """What can be done now."""
        return self._valid

    def gold(self) -> list[str]:
        """The game's own solution."""
        self._now()
        return self._gold

    def copy(self) -> TextWorld:
        """The same moment again."""
        other = TextWorld()
        other._game, other._path = self._now().copy(), self._path
        other._valid, other._gold = list(self._valid), self._gold
        other._points, other._most, other._won = self._points, self._most, self._won
        return other

    def close(self) -> None:
        """End the game."""
        if self._game is not None:
            self._game.close()
        self._game = self._path = None

    def _now(self) -> Any:
        if self._game is None:
            raise InputError("textworld has no episode; call reset(task, variation) first")
        return self._game


def game_file(task: str, variation: int) -> Path:
    """The file of a game, which is made now if it is not in the cache.

    Raises:
        InputError: There is no such task.
    """
    if task not in TASKS:
        raise InputError(f"textworld has no task {task!r}; its tasks are {', '.join(TASKS)}")
    split = next((name for name, numbers in VARIATIONS.items() if variation in numbers), "train")
    challenge, settings = TASKS[task]
    if challenge == "cooking":  # the package keeps some foods for each split
        settings = {**settings, "recipe_seed": 0, "split": {"dev": "valid"}.get(split, split)}
    elif challenge == "simple":
        settings = {**settings, "test": split == "test"}
    made_of = json.dumps([version("textworld"), challenge, settings], sort_keys=True)
    folder = cache_dir() / "textworld" / f"{task}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}" / str(variation)
    file = folder / "game.z8"
    if not file.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(f"textworld-{task}-{variation}"):
            if not file.exists():
                _make(folder, challenge, settings, f"{task} {variation}")
    return file


def _make(folder: Path, challenge: str, settings: dict[str, Any], name: str) -> None:
    """Make a game in a folder that is there as a whole or not at all."""
    import textworld
    from textworld.generator import QuestGenerationError, compile_game

    make = importlib.import_module(f"textworld.challenges.tw_{challenge}.{challenge}").make
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as trial:
        for number in range(TRIES):
            seed = int.from_bytes(hashlib.sha256(f"{name} {number}".encode()).digest()[:4])
            textworld.g_rng.set_seed(seed)
            options = textworld.GameOptions()
            options.seeds = seed
            options.path = str(Path(trial, "made", "game.z8"))
            try:
                game = make(settings, options)
                break
            except QuestGenerationError as error:
                why = error
        else:
            raise InputError(f"textworld made no game {name} from {TRIES} seeds: {why}")
        compile_game(game, options)
        os.rename(Path(trial, "made"), folder)


def _plain(text: str) -> str:
    """A text of the game without its prompt, behind which it shows room and score."""
    lines = [" ".join(line.split()) for line in str(text).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(">"))


def kind(**options: Any) -> Kind:
    """The kind ``textworld``.

    Raises:
        PrerequisiteError: The package, or one that it needs, is absent.
    """
    for package in ("textworld", "jericho"):
        if importlib.util.find_spec(package) is None:
            raise PrerequisiteError(
                f"TextWorld is not installed (no package {package}); run `pip install '.[textworld]'`, which needs a C "
                "compiler and make"
            )
    return Kind("textworld", TextWorld)
