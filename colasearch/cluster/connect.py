"""How a driver comes to a Ray cluster, and how many workers fit there.

Without an address a Ray of our own starts on this machine and ends with the driver. With one, the cluster's other
users are left alone: only our actors are ended.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import colasearch
from colasearch.cluster import watchdog
from colasearch.errors import PrerequisiteError

KNOCK_S = 5.0
"""How long an address may take to be reached before there is no cluster."""
TRIAL_S = 22.0
"""How long a first connection may take; both together stay below half a minute."""
TRIAL = """
import sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=40, configure_logging=False)
except Exception as error:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    print((lines or [type(error).__name__])[0])
    sys.exit(1)
"""
GUARD_S = 1.0
"""Between two looks at the processes of a Ray of our own."""
GRACE_S = 5.0
"""For whoever waits for Ray to hear by himself that it has ended; then the process ends with a message."""
_guarded: threading.Event | None = None
_dog: subprocess.Popen[bytes] | None = None
"""The watchdog of the Ray that this process has started."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What each worker gets.

    Attributes:
        workers: How many.
        threads: Threads of torch in each.
        cpus, gpus: What Ray reserves for each.
        device: Where each runs its model.
    """

    workers: int
    threads: int
    cpus: float
    gpus: float
    device: str


def import_ray() -> Any:
    """The package ``ray``, imported when it is first needed.

    Raises:
        PrerequisiteError: It is not installed.
    """
    # Drivers that end quietly must not be asked about usage statistics, nor send any.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray 2.5x warns that it will leave CUDA_VISIBLE_DEVICES alone for actors without GPUs; nothing here depends on it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise PrerequisiteError(
            f"--workers and --ray-address need the package ray, which cannot be imported ({error}); run "
            "`pip install ray`, or leave the flags out to run in one process"
        ) from None
    return ray


def connect(address: str | None, workers: int | None) -> bool:
    """Join the cluster at ``address``, or start Ray on this machine with room for ``workers``.

    Returns:
        Whether this call has connected, so that ``leave`` is the caller's to do.

    Raises:
        PrerequisiteError: There is no cluster at ``address``, or Ray does not start.
    """
    ray = import_ray()
    if ray.is_initialized():
        return False
    # Ray tells everybody on stderr that its clusters have a token, which needs nothing from the user.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    _hush()
    common = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        # Ray puts the driver's current folder on its workers' path; a checkout there, where half of our packages lie
        # under other names, would hide the installed package.
        with contextlib.chdir(Path(colasearch.__file__).parent.parent):
            if address is not None:
                _knock(_resolve(address))
                _try(address)
                ray.init(address=address, **common)
            else:
                # RAY_ADDRESS, set where `ray job submit` runs us, must not turn a local run into a cluster's.
                cpus = max(workers or 1, os.cpu_count() or 1)
                _watch()  # before there is anything that must not outlive this process
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **common)
                _guard()
    except Exception as error:  # Ray raises that very class where its processes do not start in time
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        where = f"at --ray-address {address!r}" if address is not None else "on this machine"
        remedy = (
            "start one with `ray start --head` (one that asks for a token needs RAY_AUTH_MODE=token here, too), or "
            "leave --ray-address out to run on this machine"
            if address is not None
            else "see /tmp/ray/session_latest/logs, or leave --workers out to run in one process"
        )
        with contextlib.suppress(Exception):
            leave()
        raise PrerequisiteError(f"no Ray cluster {where} ({reason[:300]}); {remedy}") from None
    _take_signals_back()
    return True


def leave() -> None:
    """Leave the cluster; a Ray that ``connect`` has started on this machine ends."""
    global _dog, _guarded
    guarded, _guarded = _guarded, None
    with contextlib.suppress(PrerequisiteError):
        check_own_ray()
        if guarded is not None:
            guarded.set()  # its processes end now because we say so
    try:
        import_ray().shutdown()  # of a Ray that is gone already, it may wait for a minute: then the guard ends us
    finally:
        if guarded is not None:
            guarded.set()
        dog, _dog = _dog, None
        if dog is not None:
            watchdog.dismiss(dog)


def _watch() -> None:
    global _dog
    if _dog is None:
        _dog = watchdog.start()


def _ended() -> PrerequisiteError | None:
    """What ``check_own_ray`` raises, if it does."""
    try:
        check_own_ray()
    except PrerequisiteError as error:
        return error
    return None


def _guard() -> None:
    """Watch our own Ray from a thread: with its processes gone, calls of Ray block, and after a minute it kills us."""
    global _guarded
    over = _guarded = threading.Event()

    def look() -> None:
        while not over.wait(GUARD_S):
            if not _ended():
                continue
            if over.wait(GRACE_S):
                return
            if error := _ended():  # still: a shutdown by whoever else uses Ray here is through by now
                sys.stderr.write(f"Error: {error}\n")
                sys.stderr.flush()
                os._exit(error.exit_code)

    threading.Thread(target=look, name="colasearch-ray-guard", daemon=True).start()


def _hush() -> None:
    """Ray tells of each worker's end on the driver's standard output, where results stand; the pool tells it itself."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *args, **kwargs: None


