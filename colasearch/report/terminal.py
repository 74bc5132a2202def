"""A search tree as text, for terminals: the most visited nodes, each with its numbers and its step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from colasearch.printable import visible
from colasearch.storage.traces import Trace, TraceNode

WORDS = 72
"""Characters of a step that are shown."""


def tree_text(trace: Trace, most: int = 40) -> Tree:
    """The tree with at most ``most`` nodes: the selected path, then the most visited ones.

    Texts are shown literally: neither markup nor terminal escapes in them act.
    """
    nodes = trace.nodes
    path = _path(nodes, trace.best_node)
    shown = _shown(nodes, path, most)
    head = Text.assemble((visible(_flat(trace.text)), "bold"), "\n", (_numbers(nodes[0]), "dim"))
    drawn = {0: Tree(head, guide_style="dim")}
    for slot in sorted(
        shown - {0}, key=lambda slot: (_depth(nodes, slot), slot not in path, -nodes[slot].visits, slot)
    ):
        drawn[slot] = drawn[nodes[slot].parent].add(_line(nodes[slot], on_path=slot in path))
    hidden = Counter(node.parent for slot, node in enumerate(nodes) if slot not in shown)
    for slot in sorted(shown & hidden.keys()):
        drawn[slot].add(Text(f"{hidden[slot]} more", style="dim"))
    return drawn[0]


def summary_line(trace: Trace) -> str:
    """What was searched, what came out, what it cost."""
    answer = "no answer" if trace.answer is None else f"answer {_flat(trace.answer)}"
    return visible(
        f"{_flat(trace.problem_id)}: {answer}; {trace.searcher}, {trace.sims} simulations, "
        f"{trace.generated_tokens:,} tokens, stopped: {trace.stop}"
    )


def _path(nodes: Sequence[TraceNode], slot: int) -> set[int]:
    path = set()
    while slot >= 0:
        path.add(slot)
        slot = nodes[slot].parent
    return path


def _depth(nodes: Sequence[TraceNode], slot: int) -> int:
    return len(_path(nodes, slot))


def _shown(nodes: Sequence[TraceNode], path: set[int], most: int) -> set[int]:
    """Slots to show; with a node all those above it, which have no fewer visits and earlier slots."""
    shown = set(path)
    for slot in sorted(range(len(nodes)), key=lambda slot: (-nodes[slot].visits, slot)):
        if len(shown) >= max(most, len(path)):
            break
        if nodes[slot].parent in shown or slot == 0:
            shown.add(slot)
    return shown


def _line(node: TraceNode, *, on_path: bool) -> Text:
    words = Text(visible(_flat(node.text)) or "(end of text)", style="bold" if on_path else "")
    end = {"answer": "", "cut": "cut off", "refuted": "false"}.get(node.end, "")
    if node.end == "answer":
        end = "no answer" if node.answer is None else f"answer {visible(_flat(node.answer))}"
    chip = (f"{end}  " if end else "", "green")
    return Text.assemble((_numbers(node), "cyan" if on_path else "dim"), "  ", chip, words)


def _numbers(node: TraceNode) -> str:
    value = f"worth {node.reward:.2f}" if node.end else f"Q {node.value:.2f}"
    merged = f" +{len(node.codes) - 1}" if len(node.codes) > 1 else ""
    edge = f"  P {node.prior:.2f}  c{node.codes[0]}{merged}" if node.codes else ""
    return f"{node.visits:>4}  {value}{edge}"


def _flat(text: str) -> str:
    """One line, not too long."""
    line = " ".join(text.split("\n")).strip()
    return line if len(line) <= WORDS else line[: WORDS - 1] + "…"
