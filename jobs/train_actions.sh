#!/usr/bin/env bash
# Stage 1 in several processes, one a GPU, with torchrun. After a crash: the same line again.
#
#   jobs/train_actions.sh OUTPUT OPTIONS...
#   jobs/train_actions.sh runs/actions --model Qwen/Qwen2.5-7B-Instruct --data texts.parquet --hidden fresh
#
#   PROCESSES   on each machine [gpu: as many as it has GPUs]
#   NODES       machines [1]; start the same line on each of them
#   HEAD        HOST:PORT of one of them, where they meet [localhost:29400]
#   STAGE       actions, or policy for stage 2 [actions]
set -euo pipefail

if (($# < 3)); then
    echo "usage: $0 OUTPUT --model BASE --data TEXTS [OPTIONS...]" >&2
    exit 2
fi
output=$1
shift

# All machines must see the run folder and COLASEARCH_CACHE: the first process writes them, the others read.
#
# --resume always: it begins a run where there is none and goes on where there is one. torchrun starts all processes again
# when one is lost, so a retry goes on from the last checkpoint (--save-every steps).
#
# The number of processes is no part of the run: each batch is cut into the same passes (--micro-tokens) and these are
# dealt out, so a run may be gone on with on another number of GPUs. --batch-tokens over --micro-tokens is how many can
# have work.
exec torchrun \
    --nnodes "${NODES:-1}" --nproc-per-node "${PROCESSES:-gpu}" --max-restarts 3 \
    --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost:29400}" --rdzv-id "$(basename "$output")" \
    -m colasearch train "${STAGE:-actions}" "$@" --output "$output" --resume
