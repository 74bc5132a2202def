"""reasoning-gym inside a worker process: makes tasks and runs their scorers. Imported in workers only.

Some of its scorers run ``eval``, or sympy's ``parse_expr`` that does, on the answer. Three things stand in the way of
an answer that is code: the modules' ``eval`` is replaced by ``ast.literal_eval``; formulas for ``parse_expr`` may use
a short list of names and no attributes; and the worker itself may not start processes, write files or open sockets.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from functools import lru_cache
from typing import Any

import reasoning_gym

MAX_ANSWER_CHARS = 20_000
"""A longer answer is scored 0 unread."""
MAX_FORMULA_CHARS = 500
"""The same for tasks whose scorer parses a formula."""

_LITERALS = ("string_insertion", "spiral_matrix", "binary_matrix", "n_queens")
_FORMULAS = frozenset({"simple_integration", "intermediate_integration", "polynomial_multiplication"})
_NAMES = frozenset("sin cos tan cot sec csc asin acos atan sinh cosh tanh exp log ln sqrt pi Abs".split())  # noqa: SIM905
_FORMULA = re.compile(r"[A-Za-z0-9+\-*/^(),.\s]+")


def _disarm() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("reasoning_gym.") and name.rpartition(".")[2] in _LITERALS:
            vars(module)["eval"] = ast.literal_eval


def _is_formula(answer: str) -> bool:
    """Whether an answer may be given to ``parse_expr``: numbers, operators, variables and known functions."""
    if len(answer) > MAX_FORMULA_CHARS or not _FORMULA.fullmatch(answer) or re.search(r"\.\s*[A-Za-z]", answer):
        return False
    return all(len(word) == 1 or word in _NAMES for word in re.findall(r"[A-Za-z]+", answer))


@lru_cache(maxsize=16)
def _dataset(name: str, seed: int, size: int, config: str) -> Any:
    made = reasoning_gym.create_dataset(name, seed=seed, size=size, **json.loads(config))
    _disarm()
    return made


def work(job: dict[str, Any]) -> Any:
    """Do one job.

    ``{"op": "names"}`` gives the names of all tasks. ``{"op": "item", ...}`` gives question, answer and metadata
    (as far as JSON can say them) of item ``index``. ``{"op": "score", ..., "answer"}`` gives the score in [0, 1].
    The dots are ``name``, ``seed``, ``size``, ``config`` (a JSON object) and ``index``.
    """
    if job["op"] == "names":
        from reasoning_gym.factory import DATASETS

        return sorted(DATASETS)
    data = _dataset(job["name"], job["seed"], job["size"], json.dumps(job["config"], sort_keys=True))
    entry = data[job["index"]]
    if job["op"] == "item":
        return json.loads(json.dumps(entry, default=str))
    answer = job["answer"]
    if len(answer) > MAX_ANSWER_CHARS or (job["name"] in _FORMULAS and not _is_formula(answer)):
        return 0.0
    return float(data.score_answer(answer, entry))
