"""A row: one text to decode, and the rules by which its step and the text end."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from colasearch.engine.forward.features import Features
from colasearch.engine.memory.shape import Segment


@dataclass(frozen=True, slots=True)
class Rules:
    """When a step and a text end.

    Attributes:
        is_boundary: Whether a step ends after this token.
        is_finished: Whether a text (its tokens so far) is complete.
        max_step_tokens: Longest step.
        rollout: Whether decoding goes on after the step, to the end of the text.
        branch_below: If given, a step ends where a choice is open, rather than at ``is_boundary``: where the most
            probable next token has less than this probability.
        greedy: With ``branch_below``: up to the open choice the most probable token is taken, not drawn. What a draw
            takes instead can never be chosen otherwise, which ends a tree where the draw is refuted.
        is_checked: With ``branch_below``: whether a check will judge a text's next token (it is part of an equation's
            result). There a choice is open already below ``CHECKED_BRANCH_BELOW``.
        is_refuted: Whether a text (its tokens so far) is surely wrong: a step ends with it.
        record: Makes the tokens so far of those before a row, or a copy of such: a sequence that grows by ``append``.
            The functions above are asked about it, and may keep in it what they know already.
    """

    is_boundary: Callable[[int], bool]
    is_finished: Callable[[Sequence[int]], bool]
    max_step_tokens: int
    rollout: bool
    branch_below: float | None = None
    greedy: bool = False
    is_checked: Callable[[Sequence[int]], bool] | None = None
    is_refuted: Callable[[Sequence[int]], bool] | None = None
    record: Callable[[Sequence[int]], Any] = list


@dataclass(frozen=True, slots=True)
class Lost:
    """Keys and values of a node that were evicted and are to be computed again.

    Attributes:
        key: The node's key in the store.
        tokens: Its tokens.
    """

    key: Hashable
    tokens: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Row:
    """One text to decode.

    Attributes:
        path: Segments of everything before the first token, as far as they are kept.
        first_token: Forced.
        uniforms: One number in [0, 1) a further token; their count limits the text to 1 + that many tokens.
        tree: Index of its problem.
        before: Tokens of the text that stand before ``first_token``; ``is_finished`` sees them.
        lost: Nodes between ``path`` and the first token whose keys and values must be computed again.
        tokens: Filled in: the tokens decoded.
        record: Filled in: the text so far, ``before`` and ``tokens``, as ``Rules.record`` makes it.
        step_record: Filled in: the same, up to the end of the step.
        codes: Filled in: the code drawn for each token after the first; empty without latent actions.
        ended: Filled in: the text is finished (end token or complete answer), rather than cut off.
        step_tokens: Filled in: how many of ``tokens`` belong to the step.
        step_ended: Filled in: the step ended the text.
        passes: Filled in: forward passes that its own tokens took.
        broken: Filled in: the model gave NaN or infinity; the row was stopped.
        segment: Filled in: keys and values of the step's tokens; None when nothing can follow the step.
        features: Filled in: features of one row at the end of the step; None when nothing can follow it.
        last: Filled in: of a text that ended: features before its last token; None if that was its first.
        recovered: Filled in: the lost nodes' keys and values.
        states: Filled in, where a list is given: the base's hidden state ``[D]`` before each token after the first.
        kept: Filled in, where a list is given and the actor notes it: the codes (or tokens) among which that of each
            token after the first was drawn.
    """

    path: Sequence[Segment]
    first_token: int
    uniforms: np.ndarray
    tree: int = 0
    before: Sequence[int] = ()
    lost: Sequence[Lost] = ()
    tokens: list[int] = field(default_factory=list)
    record: Any = None
    step_record: Any = None
    codes: list[int] = field(default_factory=list)
    ended: bool = False
    step_tokens: int = 0
    step_ended: bool = False
    passes: int = 0
    broken: bool = False
    segment: Segment | None = None
    features: Features | None = None
    last: Features | None = None
    recovered: list[tuple[Hashable, Segment]] = field(default_factory=list)
    states: list[Tensor] | None = None
    kept: list[Tensor] | None = None

    @property
    def full(self) -> bool:
        """No token may follow."""
        return len(self.tokens) > len(self.uniforms)

    def append(self, token: int, rules: Rules) -> None:
        """Take a token and note what it ends."""
        if self.record is None:
            self.record = rules.record(self.before)
        self.tokens.append(token)
        self.record.append(token)
        self.ended = rules.is_finished(self.record)
        over = self.ended or self.full or len(self.tokens) >= rules.max_step_tokens
        over = over or (rules.branch_below is None and rules.is_boundary(token))
        over = over or bool(rules.is_refuted and not self.step_tokens and rules.is_refuted(self.record))
        if over and not self.step_tokens:
            self.end_step(rules)
            self.step_ended = self.ended

    def wants_feeding(self, rules: Rules) -> bool:
        """The last token must go through the model: for the token after it, or for the new node's features."""
        if self.ended or self.full or self.broken:
            return False
        return rules.rollout or not self.step_tokens or self.step_tokens == len(self.tokens)

    def end_step(self, rules: Rules) -> None:
        """The step ends with the tokens so far."""
        self.step_tokens = len(self.tokens)
        self.step_record = rules.record(self.record)

    def goes_on(self, rules: Rules) -> bool:
        """Another token is wanted."""
        return not self.broken and (rules.rollout or not self.step_tokens)

    def restart(self) -> None:
        """Forget what was decoded."""
        self.tokens, self.codes, self.recovered = [], [], []
        self.record = self.step_record = None
        self.ended = self.step_ended = self.broken = False
        self.step_tokens, self.passes, self.segment, self.features, self.last = 0, 0, None, None, None
        self.states = None if self.states is None else []
        self.kept = None if self.kept is None else []
