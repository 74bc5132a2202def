"""Seconds of a training step of Countdown's small base: width of its MLPs, tokens a step, kind of AdamW.

python benchmarks/measurements/base_step.py --threads 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path


def main() -> None:
    """Print the best of several rounds, in which everything that is compared takes turns."""
    import torch
    from transformers import LlamaForCausalLM

    from colasearch.model.base import BaseModel
    from colasearch.model.config import BaseIdentity
    from colasearch.training.base.from_scratch import BaseLearner, make_tokenizer, new_base
    from colasearch.training.data.corpus import batches, load_corpus
    from colasearch.training.generated.countdown import CountdownConfig, countdown_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    base = new_base(make_tokenizer([]), 0, width=256, layers=4, heads=8, context=256)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text(
            "".join(json.dumps(row) + "\n" for row in countdown_rows(2000, 0, "train", CountdownConfig(skill=0.2)))
        )
        documents = load_corpus([rows], base.tokenizer, base.end_id).documents

    steps: dict[str, Callable[[], object]] = {}
    for ffn in (680, 682):
        config = base.model.config.__class__(**{**base.model.config.to_dict(), "intermediate_size": ffn})
        learner = BaseLearner(BaseModel(LlamaForCausalLM(config), base.tokenizer, BaseIdentity("new")), documents)
        for tokens in (1024, 4096):
            batch = batches(documents, range(len(documents)), tokens, 0, 0)[0]
            steps[f"passes, MLPs of {ffn}, {tokens} tokens"] = partial(learner.accumulate, batch, 0, 1)
        if ffn == 680:
            for fused in (False, True):
                optimizer = torch.optim.AdamW(learner.parameters(), lr=0.0, fused=fused)
                steps[f"AdamW, {'fused' if fused else 'as it comes'}"] = optimizer.step
    best = dict.fromkeys(steps, float("inf"))
    for number in range(given.rounds + 1):  # the first only warms up, and gives AdamW gradients
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if number:
                best[name] = min(best[name], time.perf_counter() - begun)
    for name, seconds in best.items():
        print(f"{name}: {seconds:.4f} s")


if __name__ == "__main__":
    main()
