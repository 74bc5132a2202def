"""Finished texts, as they are voted on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished text found in a tree.

    Attributes:
        order: Place of its row among all rows of the tree, in the order of asking.
        text: Without prompt and special tokens.
        answer: Extracted; None when there is none.
        value: In [0, 1], as given to the searcher.
        draws: How many draws from the policy it stands for, up to a factor: 1 for a text that was drawn; for one that a
            tree reached by its edges, the product of their probabilities, since a tree reaches each text once. 1 where
            a verifier checks answers: then it does not matter how probable a text is.
        weight: What it counts in a weighted vote.
    """

    order: int
    text: str
    answer: str | None
    value: float
    draws: float = 1.0
    weight: float = 1.0
