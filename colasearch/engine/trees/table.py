"""The nodes of all trees, with their keys and values: those that memory has no room for are computed again.

Prompts are encoded together, and once for all trees with the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterable

from colasearch.engine.decoding.row import Lost
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.memory.shape import Segment
from colasearch.engine.texts.writing import Writing
from colasearch.engine.trees.nodes import NO_PARENT, Node


class NodeTable:
    """Nodes by number.

    Attributes:
        actor: Encodes prompts.
        store: Keys and values of nodes.
        nodes: Nodes by number.
        prompts: Of each prompt in use: features after it, and how many trees begin with it.
    """

    def __init__(self, actor: Actor, kv_bytes: int | None) -> None:
        self.actor, self.store = actor, actor.node_memory(kv_bytes)
        self.nodes: dict[int, Node] = {}
        self.prompts: dict[tuple[int, ...], tuple[Features, int]] = {}
        self._next = 0

    def encode(self, prompts: Iterable[tuple[int, ...]]) -> None:
        """Encode those of the prompts that are not in use."""
        new = [p for p in dict.fromkeys(prompts) if p not in self.prompts]
        if not new:
            return
        features, segments = self.actor.prefill(new)
        for i, prompt in enumerate(new):
            self.prompts[prompt] = (features.rows(slice(i, i + 1)), 0)
            self.store.put(("prompt", prompt), segments[i])

    def add(self, node: Node) -> int:
        """Keep a node; returns its number."""
        number, self._next = self._next, self._next + 1
        self.nodes[number] = node
        return number

    def add_root(self, tree: int, prompt: tuple[int, ...], record: Writing) -> tuple[int, Features]:
        """The root of a tree whose prompt is encoded: its number, and the features after the prompt."""
        features, users = self.prompts[prompt]
        self.prompts[prompt] = (features, users + 1)
        return self.add(Node(tree, NO_PARENT, prompt, (), record, ("prompt", prompt), None, 0)), features

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop nodes, and a prompt with the last tree that begins with it."""
        for number in numbers:
            node = self.nodes.pop(number)
            if node.parent != NO_PARENT:
                self.store.drop(node.key)
                continue
            features, users = self.prompts[node.tokens]
            self.prompts[node.tokens] = (features, users - 1)
            if users == 1:
                del self.prompts[node.tokens]
                self.store.drop(node.key)

    def path(self, state: int) -> tuple[list[Segment], list[Lost]]:
        """Keys and values from the root on as far as they are kept, and the nodes after that."""
        numbers: list[int] = []
        while state != NO_PARENT:
            numbers.append(state)
            state = self.nodes[state].parent
        # The root is asked for last, so it counts as used last: what many paths share is evicted last.
        kept = [self.store.get(self.nodes[number].key) for number in numbers][::-1]
        path: list[Segment] = []
        numbers.reverse()
        for number, segment in zip(numbers, kept, strict=True):
            if segment is None and not path:
                segment = self._encode_again(self.nodes[number])
            if segment is None:
                break
            path.append(segment)
        lost = [Lost(self.nodes[n].key, self.nodes[n].tokens) for n in numbers[len(path) :]]
        return path, lost

    def _encode_again(self, root: Node) -> Segment:
        segment = self.actor.prefill([root.tokens])[1][0]
        self.actor.prompt_tokens -= len(root.tokens)
        self.actor.repeated_tokens += len(root.tokens)
        self.store.put(root.key, segment)
        return segment
