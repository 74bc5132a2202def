"""Stage 1 in several processes on a Ray cluster, as a Ray Train job; the same line again goes on after a crash.

    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
        python jobs/ray_train_actions.py --workers 8 --gpus \
        actions --model Qwen/Qwen2.5-7B-Instruct --data /shared/texts.parquet --output /shared/runs/actions

Ray Train places the workers, says to each its rank, and starts all again when one is lost. Each starts ``colasearch
train`` as a process of its own, as torchrun would: there it has its own signals and memory, and its exit code says how
it ended. Run folder and COLASEARCH_CACHE must lie where all nodes see them.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, TorchTrainer


def meeting_place() -> str:
    """HOST:PORT of this node that nobody else uses."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{taken.getsockname()[1]}"


def worker(given: dict[str, Any]) -> None:
    """Be one process of the group."""
    context = ray.train.get_context()
    host, port = broadcast_from_rank_zero(meeting_place()).split(":")
    environment = {
        **os.environ,
        "WORLD_SIZE": str(context.get_world_size()),
        "RANK": str(context.get_world_rank()),
        "LOCAL_RANK": str(context.get_local_rank()),  # Ray shows the workers of a node all their GPUs
        "MASTER_ADDR": host,  # not where Ray's own workers have met
        "MASTER_PORT": port,
    }
    subprocess.run(
        [sys.executable, "-m", "colasearch", "train", *given["words"], "--resume"], env=environment, check=True
    )


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, required=True, help="processes")
    parser.add_argument("--gpus", action="store_true", help="one GPU each; else a CPU each")
    parser.add_argument("--storage", help="folder that all nodes see, for Ray Train's own notes [its default]")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="actions or policy, and its options, --output last")
    args = parser.parse_args()
    if not {"--model", "--output"} <= set(args.words):
        parser.error("give the stage and its options, such as: actions --model BASE --data TEXTS --output FOLDER")
    TorchTrainer(
        worker,
        train_loop_config={"words": args.words},
        torch_config=TorchConfig(backend="gloo"),  # of the workers that wait; the processes choose by their device
        scaling_config=ScalingConfig(num_workers=args.workers, use_gpu=args.gpus),
        run_config=RunConfig(storage_path=args.storage, failure_config=FailureConfig(max_failures=3)),
    ).fit()


if __name__ == "__main__":
    main()
