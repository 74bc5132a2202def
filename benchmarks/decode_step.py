"""Seconds of one decoding step of the base, 16 rows after 100 cached tokens.

OMP_WAIT_POLICY=PASSIVE python benchmarks/decode_step.py --threads 2
"""

from __future__ import annotations

import argparse
import time


def main() -> None:
    """Run 12 steps and print their mean."""
    import torch

    from colasearch.engine.kv_tree import BatchKV, KVShape
    from colasearch.model.base import BaseModel
    from colasearch.model.latent_lm import LatentLM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    base = BaseModel.load("smollm2-135m")
    kv = BatchKV(KVShape.of(LatentLM("base", base, None)), 16, 300, torch.float32, base.device)
    kv.length = 100
    tokens = torch.ones(16, 1, dtype=torch.long)
    with torch.inference_mode():
        begun = time.perf_counter()
        for _ in range(12):
            base.hidden(tokens, kv.mask(1), kv.positions(1), kv.base_cache)
            kv.length += 1
    print(f"{(time.perf_counter() - begun) / 12:.3f} s a step")


if __name__ == "__main__":
    main()
