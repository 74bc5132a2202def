"""Rewards of texts by their boxed answers: enough to learn from, no grade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def reward_texts(
    decode: Path, problems: Sequence[int], texts: Sequence[Sequence[int]], gold: Sequence[str]
) -> tuple[list[float], list[int]]:
    r"""1 where the last ``\boxed{}`` is the gold answer as text or as a number: enough to learn from, no grade."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(decode))
    rewards = []
    for problem, text in zip(problems, tokenizer.decode_batch([list(t) for t in texts]), strict=True):
        rewards.append(float(plain(boxed(text)) == plain(gold[problem])))
    return rewards, list(problems)


def boxed(text: str) -> str:
    r"""What stands in the last complete ``\boxed{...}``."""
    for start in reversed([i for i in range(len(text)) if text.startswith("\\boxed{", i)]):
        depth = 0
        for end in range(start + 6, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                return text[start + 7 : end]
    return ""


def plain(answer: str) -> str:
    """An answer without what does not change it; numbers as numbers."""
    answer = answer.replace("\\dfrac", "\\frac").replace("\\left", "").replace("\\right", "")
    for mark in ("$", "\\$", "\\!", "\\,", " ", "\\%", "%", "^\\circ"):
        answer = answer.replace(mark, "")
    answer = answer.rstrip(".")
    try:
        return f"{float(answer.replace(',', '')):.6g}"
    except ValueError:
        return answer
