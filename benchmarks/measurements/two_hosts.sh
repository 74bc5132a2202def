#!/usr/bin/env bash
# A node's end in a cluster of two hosts: two network namespaces joined by a cable, a Ray node in each. In the middle of a
# search the second host is lost: its cable is cut (it is still there, unheard), and later its processes are killed.
#
#     sudo benchmarks/measurements/two_hosts.sh            # needs root, iproute2 and colasearch's environment
#
# Arguments are those of lose_host.py, which prints what came of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-.venv/bin/python}
ray="$(dirname "$python")/ray"
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
port=6391

clean() {
  for host in colaA colaB; do
    ip netns pids "$host" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$host" 2>/dev/null || true
  done
}
trap clean EXIT
clean
ip netns add colaA
ip netns add colaB
ip link add cableA netns colaA type veth peer name cableB netns colaB
ip -n colaA addr add 10.77.0.1/24 dev cableA
ip -n colaB addr add 10.77.0.2/24 dev cableB
for host in A B; do
  ip -n "cola$host" link set lo up
  ip -n "cola$host" link set "cable$host" up
done

# Folders of their own, as two hosts have: Ray nodes otherwise find each other's sockets in /tmp.
ip netns exec colaA "$ray" start --head --port=$port --node-ip-address=10.77.0.1 --num-cpus=1 \
  --include-dashboard=false --temp-dir=/tmp/colaA >/dev/null 2>&1
ip netns exec colaB "$ray" start --address=10.77.0.1:$port --node-ip-address=10.77.0.2 --num-cpus=1 >/dev/null 2>&1
ip netns exec colaA "$python" -m colasearch.benchmarks.measurements.lose_host --address "10.77.0.1:$port" "$@"