def _take_signals_back() -> None:
    """Ray's start puts a handler on SIGTERM that prints a stack of addresses before Python hears of the signal."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)


def check_own_ray() -> None:
    """Look after the Ray that ``connect`` has started here: without it nothing goes on, and it ends our process later.

    Where one of its agents is killed, its raylet ends itself.

    Raises:
        PrerequisiteError: A process of it has ended.
    """
    worker = getattr(getattr(import_ray(), "_private", None), "worker", None)
    node = getattr(worker, "_global_node", None)
    if node is None or not hasattr(node, "dead_processes"):
        return
    dead = sorted({str(kind) for kind, _ in node.dead_processes()} & {"raylet", "gcs_server"})
    if dead:
        raise PrerequisiteError(
            f"Ray on this machine has ended ({', '.join(dead)}): one of its processes was killed, or memory ran out; "
            "what is finished is kept: run again with --resume, or without --workers"
        )


def _resolve(address: str) -> str:
    """What ``auto`` stands for: RAY_ADDRESS, else the cluster that this machine last belonged to.

    Raises:
        ConnectionError: This machine knows of none.
    """
    if address != "auto":
        return address
    from ray._private import services

    return str(os.environ.get("RAY_ADDRESS") or services.canonicalize_bootstrap_address("auto"))


def _try(address: str) -> None:
    """Connect in a process of its own, which can be ended; in ours Ray tries for 15 minutes, deaf to Ctrl-C.

    Raises:
        ConnectionError: It cannot connect.
        TimeoutError: It has not in ``TRIAL_S``.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRIAL, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"it takes connections but has not answered in {TRIAL_S:.0f} s") from None
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        raise ConnectionError(lines[-1] if lines else f"Ray ended with exit code {done.returncode}")


def _knock(address: str) -> None:
    """Where nobody listens Ray tries again for minutes, deaf to signals; so ask first.

    Raises:
        OSError: Nobody listens at this host and port.
        ValueError: There is no such port.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        if int(port) > 65535:
            raise ValueError(f"port {port} is above 65535")
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


def lay_out(workers: int | None, threads: int | None, device: str, local: bool) -> Layout:
    """How many workers, and what each gets, from what the cluster has now.

    On GPUs: one worker a GPU, or, where more are asked for, equal shares of the GPUs. On CPUs: ``workers`` with the
    cores divided among them; where no number is given, one worker for each ``threads`` cores (one, by default).

    Raises:
        PrerequisiteError: GPUs are asked for and the cluster has none.
    """
    has = import_ray().cluster_resources()
    cores, cards = int(has.get("CPU", 1)), int(has.get("GPU", 0))
    if local:
        cores = os.cpu_count() or 1  # Ray was told of more where more workers were asked for
    if device.startswith("cuda") and not cards:
        raise PrerequisiteError(
            f"--device {device} was asked for, but no node of the Ray cluster has a GPU (it has {cores} CPUs); use "
            "--device cpu, or add a node with GPUs"
        )
    if cards and device != "cpu":
        count = workers or cards
        # A share must divide a card: Ray places no actor on parts of two.
        share = 1.0 if count <= cards else 1.0 / -(-count // cards)
        return Layout(count, threads or max(1, cores // count), min(1.0, cores / count), share, "cuda")
    if workers is None:
        threads = threads or 1
        # More threads than cores must not ask Ray for more than there is: such a worker would never start.
        return Layout(max(1, cores // threads), threads, float(min(threads, max(1, cores))), 0.0, "cpu")
    each = threads or max(1, cores // workers)
    # On this machine --workers decides; in a cluster Ray must know how many fit on a node.
    return Layout(workers, each, 1.0 if local else min(float(each), max(1.0, cores / workers)), 0.0, "cpu")
