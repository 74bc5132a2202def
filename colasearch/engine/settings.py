"""Settings of a search, as plain numbers: of the draws, of the world that searchers see, of each problem's search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from colasearch.errors import InputError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes (or, without latent modules, tokens) are drawn while a text goes on.

    Attributes:
        temperature: Of the policy over codes.
        top_k: Codes to keep; 0 keeps all.
        token_temperature, token_top_k: The same for tokens, without latent modules.
        token_top_p: Of the tokens that ``token_top_k`` keeps, the most probable ones that reach this sum; 1 keeps all.
        shortlist: At a node, each code's first token is sought among this many tokens that are probable there; 0
            seeks among all. See ``Actor.fan_out``.
    """

    temperature: float = 1.0
    top_k: int = 0
    token_temperature: float = 0.7
    token_top_k: int = 50
    token_top_p: float = 1.0
    shortlist: int = 2048


@dataclass(frozen=True, slots=True)
class Choosing:
    """Heuristics that choose among texts where no verifier checks answers; see ``engine.texts.choosing``.

    Attributes:
        false_equations: Whether a text that states something false (``3 + 4 = 8``) is given up and worth nothing.
        numbers_left_out: Whether a text that leaves out numbers of the problem counts for less.
        temper: Power of its probability with which a text that a tree reached counts in a vote; 1 leaves it as it is.
    """

    false_equations: bool = True
    numbers_left_out: bool = True
    temper: float = 1 / 3

    @classmethod
    def checking(cls, on: bool) -> Choosing:
        """As ``--check-steps`` says: with what looks into texts, or without."""
        return cls(false_equations=on, numbers_left_out=on)


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Settings of the world.

    Attributes:
        max_tokens: Longest text, in generated tokens.
        max_step_tokens: Longest step.
        branch_below: A step ends where the most probable next token has less than this probability, so that every
            node is a choice (docs/lab-notes compare). 0: it ends with a sentence or a line. None: as the task says.
        value_head: Whether leaves and texts are valued by the model's value head, where it has one.
        q_values: Whether they are valued by the model's Q head, in place of all else (``engine.forward.heads``).
        values: Rewards (``colasearch.rewards``) that value leaves and texts in place of value head and rollouts; specs
            with absolute paths. Answers that a verifier can check are still valued by it.
        rollouts: Whether leaves are valued by rollouts where there is no value head. Without, an unfinished leaf is
            worth 0: right for algorithms that look at finished texts alone.
        choosing: Which heuristics choose among texts.
        complete: Whether a search that ends without any finished text writes its most promising one to its end. Only
            searchers that value nodes: the others draw whole texts.
        references: Reference rollouts from each root (unused with a value head).
        rows: Most texts decoded in one batch; None: as many as the device serves well, see ``Actor.rows_for``.
        kv_bytes: Most bytes of keys and values kept for tree nodes; None keeps all.
        backend: ``own``, or ``vllm``: whole texts of sampled tokens are written by vLLM.
        engine: ``auto``, ``tree``, ``paged`` or ``whole``; see ``engine.forward.inference``.
        sampling: How codes and tokens are drawn.
    """

    max_tokens: int = 256
    max_step_tokens: int = 24
    branch_below: float | None = None
    value_head: bool = True
    q_values: bool = False
    values: tuple[str, ...] = ()
    rollouts: bool = True
    choosing: Choosing = field(default_factory=Choosing)
    complete: bool = True
    references: int = 8
    rows: int | None = None
    kv_bytes: int | None = 4 << 30
    engine: str = "auto"
    backend: str = "own"
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How each problem is searched.

    Attributes:
        searcher: Algorithm, as in ``colasearch.searchers.run``.
        sims: Simulations.
        seed: Run seed; fixes the result, with the problem's id.
        actions: ``latent``, or ``sampled``: first tokens drawn from the base itself.
        leaves_in_flight: Most leaves of one tree evaluated together.
        max_seconds: Wall-clock limit of a problem; what was found by then counts.
        stop_when_solved: End a search as soon as a checkable verifier has accepted an answer, unless the algorithm
            counts votes without looking at verdicts.
        max_tree_tokens: Limit on the tokens generated for one problem; a round may pass it.
        world: Limits and sampling of the world.
        options: Options of the algorithm. Where a verifier checks answers, ``revisit`` is False unless it is given:
            a text that was rejected is not gone to again.
    """

    searcher: str = "gumbel"
    sims: int = 64
    seed: int = 0
    actions: str = "latent"
    leaves_in_flight: int = 16
    max_seconds: float | None = None
    max_tree_tokens: int | None = None
    stop_when_solved: bool = True
    world: WorldConfig = field(default_factory=WorldConfig)
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range.
        """
        if not 0 < self.world.sampling.token_top_p <= 1:
            raise InputError(f"token_top_p is {self.world.sampling.token_top_p}; it must be above 0 and at most 1")
        if self.sims < 1:
            raise InputError(f"sims is {self.sims}; it must be at least 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError(f"max_seconds is {self.max_seconds}; it must be above 0")
        if self.max_tree_tokens is not None and self.max_tree_tokens < 1:
            raise InputError(f"max_tree_tokens is {self.max_tree_tokens}; it must be at least 1")
