"""Kill a node of a two-node Ray cluster in the middle of a search, several times: is anything lost or different?

    python -m colasearch.benchmarks.kill_nodes --problems 200 --kills 10 --sims 128

A node is killed only while both have a worker that is ready, so each kill ends one.

The nodes are processes of this machine (``ray.cluster_utils.Cluster``); ``two_hosts.sh`` does the same between two
network namespaces.
"""

from __future__ import annotations

import json
import random
from typing import Any

import click

from colasearch.benchmarks.fault_runs import campaign_options, compare, problems, search, settings, small_model
from colasearch.cluster import Pool
from colasearch.cluster.connect import import_ray


@click.command(help=__doc__)
@click.option("--kills", default=5)
@campaign_options(problems=100)
def command(kills: int, count: int, slots: int, sims: int, tokens: int, seed: int) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    import_ray()
    from ray.cluster_utils import Cluster

    lm, items, how = small_model(), problems(count), settings(sims, tokens)
    # The head has no CPUs, so no worker: it is the driver's node, whose end is another test (kill_driver.py).
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes: list[Any] = [cluster.add_node(num_cpus=1) for _ in range(2)]
    drawn = random.Random(seed)
    due = sorted(drawn.sample(range(4, count - 8), kills))
    killed: list[int] = []

    def kill(done: int) -> None:
        # After a kill the next waits for the new node's worker.
        if due and due[0] <= done and pool.crew.size == 2:
            killed.append(due.pop(0))
            place = drawn.randrange(2)
            cluster.remove_node(nodes[place], allow_graceful=False)
            nodes[place] = cluster.add_node(num_cpus=1)

    try:
        with Pool(lm, workers=2, slots=slots, threads=1, address=cluster.address) as pool:
            clean = search(pool, items, how, lambda done: None)
        with Pool(lm, workers=2, slots=slots, threads=1, address=cluster.address, retries=10) as pool:
            disturbed = search(pool, items, how, kill)
            replaced = pool.status().replaced
    finally:
        cluster.shutdown()
    result = {"nodes_killed": len(killed), "replaced": replaced, **compare(clean, disturbed)}
    click.echo(json.dumps(result))
    raise SystemExit(bool(result["lost"] or result["duplicated"] or result["different"]))


if __name__ == "__main__":
    command()
