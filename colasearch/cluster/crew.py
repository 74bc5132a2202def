"""The workers as Ray actors: started, called, waited for, replaced.

Ray's own restarts of actors and retries of calls are off: which work is done again, and how often, is for the pool to
say, and a call that Ray repeats would be work done twice.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colasearch.cluster import watchdog
from colasearch.cluster.connect import Layout, import_ray
from colasearch.cluster.worker import Worker
from colasearch.errors import PrerequisiteError

if TYPE_CHECKING:
    from colasearch.model.latent_lm import LatentLM, LatentModules

STARTS_IN_A_ROW = 3
"""So many workers that could not be made mean that none can."""
LOSSES_IN_A_ROW = 10
"""So many lost workers (and four a worker more) with nothing done in between mean that it is no accident."""


@dataclass(slots=True)
class Member:
    """A worker.

    Attributes:
        number: Its number; that of a worker that is replaced is not used again.
        actor: Ray's handle.
        calls: Calls in flight, in order.
        pid: Its process, once it is ready; until then it gets no work.
        held: Suspicious results, kept back.
        pulse: The question in flight how it gets on.
        beats: Its last answer.
        silent: Seconds of our listening in which it has had work and has not moved.
        deaf: Seconds of our listening in which it has had work and has not answered.
    """

    number: int
    actor: Any
    calls: list[Any] = field(default_factory=list)
    pid: int | None = None
    held: list[tuple[int, Any]] = field(default_factory=list)
    pulse: Any = None
    beats: int = -1
    silent: float = 0.0
    deaf: float = 0.0


class Crew:
    """The workers of a pool."""

    def __init__(self, lm: LatentLM | None, layout: Layout, slots: int, start_seconds: float) -> None:
        self.ray = import_ray()
        self.layout, self.slots, self.start_seconds = layout, slots, start_seconds
        self._weights = None if lm is None else self._put(lm)
        self._latents: Any = None
        self._members: dict[int, Member] = {}
        self._next = 0
        self._failed_starts = self._losses = 0
        self._reason = ""
        self._waited = 0.0
        # A thread of its own answers how the worker gets on while it works.
        self._actor_class = self.ray.remote(concurrency_groups={"pulse": 1})(Worker)

    def _put(self, thing: LatentLM | LatentModules) -> Any:
        """Into the object store, from where each node fetches it once."""
        from colasearch.cluster.weights import freeze

        return self.ray.put(freeze(thing))

    @property
    def size(self) -> int:
        """Workers that are ready."""
        return len(self.members())

    def members(self) -> list[Member]:
        """Those that are ready."""
        return [member for member in self._members.values() if member.pid is not None]

    def fill(self) -> None:
        """Ask for as many workers as there should be."""
        while len(self._members) < self.layout.workers:
            self._start()

    def _start(self) -> None:
        member = Member(self._next, self._make(self._next))
        self._next += 1
        self._members[member.number] = member
        member.calls.append(member.actor.ready.remote())

    def _make(self, number: int) -> Any:
        layout = self.layout
        return self._actor_class.options(
            num_cpus=layout.cpus,
            num_gpus=layout.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        ).remote(self._weights, self._latents, slots=self.slots, threads=layout.threads, device=layout.device)

    def call(self, member: Member, given: Any) -> None:
        """Let a worker work: ``Worker.exchange``."""
        member.calls.append(member.actor.exchange.remote(given))

    def listen(self, member: Member, seconds: float) -> None:
        """Hear how a worker that has work gets on, and ask again; keeps ``silent`` and ``deaf`` of it.

        Args:
            member: The worker.
            seconds: Since the last time.
        """
        member.silent += seconds
        member.deaf += seconds
        if member.pulse is not None and self.ray.wait([member.pulse], timeout=0)[0]:
            with contextlib.suppress(self.ray.exceptions.RayError):  # its end is heard of from its calls
                beats = self.ray.get(member.pulse)
                member.deaf = 0.0
                if beats != member.beats:
                    member.beats, member.silent = beats, 0.0
            member.pulse = None
        if member.pulse is None:
            member.pulse = member.actor.pulse.options(concurrency_group="pulse").remote()

    def kill(self, member: Member) -> None:
        """SIGKILL a worker that runs under a Ray of this process's own; on other machines only Ray can end it."""
        if member.pid is not None and member.pid in watchdog.left_of(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> list[tuple[Member, Any]]:
        """The calls that have come back; waits up to ``seconds`` for the first.

        Raises:
            PrerequisiteError: No worker is ready, and none was for ``start_seconds``.
        """
        # A worker's calls end in their order, so only its first can be the next.
        owner = {member.calls[0]: member for member in self._members.values() if member.calls}
        if not owner:
            time.sleep(0.01)
            return []
        begun = time.monotonic()
        ready, _ = self.ray.wait(list(owner), num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self.ray.wait(list(owner), num_returns=len(owner), timeout=0)
        # Only time spent here counts: a driver may be busy with other things for hours between two waits.
        self._waited = 0.0 if ready or self.size else self._waited + time.monotonic() - begun
        self._check_started()
        return [(owner[ref], ref) for ref in ready]

    def _check_started(self) -> None:
        if self._waited > self.start_seconds:
            layout = self.layout
            raise PrerequisiteError(
                f"no worker has started in {self.start_seconds:.0f} s; each needs {layout.cpus:g} CPUs and "
                f"{layout.gpus:g} GPUs, and the Ray cluster has {self.ray.available_resources()} free. Ask for fewer "
                "--workers or --threads, or wait until other jobs have ended"
            )

    def take(self, member: Member, ref: Any) -> Any:
        """What a call returned; a text that says why, where the worker is lost."""
        if self._members.get(member.number) is not member:
            return None  # replaced meanwhile
        member.calls.remove(ref)
        try:
            value = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            if member.pid is None:
                self._failed_starts += 1
            return f"{error}\n{_short(error)}"
        if member.pid is None:
            member.pid, self._failed_starts = value, 0
            return None
        return value

    def trust(self) -> None:
        """Something was done: losses before that were accidents."""
        self._losses = 0

    def replace(self, member: Member, failed: str = "") -> None:
        """End a worker, and ask for another one."""
        self._members.pop(member.number, None)
        with contextlib.suppress(Exception):
            self.ray.kill(member.actor, no_restart=True)
        if failed:
            self._losses += 1
            self._reason = failed
        self.fill()

    def check(self) -> None:
        """Give up where replacing workers does not help.

        Raises:
            PrerequisiteError: Too many were lost with nothing done in between, or could not be made at all.
        """
        if self._failed_starts >= STARTS_IN_A_ROW + self.layout.workers:
            what = f"{self._failed_starts} workers in a row could not be started"
        elif self._losses > LOSSES_IN_A_ROW + 4 * self.layout.workers:
            what = f"{self._losses} workers in a row were lost and not one problem was done in between"
        else:
            return
        raise PrerequisiteError(
            f"{what}; the last one: {self._reason.strip()[-1500:]}\nRun with --workers left out to see the cause in "
            "one process; if memory ran out, use fewer --workers or a smaller --batch-size"
        )

    def broadcast(self, latents: LatentModules) -> None:
        """Give every worker other latent modules; those that are still starting get them, too."""
        self._latents = self._put(latents)
        for member in self._members.values():
            # Calls run in order: whatever comes later sees the new weights, also on a worker that is being made.
            member.calls.append(member.actor.swap.remote(self._latents))

    def dismiss(self) -> None:
        """End all workers."""
        for member in self._members.values():
            with contextlib.suppress(Exception):
                self.ray.kill(member.actor, no_restart=True)
        self._members.clear()


def _short(error: Exception) -> str:
    """One line: a worker's own exception stands at the end of Ray's text, the reason of a death at its beginning."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = hasattr(error, "cause")  # RayTaskError
    return f"{type(error).__name__}: {lines[-1 if own else 0]}" if lines else type(error).__name__
