"""``--workers`` and ``--ray-address``: a pool of Ray actors around a command, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colasearch.cluster.pool import Pool
    from colasearch.cluster.progress import PoolStatus
    from colasearch.model.latent_lm import LatentLM


@contextmanager
def with_workers(
    given: dict[str, Any],
    load: Callable[[str, str], LatentLM],
    *,
    most: int | None = None,
    say: Callable[[str], None],
    on_status: Callable[[PoolStatus], None],
) -> Iterator[tuple[LatentLM, Pool | None]]:
    """The model, and the pool that has it; no pool, and no Ray, where neither flag is given.

    Args:
        given: ``workers``, ``ray_address``, ``threads``, ``device``, ``dtype`` and ``batch_size``.
        load: Loads the model, given device and element type.
        most: Problems there are; more workers would have nothing to do.
        say: Told when a worker is replaced.
        on_status: Told about once a second how far the pool is.

    Raises:
        PrerequisiteError: No Ray, no cluster, or no worker that starts.
    """
    workers, address = given["workers"], given["ray_address"]
    if workers is None and address is None:
        yield load(given["device"], given["dtype"]), None
        return
    from colasearch.cluster.connect import connect, import_ray, lay_out
    from colasearch.cluster.pool import Pool

    if workers is not None and most is not None:
        workers = min(workers, max(1, most))
    where = "this machine" if address is None else f"the Ray cluster at {address}"
    say(f"starting workers on {where}")
    ours = connect(address, workers)
    try:
        layout = lay_out(workers, given["threads"], given["device"], address is None)
        if most is not None and layout.workers > most:
            layout = lay_out(max(1, most), given["threads"], given["device"], address is None)
        # The driver keeps the model on its CPU, whatever the workers run on; its element type is theirs.
        gpu = layout.device != "cpu"
        lm = load("cpu", "bfloat16" if gpu and given["dtype"] == "auto" else given["dtype"])
        with Pool(lm, layout=layout, slots=given["batch_size"], on_status=on_status, on_event=say) as pool:
            yield lm, pool
    finally:
        if ours:
            import_ray().shutdown()
