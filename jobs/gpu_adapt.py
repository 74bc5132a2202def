"""One GPU session that gives a Qwen2 base latent actions learned on its own texts; see docs/gpu-queue.md.

Stages, each with its own share of the time: weights from a GGUF file; texts that the base itself writes on training
problems; stage 1 and stage 2 on them, and, shorter, on written solutions, to compare; a value head from the texts'
rewards; texts for the benchmarks (greedy and sampled, of the base and of the codes), which are graded elsewhere.

Prompts come as token ids (``prompts.npz``), so neither tokenizer nor verifier is needed here. Everything is written to
the output folder as soon as it is there. ``--tiny`` runs it all on a random model on a CPU, in a minute. Its parts are
in the folder ``gpu_session`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from gpu_session.say import say
from gpu_session.session import session
from gpu_session.weights import from_folder, from_gguf


def main() -> None:
    """Parse, load, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--decode", type=Path, required=True, help="tokenizer.json, to read answers for the value head")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True, help="JSON: seconds and sizes of the stages")
    parser.add_argument("--tiny", type=Path, help="a small base folder, in place of --gguf, on the CPU")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    plan = json.loads(args.plan.read_text())
    if args.tiny:
        base = from_folder(args.tiny)
    else:
        torch.backends.cuda.matmul.allow_tf32 = True
        base = from_gguf(args.gguf, torch.device("cuda"), torch.bfloat16)
    say(f"weights: {sum(w.numel() for w in base.w.values()) / 1e6:.0f} M numbers on {base.device}")
    session(args, base, plan)


if __name__ == "__main__":
    main()
