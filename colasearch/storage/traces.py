"""The record of one search: its tree, its finished texts, its cost.

A trace is what the tree viewer shows and what value head and policy are trained on. It holds what the searcher saw
and nothing else: no gold answer. ``to_json`` and ``from_json`` turn it into plain data and back.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError
from colasearch.storage.files import write_atomic

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class TraceNode:
    """A node of the tree; slot 0 is the root and parents come before their children.

    Attributes:
        parent: Slot of the parent, -1 at the root.
        action: Action on the edge from the parent, -1 at the root. Of merged actions, the one that stands for all.
        codes: All actions that lead here, because they start with the same token.
        tokens: The node's own tokens (none at the root: the prompt stands in the trace).
        text: Their text.
        visits: Backups through the node.
        value: Backed-up value.
        raw_value: The world's estimate when the node was made.
        reward: Reward of the edge into it.
        prior: Probability of the edge at the parent, merged actions summed; 1 at the root.
        end: Why nothing follows: ``answer`` (finished text), ``cut`` (no room left), ``refuted`` (the text states
            something false); empty for an open node.
        answer: Answer of a finished text.
        priors: Probability of each action here, merged into the first of each group; empty where nothing follows.
    """

    parent: int
    action: int
    codes: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str
    visits: int
    value: float
    raw_value: float
    reward: float
    prior: float
    end: str
    answer: str | None
    priors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TraceText:
    """A finished text that the search came upon, in a node or in a rollout.

    Attributes:
        text: Without prompt and special tokens.
        answer: Extracted; None when there is none.
        value: In [0, 1], as given to the searcher.
        share: How many draws from the policy it stands for, up to a factor; see ``engine.texts.finished.Finished``.
    """

    text: str
    answer: str | None
    value: float
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Trace:
    """One search of one problem.

    Attributes:
        problem_id, task, text: The problem.
        model, searcher, seed, actions: What searched it.
        prompt_tokens: Tokens of the whole prompt.
        answer: The selected answer.
        best_node: Slot that the searcher selected.
        policy_target: Training target of the policy at the root, one number an action.
        nodes: The tree.
        texts: Finished texts in the order in which they were found.
        stop: Why the search ended.
        sims, generated_tokens, model_calls: Cost.
        simulations: Slot at which each simulation ended, in order, where the algorithm backs values up one by one: a
            new node, or a finished one that was gone to again. Empty in traces from before 2026-11-28.
    """

    problem_id: str
    task: str
    text: str
    model: str
    searcher: str
    seed: int
    actions: str
    prompt_tokens: tuple[int, ...]
    answer: str | None
    best_node: int
    policy_target: tuple[float, ...]
    nodes: tuple[TraceNode, ...]
    texts: tuple[TraceText, ...]
    stop: str
    sims: int
    generated_tokens: int
    model_calls: int
    simulations: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str = "trace") -> Trace:
        """Read plain data.

        Raises:
            CorruptFileError: Another schema, or a field is missing or unknown.
        """
        if data.get("schema") != SCHEMA:
            raise CorruptFileError(f"{where} has schema {data.get('schema')!r}; this version reads schema {SCHEMA}")
        try:
            given = {f.name: data[f.name] for f in fields(cls) if f.name != "simulations"}
            given["simulations"] = tuple(data.get("simulations", ()))
            given["nodes"] = tuple(
                TraceNode(
                    **{**n, "codes": tuple(n["codes"]), "tokens": tuple(n["tokens"]), "priors": tuple(n["priors"])}
                )
                for n in data["nodes"]
            )
            given["texts"] = tuple(TraceText(**t) for t in data["texts"])
            given["prompt_tokens"] = tuple(data["prompt_tokens"])
            given["policy_target"] = tuple(data["policy_target"])
        except (KeyError, TypeError) as error:
            raise CorruptFileError(f"{where} is incomplete: {error}; run the search again") from None
        return cls(**given)

    def write(self, path: Path) -> None:
        """Write gzipped JSON; equal traces give equal bytes."""
        data = json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":")).encode()
        write_atomic(path, gzip.compress(data, compresslevel=6, mtime=0))

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Read what :meth:`write` wrote.

        Raises:
            CorruptFileError: The file is damaged or of another schema.
        """
        try:
            data = json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise_disk(error, path)
            raise CorruptFileError(f"{path} is damaged ({error}); run the search again") from None
        if not isinstance(data, dict):
            raise CorruptFileError(f"{path} holds {type(data).__name__}, not an object; run the search again")
        return cls.from_json(data, str(path))
