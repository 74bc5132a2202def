"""``--workers`` and ``--ray-address``: a pool of Ray actors around a command, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colasearch.cli.settings import Machine
    from colasearch.cluster.pool import Pool
    from colasearch.cluster.progress import PoolStatus
    from colasearch.model.latent_lm import LatentLM

_kept: _Kept | None = None
"""In a process that does several commands: their pool."""


@contextmanager
def with_workers(
    machine: Machine,
    load: Callable[[str, str], LatentLM],
    *,
    most: int | None = None,
    say: Callable[[str], None],
    on_status: Callable[[PoolStatus], None],
) -> Iterator[tuple[LatentLM, Pool | None]]:
    """The model, and the pool that has it; no pool, and no Ray, where neither flag is given.

    Args:
        machine: Where work is done.
        load: Loads the model, given device and element type.
        most: Problems there are; more workers would have nothing to do.
        say: Told when a worker is replaced.
        on_status: Told about once a second how far the pool is.

    Raises:
        PrerequisiteError: No Ray, no cluster, or no worker that starts.
    """
    if machine.workers is None and machine.ray_address is None:
        yield load(machine.device, machine.dtype), None
    elif _kept is not None:
        with _kept.use(machine, load, say, on_status) as both:
            yield both
    else:
        with ExitStack() as stack:
            yield _start(stack, machine, load, most, say, on_status)


def _start(
    stack: ExitStack,
    machine: Machine,
    load: Callable[[str, str], LatentLM],
    most: int | None,
    say: Callable[[str], None],
    on_status: Callable[[PoolStatus], None],
) -> tuple[LatentLM, Pool]:
    """A pool that ends with ``stack``."""
    from colasearch.cluster.connect import connect, lay_out, leave
    from colasearch.cluster.pool import Pool

    workers, address = machine.workers, machine.ray_address
    if workers is not None and most is not None:
        workers = min(workers, max(1, most))
    where = "this machine" if address is None else f"the Ray cluster at {address}"
    say(f"starting workers on {where}")
    if connect(address, workers):
        stack.callback(leave)
    layout = lay_out(workers, machine.threads, machine.device, address is None)
    if most is not None and layout.workers > most:
        layout = lay_out(max(1, most), machine.threads, machine.device, address is None)
    # The driver keeps the model on its CPU, whatever the workers run on; its element type is theirs.
    lm = load("cpu", _dtype(machine, layout.device))
    pool = Pool(lm, layout=layout, slots=machine.slots, on_status=on_status, on_event=say)
    return lm, stack.enter_context(pool)


def _dtype(machine: Machine, device: str) -> str:
    return "bfloat16" if device != "cpu" and machine.dtype == "auto" else machine.dtype


def _same_base(one: LatentLM, other: LatentLM) -> bool:
    ours, theirs = one.base.identity, other.base.identity
    known = bool(ours.weights_sha256) and ours.weights_sha256 == theirs.weights_sha256
    return known and one.base.dtype == other.base.dtype


class _Kept:
    """A pool that goes on from one command to the next, with the latent modules of each."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._machine: Machine | None = None
        self._pool: Pool | None = None

    @contextmanager
    def use(
        self,
        machine: Machine,
        load: Callable[[str, str], LatentLM],
        say: Callable[[str], None],
        on_status: Callable[[PoolStatus], None],
    ) -> Iterator[tuple[LatentLM, Pool]]:
        """The model and the pool; ends the pool where it was left with work in it."""
        lm, pool = None, self._pool
        if pool is not None and pool.lm is not None and machine == self._machine:
            lm = load("cpu", _dtype(machine, pool.layout.device))
            if lm.latents is not None and _same_base(lm, pool.lm):
                say("the workers go on with new latent modules")
                pool.renew(lm, on_status, say)
            else:
                lm = None
        if lm is None or pool is None:
            self.close()
            # However few problems this command has, later ones may have more.
            lm, pool = _start(self._stack, machine, load, None, say, on_status)
            self._machine, self._pool = machine, pool
        try:
            yield lm, pool
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the pool."""
        self._pool = None
        self._stack.close()


@contextmanager
def keep_workers() -> Iterator[None]:
    """Within, commands of this process share their workers: the next one's latent modules are broadcast to them."""
    global _kept
    assert _kept is None, "workers are kept already"
    _kept = _Kept()
    try:
        yield
    finally:
        kept, _kept = _kept, None
        kept.close()
