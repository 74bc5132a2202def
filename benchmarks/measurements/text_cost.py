"""Time of the checks on a text, token by token, as the text grows: looking at what is new against reading it whole.

python benchmarks/measurements/text_cost.py --model smollm2-135m
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from colasearch.benchmarks.measurements.random_model import byte_tokenizer
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.settings import Choosing
from colasearch.engine.texts.choosing import RECENT, Checks
from colasearch.engine.texts.ends import TextEnds
from colasearch.model.ends import first_tokens
from colasearch.tasks import behind_thought, get_task
from colasearch.verifiers import false_equation, in_result

LINES = (
    "First she has 12 + 7 = 19 apples, and gives 4 of them away: 19 - 4 = 15.\n",
    "Then \\frac{30}{2} = 15 of the boxes are left, so half of them is 15 / 2 = 7.5.\n",
    "So it is 3 x 15 = 45 dollars and that makes $45 - $5 = $40 in the end.\n",
)


def tokenizer_of(model: str) -> Any:
    """The tokenizer of a model in the cache, or bytes."""
    if model == "bytes":
        return byte_tokenizer()
    from colasearch.model.latent_lm import LatentLM

    return LatentLM.from_pretrained(model).base.tokenizer


def of_new(ends: TextEnds) -> Rules:
    """The rules of a search of word problems."""
    rules = Rules(ends.is_boundary, ends.is_finished, 1 << 20, False, 0.9, record=ends.writing)
    return Checks(ends, Choosing()).rules(rules, get_task("math"))


def of_whole(ends: TextEnds) -> Rules:
    """The same, each reading the whole text."""

    def refuted(tokens: Sequence[int]) -> bool:
        return false_equation(behind_thought(ends.said(tokens)), complete=False) is not None

    def checked(tokens: Sequence[int]) -> bool:
        return in_result(ends.decode(tokens[-RECENT:])) and bool(ends.said(tokens))

    return Rules(
        ends.is_boundary, ends.is_finished, 1 << 20, False, 0.9, greedy=True, is_checked=checked, is_refuted=refuted
    )


def milliseconds(rules: Rules, tokens: Sequence[int], at: Sequence[int], around: int = 40) -> list[float]:
    """Mean milliseconds of a token's checks, over ``around`` tokens from each length of ``at`` on."""
    import numpy as np

    found = []
    row = Row([], tokens[0], np.zeros(len(tokens) + around))
    begun = 0.0
    for count, token in enumerate(tokens[: max(at) + around]):
        if count in at:
            begun = time.perf_counter()
        row.append(token, rules)
        assert not row.step_tokens, "the text is to be one open step"
        if rules.is_checked is not None:
            rules.is_checked(row.record)
        if count + 1 - around in at:
            found.append(1000 * (time.perf_counter() - begun) / around)
    return found


def main() -> None:
    """Print a table of both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bytes", help="whose tokenizer; bytes needs none")
    parser.add_argument("--repeats", type=int, default=5, help="the least of so many runs counts")
    args = parser.parse_args()
    tokenizer = tokenizer_of(args.model)
    at = (100, 250, 500, 1000, 2000)
    text = "".join(LINES) * 100
    tokens = [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    ends = TextEnds(tokenizer, frozenset(first_tokens(tokenizer)))
    ways: dict[str, Callable[[TextEnds], Rules]] = {"whole text": of_whole, "what is new": of_new}
    table = {
        name: [
            min(some) for some in zip(*(milliseconds(make(ends), tokens, at) for _ in range(args.repeats)), strict=True)
        ]
        for name, make in ways.items()
    }
    print("| tokens | " + " | ".join(f"{name}, ms a token" for name in table) + " |")
    print("| ---: |" + " ---: |" * len(table))
    for i, length in enumerate(at):
        print(f"| {length:,} | " + " | ".join(f"{column[i]:.3f}" for column in table.values()) + " |")


if __name__ == "__main__":
    main()
