#!/usr/bin/env bash
# Speed of the engine on this machine's GPU, next to transformers and to what its memory and arithmetic allow.
#
#   jobs/gpu_check.sh OUTPUT [FLAGS OF gpu_check.py]
#
# Needs torch, transformers and numpy, no network, no weights and no Ray. Under 8 minutes on one H100 (--seconds). Writes
# OUTPUT/gpu_check.json part by part, and OUTPUT/profile-*.txt. With --tiny: a minute on a CPU, to try the script itself.
set -euo pipefail

if (($# < 1)); then
    echo "usage: $0 OUTPUT [FLAGS], for example: $0 runs/gpu-check" >&2
    exit 2
fi
output=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

if ! (cd / && "$python" -c "import colasearch" 2>/dev/null); then
    # SITE: a folder that `pip install --target` has filled before, where this machine cannot install.
    site=${SITE:-$root/.gpu/site}
    [[ -d $site/colasearch ]] || "$python" -m pip install -q --no-deps --no-build-isolation --target "$site" "$root"
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
exec "$python" "$root/jobs/gpu_check.py" --output "$output" "$@"
