"""What commands are told, typed: one frozen object a command, the same whether flags, a YAML file or Python made it.

Fields are named as the flags are, and have their defaults (a test compares). The command line makes them with
``SolveSettings(**options)``; so may a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from colasearch.engine.settings import SearchSettings, WorldConfig
    from colasearch.model.base import BaseModel

BASELINE_ARMS = ("greedy", "majority", "best_of_n")
"""What a search is compared with, unless ``--arms`` says otherwise."""


LEAVES = SLOTS = 16
"""Leaves of a tree evaluated together, and problems searched at a time on a worker, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where work is done.

    Attributes:
        device, dtype, threads: As in ``--device``, ``--dtype`` and ``--threads``.
        workers, ray_address: As in ``--workers`` and ``--ray-address``; without both, this process does the work.
        slots: Problems at a time.
    """

    device: str
    dtype: str
    threads: int | None
    workers: int | None
    ray_address: str | None
    slots: int


@dataclass(frozen=True, kw_only=True)
class SearchCommand:
    """What the commands that search are told; each field is the flag of that name.

    Attributes:
        options: Of the searcher: ``--option NAME=VALUE``.
        as_json: ``--json``.
    """

    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    seed: int = 0
    batch_size: int | None = None
    actions: str = "auto"
    temperature: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    branch_below: float | None = None
    max_step_tokens: int = 24
    values: tuple[str, ...] = ("head",)
    check_steps: bool = True
    complete: bool = True
    rows: int | None = None
    engine: str = "auto"
    backend: str = "own"
    kv_memory: float = 4.0
    workers: int | None = None
    ray_address: str | None = None
    output: Path | None = None
    resume: bool = False
    as_json: bool = False

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: ``--resume`` without a folder.
        """
        if self.resume and self.output is None:
            raise click.UsageError("--resume needs --output, the folder of the run to go on with")
        if self.device == "spread" and (self.workers is not None or self.ray_address is not None):
            raise click.UsageError("--device spread is for one process: a worker has one GPU; leave --workers out")
        if self.backend == "vllm" and self.actions != "sampled":
            raise click.UsageError("--backend vllm writes texts of sampled tokens; give --actions sampled with it")

    def machine(self, slots: int) -> Machine:
        """Where the work is done, so many problems at a time."""
        return Machine(self.device, self.dtype, self.threads, self.workers, self.ray_address, slots)

    def world(self, base: BaseModel, tasks: Set[str]) -> WorldConfig:
        """Limits and sampling of a search with ``base`` of problems of ``tasks``."""
        from colasearch.defaults import sampling_for, text_limit
        from colasearch.engine.settings import Choosing, WorldConfig
        from colasearch.rewards import external

        return WorldConfig(
            max_tokens=self.max_tokens or text_limit(base, tasks),
            max_step_tokens=self.max_step_tokens,
            branch_below=self.branch_below,
            value_head=self.values != ("rollouts",),
            q_values=self.values == ("q",),
            values=external(self.values),
            choosing=Choosing.checking(self.check_steps),
            complete=self.complete,
            sampling=sampling_for(base, self.temperature),
            rows=self.rows,
            kv_bytes=int(self.kv_memory * 2**30),
            engine=self.engine,
            backend=self.backend,
        )


@dataclass(frozen=True, kw_only=True)
class OneSearch(SearchCommand):
    """What the commands are told that search with one searcher. ``batch_size`` is of one problem's leaves."""

    task: str | None = None
    prompt: str | None = None
    columns: Mapping[str, str] | None = None
    searcher: str | None = None
    sims: int | None = None
    batch_size: int | None = LEAVES
    compile: bool = False

    def search(self, base: BaseModel, tasks: Set[str]) -> SearchSettings:
        """How each problem, of one of ``tasks``, is searched with ``base``."""
        from colasearch.defaults import SEARCHER, SIMS
        from colasearch.engine.settings import SearchSettings
        from colasearch.searchers.registry import spelled

        return SearchSettings(
            searcher=spelled(self.searcher or SEARCHER),
            sims=self.sims or SIMS,
            seed=self.seed,
            actions=self.actions,
            max_seconds=self.max_seconds,
            leaves_in_flight=self.batch_size or LEAVES,
            world=self.world(base, tasks),
            options=self.options,
        )


@dataclass(frozen=True, kw_only=True)
class SolveSettings(OneSearch):
    """``colasearch solve``."""

    file: str


@dataclass(frozen=True, kw_only=True)
class ServeSettings(OneSearch):
    """``colasearch serve``."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    served_name: str | None = None
    max_sims: int = 1024
    slots: int = 8
    queue: int = 256
    max_body: int = 1 << 20
    timeout: float = 600.0
    drain: float = 30.0


@dataclass(frozen=True, kw_only=True)
class BenchSettings(SearchCommand):
    """``colasearch bench NAME``. ``batch_size`` is of problems, ``searcher`` holds one name."""

    name: str
    searcher: tuple[str, ...] = ("gumbel",)
    arms: tuple[str, ...] = ()
    sims: tuple[int, ...] = ()
    data: Path | None = None
    task: str | None = None
    prompt: str | None = None
    columns: Mapping[str, str] | None = None
    exactly: bool = False
    limit: int | None = None
    skip: int = 0
    shuffle_seed: int | None = None
    traces: bool = True
    tensorboard: bool = False

    def check(self) -> None:
        """As of every search command, and that one searcher is named.

        Raises:
            UsageError: It is not so.
        """
        if len(self.searcher) != 1:
            named = ",".join(self.searcher)
            raise click.BadParameter(f"--searcher is {named!r}; give one name (more of them go to --arms)")
        super().check()

    @property
    def all_arms(self) -> tuple[str, ...]:
        """The searcher and what it is compared with, each once."""
        return tuple(dict.fromkeys((self.searcher[0], *(self.arms or BASELINE_ARMS))))
