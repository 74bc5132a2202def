"""An episode as tokens: opening, action, observation, action, ...

Only actions, with the token that ends each, are the model's own: they carry codes and losses. What stands around them
is put in as it is. With a chat template the model is the assistant and the environment the user; without one, actions
are lines behind ``>``.

The text is made of *chunks*: the opening, and for each turn an action with all that follows up to the next one. A
state's numbers are always computed chunk by chunk, so they depend on the episode alone, not on what was kept of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.ends import chat_text, encode, first_tokens

ACTION_TOKENS = 24
"""Longest action, in tokens, unless the user says otherwise."""
OBSERVATION_SHARE = 3
"""An observation may take one part in so many of the context."""
ASKED, ANSWERED, SEEN = "\ue000", "\ue001", "\ue002"
"""Stand for what is filled into a chat template; no text has them."""
PLAIN_MARK = "\n>"
"""Behind an observation, where there is no chat template."""
PLAIN_LEAD = " "
"""Before an action behind ``>``: most tokenizers have words with a blank before them as tokens."""

Chunk = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One action and what came of it.

    Attributes:
        action: As it was given to the environment.
        observation: What was seen then.
        reward: Of the action.
    """

    action: str
    observation: str
    reward: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the texts of an episode.

    Attributes:
        before, behind: The first request.
        before_next, behind_next: A later observation; ``before_next`` begins behind the token that ends an action.
        lead: Before each action; the model writes it.
        end: Ends an action.
        begin: Tokens before the whole text.
    """

    before: str
    behind: str
    before_next: str
    behind_next: str
    lead: str
    end: Chunk
    begin: Chunk


def frame_of(tokenizer: Any, end_id: int) -> Frame:
    """The frame for a tokenizer: its chat template's, where that lays out several turns; else plain lines."""
    if getattr(tokenizer, "chat_template", None):
        try:
            return _chat_frame(tokenizer, end_id)
        except PrerequisiteError:
            pass  # a template for single questions
    newline = tuple(encode(tokenizer, "\n"))
    return Frame("", PLAIN_MARK, "", PLAIN_MARK, PLAIN_LEAD, newline, tuple(first_tokens(tokenizer)))


def _chat_frame(tokenizer: Any, end_id: int) -> Frame:
    opening = chat_text(tokenizer, [{"role": "user", "content": ASKED}], answer_next=True)
    messages = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": ANSWERED},
        {"role": "user", "content": SEEN},
    ]
    whole = chat_text(tokenizer, messages, answer_next=True)
    before, found, behind = opening.partition(ASKED)
    _, answered, rest = whole.partition(ANSWERED)
    between, seen, behind_next = rest.partition(SEEN)
    if not (found and answered and seen):
        raise PrerequisiteError("the chat template leaves messages out")
    # The end of the turn is a token of its own, which the model writes; the rest there is the template's.
    tokens = encode(tokenizer, between)
    if tokens and tokens[0] == end_id:
        between = between.lstrip().removeprefix(str(tokenizer.decode([end_id])))
    return Frame(before, behind, between, behind_next, "", (end_id,), ())


@dataclass(frozen=True, slots=True)
class Layout:
    """How episodes become tokens.

    Attributes:
        tokenizer: The base's.
        frame: What stands around the texts.
        context: Tokens that the base can read.
        instruction: What the model is told before the first observation.
        action_tokens: Longest action.
    """

    tokenizer: Any
    frame: Frame
    context: int
    instruction: str
    action_tokens: int = ACTION_TOKENS

    @classmethod
    def of(cls, base: BaseModel, instruction: str, action_tokens: int = ACTION_TOKENS) -> Layout:
        """The layout for a base model."""
        frame = frame_of(base.tokenizer, base.end_id)
        return cls(base.tokenizer, frame, base.context_length, instruction, action_tokens)

    @property
    def room(self) -> int:
        """Tokens that an episode may take, so that the next action fits."""
        return self.context - self.action_tokens - 1

    def opening(self, observation: str) -> Chunk:
        """The first chunk."""
        frame = self.frame
        asked = f"{frame.before}{self.instruction}\n\n{self._clipped(observation)}{frame.behind}"
        return (*frame.begin, *encode(self.tokenizer, asked))

    def action(self, text: str) -> Chunk:
        """An action with the token that ends it: what a model that takes it has written."""
        return (*encode(self.tokenizer, self.frame.lead + text), *self.frame.end)

    def asked(self, action: str) -> Chunk:
        """An action and what stands before the observation that follows."""
        return (*self.action(action), *encode(self.tokenizer, self.frame.before_next))

    def seen(self, observation: str) -> Chunk:
        """What stands between the end of an action and the next one."""
        frame = self.frame
        return tuple(encode(self.tokenizer, f"{frame.before_next}{self._clipped(observation)}{frame.behind_next}"))

    def chunks(self, first: str, turns: Sequence[Turn]) -> tuple[Chunk, ...]:
        """The chunks of an episode so far; the oldest turns are left out where all of them do not fit.

        Raises:
            InputError: Not even the opening and the last turn fit.
        """
        opening = self.opening(first)
        later = [(*self.action(turn.action), *self.seen(turn.observation)) for turn in turns]
        left = self.room - len(opening)
        kept: list[Chunk] = []
        for chunk in reversed(later):
            left -= len(chunk)
            if left < 0:
                break
            kept.append(chunk)
        if left < 0 and not kept:
            wanted = len(opening) + (len(later[-1]) if later else 0)
            raise InputError(
                f"the opening and the last turn of the episode take {wanted} tokens and an action up to "
                f"{self.action_tokens}, but the context holds {self.context}; use a model with a longer context"
            )
        return (opening, *reversed(kept))

    def document(self, first: str, turns: Sequence[Turn]) -> tuple[list[int], list[tuple[int, int]]]:
        """A whole episode to learn from: its tokens, and the spans of them that are actions."""
        tokens = list(self.opening(first))
        spans = []
        for number, turn in enumerate(turns):
            action = self.action(turn.action)
            spans.append((len(tokens), len(tokens) + len(action)))
            tokens += action
            if number + 1 < len(turns):
                tokens += self.seen(turn.observation)
        return tokens, spans

    def _clipped(self, observation: str) -> str:
        """The beginning of an observation that is too long for the context."""
        most = max(1, self.room // OBSERVATION_SHARE)
        if len(observation.encode()) <= most:
            return observation  # no tokenizer makes more tokens than bytes
        tokens = encode(self.tokenizer, observation)
        if len(tokens) <= most:
            return observation
        return str(self.tokenizer.decode(tokens[:most], skip_special_tokens=True)).rstrip("\ufffd") + " ..."


def action_of(text: str) -> str:
    """The action that a model's text is: its first line with anything in it."""
    return next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")
