r"""Greedy texts of the engine against transformers' ``generate(do_sample=False)``: same model, same prompts.

    python -m colasearch.benchmarks.measurements.transformers_greedy MODEL --data FILE [--limit N] [--max-tokens T]
        [--dtype float32]

MODEL is a folder or a known name; FILE a jsonl file of problems with answers. The reference is loaded by transformers
itself, gets the prompt from the tokenizer's own chat template, one problem at a time, without a repetition penalty. The
engine draws what ``bench NAME --arms greedy --actions sampled`` draws, all problems in one batch. It ends a text as
soon as its ``\boxed{}`` is closed, so texts are equal where the engine's tokens are those that transformers' text
begins with. Prints a line a problem, then equal texts and both accuracies.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colasearch.model.base import DTYPES, BaseModel
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import LabelledProblem, Problem
from colasearch.tasks import get_task, prompt_tokens, text_verifier


@dataclass(frozen=True, slots=True)
class Greedy:
    """A greedy text.

    Attributes:
        tokens: Generated ones, the end token included.
        text: Without special tokens.
        cut: It reached the limit.
    """

    tokens: tuple[int, ...]
    text: str
    cut: bool


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """The place of the first of our tokens that is not theirs; None where our text is what theirs begins with."""
    for place, token in enumerate(ours):
        if place >= len(theirs) or theirs[place] != token:
            return place
    return None


def prompt_by_transformers(tokenizer: Any, problem: Problem) -> list[int]:
    """The prompt as the tokenizer's template lays it out, without our code; our plain layout where it has none."""
    if not getattr(tokenizer, "chat_template", None):
        return prompt_tokens(tokenizer, problem)
    messages = get_task(problem.task).messages(problem)
    laid_out = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
    return [int(token) for token in laid_out["input_ids"]]


def by_transformers(model: Any, tokenizer: Any, problems: Sequence[Problem], max_tokens: int) -> list[Greedy]:
    """``generate(do_sample=False)`` of each problem, one at a time."""
    import torch

    found = []
    for problem in problems:
        prompt = torch.tensor([prompt_by_transformers(tokenizer, problem)], device=model.device)
        # Penalties of generation_config.json would make it another decoding than the greedy one.
        out = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            repetition_penalty=1.0,
            max_new_tokens=max_tokens,
            pad_token_id=0,
        )
        tokens = tuple(int(token) for token in out[0, prompt.shape[1] :])
        ends = model.generation_config.eos_token_id
        ended = tokens[-1] in (ends if isinstance(ends, list) else [ends])
        found.append(Greedy(tokens, str(tokenizer.decode(tokens, skip_special_tokens=True)), not ended))
    return found


def by_engine(lm: LatentLM, problems: Sequence[Problem], max_tokens: int) -> list[Greedy]:
    """The greedy arm of ``bench --actions sampled``."""
    from colasearch.benchmarks.harness.arms import ArmSettings
    from colasearch.benchmarks.harness.drawing import Job, sample
    from colasearch.engine.settings import WorldConfig

    settings = ArmSettings(actions="sampled", world=WorldConfig(max_tokens=max_tokens))
    found = []
    for one in sample(lm, [Job(problem, texts=1) for problem in problems], ("greedy",), settings):
        result = one["greedy"]
        if result.error is not None:
            raise result.error
        assert result.trace is not None
        node = result.trace.nodes[1]
        found.append(Greedy(tuple(node.tokens), node.text, bool(result.cut)))
    return found


def read(path: Path, limit: int | None) -> list[LabelledProblem]:
    """The first problems of a jsonl file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:limit]]
    return [LabelledProblem(Problem.from_text(row["problem"]), row["answer"]) for row in rows]


def main() -> None:
    """Run both and compare."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or known name")
    parser.add_argument("--data", type=Path, required=True, help="jsonl file with problem and answer")
    parser.add_argument("--limit", type=int, help="only so many problems")
    parser.add_argument("--max-tokens", type=int, default=1024, help="longest text")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    given = parser.parse_args()
    labelled = read(given.data, given.limit)
    problems = [one.problem for one in labelled]
    with torch.inference_mode():
        begun = time.monotonic()
        reference = BaseModel.load(given.model, "cpu", given.dtype)
        theirs = by_transformers(reference.model, reference.tokenizer, problems, given.max_tokens)
        del reference  # two copies of the weights need not fit
        between = time.monotonic()
        print(f"transformers: {sum(len(one.tokens) for one in theirs)} tokens, {between - begun:.0f} s", flush=True)
        lm = LatentLM(given.model, BaseModel.load(given.model, "cpu", given.dtype), None)
        ours = by_engine(lm, problems, given.max_tokens)
    print(f"engine: {sum(len(one.tokens) for one in ours)} tokens, {time.monotonic() - between:.0f} s")
    compare(labelled, ours, theirs)


def compare(labelled: Sequence[LabelledProblem], ours: Sequence[Greedy], theirs: Sequence[Greedy]) -> None:
    """Print what is equal and what is right. A text that was cut has no answer, on either side."""
    judge: Any = text_verifier(labelled[0].problem.task)
    equal = 0
    right = [0, 0]
    for one, mine, other in zip(labelled, ours, theirs, strict=True):
        differs = first_difference(mine.tokens, other.tokens)
        equal += differs is None
        verdicts = [not text.cut and bool(judge.score(one, text.text).correct) for text in (mine, other)]
        right = [count + verdict for count, verdict in zip(right, verdicts, strict=True)]
        where = "equal" if differs is None else f"differ at token {differs}"
        cut = ", cut" if mine.cut else ""
        print(f"{one.problem.id}: {where}; {len(mine.tokens)} and {len(other.tokens)} tokens{cut}; right: {verdicts}")
    total = len(labelled)
    cuts = [sum(text.cut for text in texts) for texts in (ours, theirs)]
    print(f"equal {equal}/{total}; right: engine {right[0]}/{total}, transformers {right[1]}/{total}; cut: {cuts}")


if __name__ == "__main__":
    main()
