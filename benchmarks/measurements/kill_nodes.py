"""Kill a node of a two-node Ray cluster in the middle of a search, several times: is anything lost or different?

    python -m colasearch.benchmarks.measurements.kill_nodes --problems 200 --kills 10 --sims 128

A node is killed only while both have a worker that is ready, so each kill ends one: ``replaced`` counts as many.

The nodes are processes of this machine (``ray.cluster_utils.Cluster``); ``two_hosts.sh`` does the same between two
network namespaces.
"""

from __future__ import annotations

import random
from typing import Any

import click

from colasearch.benchmarks.measurements.fault_runs import RETRIES, campaign_options, compare, subject, tell, work
from colasearch.cluster import Pool
from colasearch.cluster.connect import import_ray


@click.command(help=__doc__)
@campaign_options(problems=200, kills=10)
def command(kills: int, slots: int, count: int, seed: int, **size: Any) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    import_ray()
    from ray.cluster_utils import Cluster

    lm, recipe, items = subject(count, **size)
    # The head has no CPUs, so no worker: it is the driver's node, whose end is another test (kill_driver.py).
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes: list[Any] = [cluster.add_node(num_cpus=1) for _ in range(2)]
    drawn = random.Random(seed)
    # After a kill the next waits until the new node's worker is ready; the last ones must not wait for the end of work.
    due = sorted(drawn.choices(range(1, max(2, count // 2)), k=kills))
    killed: list[int] = []

    def kill(done: int) -> None:
        # Until the pool has heard of the last kill, it counts the worker that is gone as ready.
        heard = pool.status().replaced == len(killed)
        if due and due[0] <= done and heard and pool.crew.size == 2:
            due.pop(0)
            place = drawn.randrange(2)
            killed.append(place)
            cluster.remove_node(nodes[place], allow_graceful=False)
            nodes[place] = cluster.add_node(num_cpus=1)

    try:
        with Pool(lm, workers=2, slots=slots, threads=1, address=cluster.address) as pool:
            clean = work(pool, recipe, items)
        with Pool(lm, workers=2, slots=slots, threads=1, address=cluster.address, retries=RETRIES) as pool:
            disturbed = work(pool, recipe, items, kill)
            replaced = pool.status().replaced
    finally:
        cluster.shutdown()
    tell({"nodes_killed": len(killed), "replaced": replaced, **compare(clean, disturbed)}, replaced, kills)


if __name__ == "__main__":
    command()
