"""Preference pairs: a prompt and two texts, of which one was preferred.

A row has ``chosen`` and ``rejected``, and the prompt as ``problem`` or ``prompt`` (other names: ``colasearch.rows``).
Each may be a text or, as TRL has them, a list of messages ``{"role", "content"}``. Where there is no prompt, the
messages that ``chosen`` and ``rejected`` begin with in common are it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colasearch.errors import InputError
from colasearch.rows import Row, read_rows

Message = dict[str, str]
FORM = 'a pair has "problem" (or "prompt"), "chosen" and "rejected": texts, or lists of messages with role and content'


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts for a prompt.

    Attributes:
        prompt: The messages before them; at least one.
        chosen, rejected: The preferred text and the other.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str

    @property
    def key(self) -> str:
        """Names the prompt: pairs of one prompt are held out together."""
        return hashlib.sha256(json.dumps(self.prompt, sort_keys=True).encode()).hexdigest()


def read_pairs(paths: Sequence[Path]) -> tuple[list[Pair], int]:
    """Pairs of files, in order, and how many rows had two equal texts, which say nothing and are left out.

    Raises:
        InputError: A file or row cannot be read, or no pair is left.
    """
    pairs = [_pair(row) for path in paths for row in read_rows(path)]
    telling = [pair for pair in pairs if pair.chosen != pair.rejected]
    if not telling:
        raise InputError(f"no pair of two different texts in {', '.join(map(str, paths))}; {FORM}")
    return telling, len(pairs) - len(telling)


def pairs_sha256(pairs: Sequence[Pair]) -> str:
    """Of everything in the pairs: a resumed run must have the same ones."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.prompt, pair.chosen, pair.rejected], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def split_pairs(pairs: Sequence[Pair], fraction: float) -> tuple[list[int], list[int]]:
    """Indices of the pairs to train on and of those held out; all pairs of one prompt fall on the same side."""
    train: list[int] = []
    held: list[int] = []
    for index, pair in enumerate(pairs):
        (held if int(pair.key[:16], 16) / 2**64 < fraction else train).append(index)
    return train, held


def _pair(row: Row) -> Pair:
    chosen, rejected = (_messages(row, name, "assistant") for name in ("chosen", "rejected"))
    if row.fields.get("problem") is None:
        common = 0
        while common < min(len(chosen), len(rejected)) - 1 and chosen[common] == rejected[common]:
            common += 1
        prompt, chosen, rejected = chosen[:common], chosen[common:], rejected[common:]
        if not prompt:
            raise InputError(f"{row.where} has no prompt; {FORM}")
    else:
        prompt = _messages(row, "problem", "user")
    for name, said in (("chosen", chosen), ("rejected", rejected)):
        if len(said) != 1:
            raise InputError(f"{row.where}: {name!r} has {len(said)} messages after the prompt; it must have one")
    return Pair(tuple(prompt), chosen[0]["content"], rejected[0]["content"])


def _messages(row: Row, name: str, role: str) -> list[Message]:
    value: Any = row.fields.get(name)
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, list) and value:
        try:
            return [{"role": str(one["role"]), "content": _text(one["content"])} for one in value]
        except (KeyError, TypeError):
            pass
    shown = "no" if value is None else "an unusable"
    raise InputError(f"{row.where} has {shown} {'prompt' if name == 'problem' else name!r}; {FORM}")


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise TypeError
    return content
