#!/usr/bin/env bash
# Submit a colasearch run to a Ray cluster that is up. After a crash: the same line again.
#
#   jobs/submit.sh RUN COMMAND...
#   jobs/submit.sh countdown-64 bench countdown --model countdown-tiny --sims 64
#   jobs/submit.sh it-1 iterate --model smollm2-135m --data /shared/data/train.jsonl
#
#   RAY_API_SERVER_ADDRESS   the head's dashboard [http://127.0.0.1:8265]
#   RUNS                     folder for run folders, as the head sees it [/shared/colasearch/runs]
set -euo pipefail

if (($# < 2)); then
    echo "usage: $0 RUN COMMAND..., for example: $0 countdown-64 bench countdown --sims 64" >&2
    exit 2
fi
run=$1
shift

# --working-dir takes the files next to which the command is to run (problem files, configurations), so go to the
# checkout's root, from where jobs/ and examples/ are found.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The run folder is written by the driver, which `ray job submit` starts on the head: not on this machine, and not in the
# uploaded copy of the working folder, which goes when the job ends.
#
# --resume always: it begins a run where there is none and goes on where there is one, so sending a job twice is harmless.
# Without it an existing folder is an error (exit 2), which is what a person at a terminal wants, and a scheduler does not.
#
# The submission id has the time in it, since Ray takes no id twice. Two jobs for one run folder do not mix: the second
# one finds the folder locked and ends with exit code 3.
exec ray job submit \
    --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" \
    --submission-id "$run-$(date -u +%Y%m%d-%H%M%S)" \
    --working-dir . \
    --runtime-env jobs/runtime_env.yaml \
    -- colasearch "$@" --ray-address auto --output "${RUNS:-/shared/colasearch/runs}/$run" --resume
