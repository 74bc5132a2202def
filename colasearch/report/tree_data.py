"""Traces as the tree viewer reads them: checked for what the viewer relies on, and made small."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError
from colasearch.report.curves import BASELINES
from colasearch.storage.traces import Trace, TraceNode


def read_trace(path: Path) -> Trace:
    """Read a trace and check that it is a tree.

    Raises:
        CorruptFileError: The file is damaged, of another schema, or its nodes are no tree.
    """
    try:
        trace = Trace.read(path)
    except (zlib.error, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path} is damaged ({error}); run the search again") from None
    wrong = _wrong(trace)
    if wrong:
        raise CorruptFileError(f"{path} is damaged: {wrong}; run the search again")
    return trace


def _wrong(trace: Trace) -> str | None:
    """What the viewer could not show; None when all is well."""
    if not trace.nodes:
        return "it has no nodes"
    for slot, node in enumerate(trace.nodes):
        if not isinstance(node.parent, int) or not (node.parent == -1 if slot == 0 else 0 <= node.parent < slot):
            return f"node {slot} has parent {node.parent!r:.40}, which must be an earlier node"
        if not _well_typed(node):
            return f"node {slot} has a field of the wrong type"
    if not isinstance(trace.best_node, int) or not 0 <= trace.best_node < len(trace.nodes):
        return f"its best node is {trace.best_node!r:.40}, and it has {len(trace.nodes)} nodes"
    strings = (trace.problem_id, trace.task, trace.text, trace.model, trace.searcher, trace.actions, trace.stop)
    if not all(isinstance(text, str) for text in strings):
        return "a text field of it is no text"
    if not all(isinstance(number, int) for number in (trace.sims, trace.generated_tokens, trace.model_calls)):
        return "a number of its cost is no whole number"
    for text in trace.texts:
        if not (isinstance(text.text, str) and isinstance(text.answer, str | None) and _is_number(text.value)):
            return "a finished text of it has a field of the wrong type"
    return None


def _well_typed(node: TraceNode) -> bool:
    numbers = (node.visits, node.value, node.raw_value, node.reward, node.prior)
    texts = isinstance(node.text, str) and isinstance(node.end, str) and isinstance(node.answer, str | None)
    return texts and all(map(_is_number, numbers)) and all(isinstance(code, int) for code in node.codes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tree_of(trace: Trace) -> dict[str, Any]:
    """A trace as the tree viewer reads it: a list a column, numbers rounded to what is shown."""
    nodes = trace.nodes
    return {
        "task": trace.task,
        "problem": trace.text,
        "model": trace.model,
        "searcher": trace.searcher,
        "seed": trace.seed,
        # What an edge stands for: a baseline's tree has one child of the root for each text that it drew.
        "edge": "sample" if trace.searcher in BASELINES else "code" if trace.actions == "latent" else "action",
        "prompt_tokens": len(trace.prompt_tokens),
        "answer": trace.answer,
        "best": trace.best_node,
        "stop": trace.stop,
        "sims": trace.sims,
        "generated_tokens": trace.generated_tokens,
        "model_calls": trace.model_calls,
        "parent": [n.parent for n in nodes],
        "codes": [list(n.codes) for n in nodes],
        "tokens": [len(n.tokens) for n in nodes],
        "text": [n.text for n in nodes],
        "visits": [n.visits for n in nodes],
        "value": [round(n.value, 5) for n in nodes],
        "raw": [round(n.raw_value, 5) for n in nodes],
        "reward": [round(n.reward, 5) for n in nodes],
        "prior": [round(n.prior, 6) for n in nodes],
        "simulations": simulations_of(trace),
        "end": [n.end for n in nodes],
        "answers": [n.answer for n in nodes],
        "texts": [[t.text, t.answer, round(t.value, 5)] for t in trace.texts],
    }


def simulations_of(trace: Trace) -> list[int]:
    """Slot at which each simulation ended, so that the page can show the tree as it grew.

    Where the trace does not say so, or says what does not add up to its visits (a subtree was reused, or the algorithm
    counts otherwise), the nodes in the order in which they were made: slots are.
    """
    nodes, size = trace.nodes, len(trace.nodes)
    visits = [0] * size
    for slot in trace.simulations:
        if not (isinstance(slot, int) and 0 < slot < size):
            return list(range(1, size))
        visits[slot] += 1
    for slot in range(size - 1, 0, -1):
        visits[nodes[slot].parent] += visits[slot]
    known = all(visits[slot] == nodes[slot].visits for slot in range(1, size))
    return list(trace.simulations) if known and size > 1 else list(range(1, size))
