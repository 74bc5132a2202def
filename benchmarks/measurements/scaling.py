"""How a pool scales: for real on this machine, and with simulated workers of fixed latency up to 256 and beyond.

    python -m colasearch.benchmarks.measurements.scaling --real 1,2
    python -m colasearch.benchmarks.measurements.scaling --simulated 1,4,16,64,128,256

A simulated worker is the real ``Worker`` with an engine that sleeps in place of running a model, and hands back a real
search's result. Many of them are threads of a few Ray actors, so that hundreds fit on one machine; the driver, its
ledger, and every call and report through Ray are what they are with real workers. The ideal is what workers would do
if the driver took no time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import click

from colasearch.benchmarks.measurements.fault_runs import problems, settings, small_model, work
from colasearch.cluster import Pool
from colasearch.cluster.connect import Layout, connect, leave
from colasearch.cluster.crew import Crew
from colasearch.cluster.recipes import SearchRecipe
from colasearch.cluster.worker import Worker
from colasearch.engine.scheduler import Searched, search_problems

HOSTS = 4
"""Actors that simulated workers share."""


@dataclass(frozen=True, slots=True)
class SleepRecipe:
    """Units take ``seconds``, all slots in lock-step, in ``steps`` steps; each gives ``result``."""

    seconds: float
    steps: int
    result: Searched
    whole_batches: ClassVar[bool] = False

    def engine(self, model: Any, slots: int, beat: Callable[[], None]) -> SleepEngine:
        """One that sleeps."""
        return SleepEngine(self)

    def suspicious(self, value: Any) -> bool:
        """Never."""
        return False


class SleepEngine:
    """Sleeps where a scheduler would run its model."""

    def __init__(self, recipe: SleepRecipe) -> None:
        self.recipe = recipe
        self.left: dict[int, int] = {}

    def add(self, units: Sequence[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """Begin units; those of a real search do not end together, so these begin at different steps."""
        for number, _ in units:
            self.left[number] = self.recipe.steps + number % 5 - 2
        return []

    def step(self) -> list[tuple[int, Any]]:
        """Sleep; units whose steps are done."""
        time.sleep(self.recipe.seconds / self.recipe.steps)
        done = []
        for number in list(self.left):
            self.left[number] -= 1
            if self.left[number] <= 0:
                del self.left[number]
                done.append((number, self.recipe.result))
        return done

    def progress(self) -> tuple[int, int]:
        """Nothing to tell."""
        return 0, 0


class Host:
    """A Ray actor with a thread for each of many workers."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}

    def call(self, seat: int, slots: int, method: str, *given: Any) -> Any:
        """Call a method of a worker."""
        if seat not in self.workers:
            self.workers[seat] = Worker(slots=slots, threads=1, device="cpu")
        return getattr(self.workers[seat], method)(*given)


class _Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


class _Seat:
    """What the crew takes for an actor: a worker in a host. Calls of one worker stay in order, as the driver wants."""

    def __init__(self, host: Any, number: int, slots: int) -> None:
        # A concurrency group of one thread is what keeps a worker's calls in order.
        def method(name: str) -> _Method:
            return _Method(
                lambda *given: host.call.options(concurrency_group=f"seat{number}").remote(number, slots, name, *given)
            )

        self.ready, self.exchange, self.swap = method("ready"), method("exchange"), method("swap")


class SimulatedCrew(Crew):
    """Workers that are threads of a few actors."""

    def __init__(self, layout: Layout, slots: int) -> None:
        super().__init__(None, layout, slots, 120.0)
        hosts = min(HOSTS, layout.workers)
        each = -(-layout.workers // hosts)
        self._hosts = []
        for host in range(hosts):
            groups = {f"seat{host + hosts * place}": 1 for place in range(each)}
            self._hosts.append(self.ray.remote(concurrency_groups=groups)(Host).options(num_cpus=0).remote())

    def _make(self, number: int) -> Any:
        return _Seat(self._hosts[number % len(self._hosts)], number, self.slots)

    def dismiss(self) -> None:
        """End the hosts."""
        for host in self._hosts:
            self.ray.kill(host, no_restart=True)
        self._members.clear()


class SimulatedPool(Pool):
    """A pool of simulated workers."""

    def _hire(self) -> Crew:
        return SimulatedCrew(self.layout, self.slots)


def simulated(workers: int, slots: int, seconds: float, steps: int, rounds: int, result: Searched) -> dict[str, Any]:
    """Throughput and the driver's time with so many workers, each doing about ``rounds`` units a slot."""
    recipe = SleepRecipe(seconds, steps, result)
    layout = Layout(workers, 1, 0.0, 0.0, "cpu")
    with SimulatedPool(None, layout=layout, slots=slots) as pool:
        for _ in pool.run(recipe, range(workers)):
            pass  # every worker has started
        count = workers * slots * rounds
        begun, cpu = time.monotonic(), time.process_time()
        first = last = begun
        edge = workers * slots  # the first and the last batch are not part of the steady state
        for taken, _ in enumerate(pool.run(recipe, range(count)), start=1):
            if taken == edge:
                first = time.monotonic()
            if taken == count - edge:
                last = time.monotonic()
        whole, cpu = time.monotonic() - begun, time.process_time() - cpu
    rate, ideal = (count - 2 * edge) / (last - first), workers * slots / seconds
    return {
        "workers": workers,
        "problems": count,
        "problems_per_s": round(rate, 2),
        "of_linear": round(rate / ideal, 3),
        "driver_cpu_ms_a_problem": round(1000 * cpu / count, 2),
        "driver_busy": round(cpu / whole, 3),
    }


def _numbers(context: Any, parameter: Any, value: str) -> list[int]:
    return [int(part) for part in value.split(",") if part]


@click.command(help=__doc__)
@click.option("--real", default="", callback=_numbers, help="Numbers of real workers, one thread each.")
@click.option("--simulated", "simulate", default="", callback=_numbers, help="Numbers of simulated workers.")
@click.option("--problems", "count", default=200, help="For real workers.")
@click.option("--slots", default=16)
@click.option("--sims", default=32, help="Of real searches; also of the one whose result simulated workers give.")
@click.option("--seconds", default=10.0, help="A simulated problem's time.")
@click.option("--steps", default=40, help="Its steps.")
@click.option("--rounds", default=5, help="Simulated problems a slot.")
def command(
    real: list[int],
    simulate: list[int],
    count: int,
    slots: int,
    sims: int,
    seconds: float,
    steps: int,
    rounds: int,
) -> None:
    """Print one JSON line a measurement."""
    import torch

    torch.set_num_threads(1)
    lm, how = small_model(), settings(sims, tokens=24)
    items = problems(count)
    base = 0.0
    for workers in real:
        with Pool(lm, workers=workers, slots=slots, threads=1) as pool:
            work(pool, SearchRecipe(how), items[: workers * slots])  # processes and caches are warm now
            run = work(pool, SearchRecipe(how), items)
        rate = count / run.seconds
        base = base or rate / workers
        report = {"workers": workers, "problems_per_s": round(rate, 2), "of_linear": round(rate / base / workers, 3)}
        click.echo(json.dumps({"real": report}))
    if simulate:
        (result,) = search_problems(lm, items[:1], how)
        ours = connect(None, 2)
        try:
            for workers in simulate:
                click.echo(json.dumps({"simulated": simulated(workers, slots, seconds, steps, rounds, result)}))
        finally:
            if ours:
                leave()


if __name__ == "__main__":
    command()
