"""Seconds of one decoding step of the base, 16 rows after 100 tokens.

OMP_WAIT_POLICY=PASSIVE python benchmarks/measurements/decode_step.py --threads 2
"""

from __future__ import annotations

import argparse
import time


def main() -> None:
    """Run 12 steps and print their mean."""
    import torch

    from colasearch.benchmarks.measurements.model_speed import random_prompts
    from colasearch.engine.forward.actor import Actor
    from colasearch.engine.settings import Sampling
    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import LatentLM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lm = LatentLM("base", BaseModel.load("smollm2-135m", dtype=given.dtype), None)
    actor = Actor(lm, Sampling(), latent=False)
    batch = actor.new_batch()
    for segment in actor.prefill(random_prompts(lm, 16, 100))[1]:
        batch.enter(None, [segment])
    begun = time.perf_counter()
    for _ in range(12):
        batch.make_room()
        actor.feed([1] * 16, batch)
    print(f"{(time.perf_counter() - begun) / 12:.3f} s a step")


if __name__ == "__main__":
    main()
