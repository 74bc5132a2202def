"""Settings of the world that searchers see."""

from __future__ import annotations

from dataclasses import dataclass, field

from colasearch.engine.forward.actor import Sampling


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Settings of the world.

    Attributes:
        max_tokens: Longest text, in generated tokens.
        max_step_tokens: Longest step.
        branch_below: A step ends where the most probable next token has less than this probability, so that every
            node is a choice (docs/results.md compares). 0: it ends with a sentence or a line. None: as the task says.
        value_head: Whether leaves and texts are valued by the model's value head, where it has one.
        rollouts: Whether leaves are valued by rollouts where there is no value head. Without, an unfinished leaf is
            worth 0: right for algorithms that look at finished texts alone.
        check_steps: Whether a text that states something false (``3 + 4 = 8``) is given up and worth nothing, where the
            task has such a check (``Task.refuted``), and one that leaves out numbers of the problem counts for less
            (``Task.plausibility``).
        complete: Whether a search that ends without any finished text writes its most promising one to its end. Only
            searchers that value nodes: the others draw whole texts.
        references: Reference rollouts from each root (unused with a value head).
        rows: Most texts decoded in one batch.
        kv_bytes: Most bytes of keys and values kept for tree nodes; None keeps all.
        engine: ``auto``, ``tree`` or ``whole``; see ``engine.forward.inference``.
        sampling: How codes and tokens are drawn.
    """

    max_tokens: int = 256
    max_step_tokens: int = 24
    branch_below: float | None = None
    value_head: bool = True
    rollouts: bool = True
    check_steps: bool = True
    complete: bool = True
    references: int = 8
    rows: int = 64
    kv_bytes: int | None = 4 << 30
    engine: str = "auto"
    sampling: Sampling = field(default_factory=Sampling)
