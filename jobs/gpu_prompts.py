"""What ``gpu_adapt.py`` takes along: prompts as token ids, gold answers, and what the tests are, for grading at home.

    python jobs/gpu_prompts.py --tokenizer BASE_FOLDER --train gsm8k_train.jsonl --train stories.jsonl \
        --written gsm8k_train.jsonl --test gsm8k=gsm8k_test.jsonl:200 --test svamp=svamp.jsonl:200 --output prompts

Writes ``OUTPUT/prompts.npz``, which goes along, and ``OUTPUT/tests.json``, which stays for ``gpu_bring_home.py``. Of a
test set with a number that many rows are taken, in the order of their wording's hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colasearch.model.ends import encode
from colasearch.problem import Problem
from colasearch.rows import gold_of, read_rows, text_of
from colasearch.tasks import prompt_tokens
from colasearch.training.data.documents import solution_text


def ragged(name: str, lists: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Lists of tokens as two arrays."""
    flat = np.array([token for one in lists for token in one], np.uint32)
    return {f"{name}_tokens": flat, f"{name}_ends": np.cumsum([len(one) for one in lists])}


def main() -> None:
    """Parse, tokenise, write."""
    from transformers import AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="the base's folder")
    parser.add_argument("--train", type=Path, action="append", required=True, help="problems with answers")
    parser.add_argument("--written", type=Path, action="append", required=True, help="problems with worked solutions")
    parser.add_argument("--test", action="append", required=True, metavar="NAME=FILE[:COUNT]")
    parser.add_argument("--end", type=int, action="append", help="tokens that end a text, the usual one first [eos]")
    parser.add_argument("--longest", type=int, default=240, help="longest prompt to train on, in tokens")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(str(args.tokenizer))
    ends = list(dict.fromkeys(args.end or [tokenizer.eos_token_id]))

    def prompt(text: str) -> list[int]:
        return prompt_tokens(tokenizer, Problem.from_text(text))

    train = [(prompt(text_of(row)), gold_of(row)) for path in args.train for row in read_rows(path)]
    train = [(tokens, gold) for tokens, gold in train if len(tokens) <= args.longest]
    random.Random(0).shuffle(train)
    written = []
    for path in args.written:
        for row in read_rows(path):
            tokens, solution = prompt(text_of(row)), solution_text(row.fields)
            if solution and len(tokens) <= args.longest:
                written.append((tokens, [*tokens, *encode(tokenizer, solution), ends[0]]))
    tests, meta = test_rows(args.test, prompt)
    args.output.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.output / "prompts.npz",
        **ragged("train", [tokens for tokens, _ in train]),
        **ragged("written", [tokens for _, tokens in written]),
        written_prompt=np.array([len(tokens) for tokens, _ in written]),
        **ragged("test", tests),
        ends=np.array(ends),
        gold=np.frombuffer(json.dumps([gold for _, gold in train]).encode(), np.uint8),
    )
    (args.output / "tests.json").write_text(json.dumps(meta))
    print(f"{len(train)} prompts to train on, {len(written)} solutions, {len(tests)} tests; texts end with {ends}")


def test_rows(wanted: Sequence[str], prompt: Any) -> tuple[list[list[int]], list[dict[str, str]]]:
    """Prompts of the tests, and what they are."""
    tests, meta = [], []
    for one in wanted:
        name, _, rest = one.partition("=")
        path, _, count = rest.partition(":")
        rows = sorted(read_rows(Path(path)), key=lambda row: hashlib.sha256(text_of(row).encode()).hexdigest())
        for row in rows[: int(count) if count else None]:
            tests.append(prompt(text_of(row)))
            meta.append({"set": name, "problem": text_of(row), "answer": gold_of(row)})
    return tests, meta


if __name__ == "__main__":
    main()
