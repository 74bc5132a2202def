"""Fixtures shared by all tests: a private cache folder, one torch thread, tiny real models."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from turns import ALONE, RAY, scheduling, turn
from zygote import Zygote, spare

_USER_CACHE = os.environ.get("COLASEARCH_CACHE")
CORNERS = {
    **dict.fromkeys(
        ("benchmarks/test_bench_workers.py", "cluster/test_iterate_workers.py", "cluster/test_ray_pool.py"), RAY
    ),
    "verifiers/test_deadlines.py": ALONE,
}
"""Files that start Ray: `make test` begins them first, in a process of their own. Files that measure time: it runs them
after the others, and nothing beside them."""
LONGEST = (
    "training/test_commands.py",
    "cli/test_documents.py",
    "cli/test_solve.py",
    "engine/test_scheduler.py",
    "training/test_rl.py",
    "experiments/test_countdown_smoke.py",
    "training/test_guidance.py",
    "training/test_shipping.py",
    "benchmarks/test_bench_run.py",
    "verifiers/test_hostile.py",
    "benchmarks/test_bench_killed.py",
    "training/test_rl_episodes.py",
    "searchers/test_toy_mdp.py",
    "serve/test_limits.py",
    "experiments/test_iterate.py",
    "serve/test_client.py",
    "engine/test_writing.py",
    "searchers/test_properties.py",
    "benchmarks/test_model_speed.py",
    "experiments/test_agents.py",
    "benchmarks/test_file_faults.py",
    "engine/test_paged.py",
    "model/test_countdown_tiny.py",
    "engine/test_architectures.py",
    "searchers/test_mctx.py",
    "report/test_tree_viewer.py",
    "training/test_heads.py",
    "engine/test_verdicts.py",
    "engine/test_steps.py",
    "training/test_rollout.py",
    "environments/test_scienceworld.py",
    "agents/test_bench_env.py",
    "verifiers/test_generated_latex.py",
    "engine/test_rows.py",
    "engine/test_refuted.py",
    "experiments/test_iterate_episodes.py",
    "verifiers/test_verify_command.py",
    "agents/test_planning.py",
    "report/test_page.py",
    "report/test_view_command.py",
    "verifiers/test_math.py",
    "verifiers/test_data_sets.py",
    "verifiers/test_pool.py",
    "experiments/test_stages_run.py",
    "searchers/test_revisit.py",
    "searchers/test_nan.py",
    "jobs/test_gpu_check.py",
    "engine/test_judged_values.py",
    "examples/test_examples.py",
    "cli/test_task_commands.py",
    "model/test_sources.py",
    "experiments/test_adapt.py",
    "test_public_names.py",
    "training/test_token_store.py",
    "training/test_reward_model.py",
    "cli/test_main.py",
    "benchmarks/test_benchmark_data.py",
    "model/test_sharing.py",
    "experiments/test_preference.py",
    "engine/test_joining.py",
    "engine/test_world.py",
    "engine/test_open_choices.py",
    "report/test_hostile_pages.py",
    "searchers/test_reuse_and_merge.py",
    "environments/test_servers.py",
    "training/test_data.py",
    "benchmarks/test_intervals.py",
    "training/test_search_learning.py",
    "test_runs.py",
    "engine/test_complete.py",
    "verifiers/test_readings.py",
    "agents/test_writer.py",
    "cli/test_train.py",
    "benchmarks/test_forgetting.py",
    "jobs/test_gpu_adapt.py",
    "training/test_ranks.py",
    "training/test_countdown_training.py",
    "cli/test_python.py",
    "model/test_import_cola.py",
)
"""Files that take more than three seconds, the longest first: begun first, so that the processes of `make test` end
together, and left out of `make test-fast`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow (minutes each)")


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # while everything is imported, which makes no garbage
    # Ray's own 15 would leave its workers nothing beside the other tests.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - that is its name
    if getattr(config, "workerinput", {}).get("workerid", "gw0") != "gw0":
        os.nice(5)  # the first process has the tests with Ray: the longer they last, the more Ray itself takes


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()  # what was imported is never looked through again
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduling(config, log, lambda file: CORNERS.get(file.removeprefix("tests/")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    config.add_cleanup(Zygote().__enter__().__exit__)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with turn(ALONE in item.keywords):
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = {}
    for item in items:
        name = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if name in CORNERS:
            item.add_marker(CORNERS[name])
        if name in LONGEST or "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)
        order = list(CORNERS) if name in CORNERS else LONGEST
        if name in order:
            places[item] = order.index(name)
    items.sort(key=lambda item: (RAY not in item.keywords, ALONE in item.keywords, places.get(item, len(LONGEST))))
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes minutes; give --slow to run it"))


@pytest.fixture(scope="session", autouse=True)
def spared() -> Iterator[None]:
    """Real pictures and what guards against a loss of power are left out, but for the tests of reports."""
    from colasearch.report import charts

    kept = charts.rendered, os.fsync
    spare()
    yield
    charts.rendered, os.fsync = kept


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests never read or write the user's cache (but for the one marked ``base_weights``)."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["COLASEARCH_CACHE"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Two torch threads on a busy two-core machine wait for each other most of the time.
    os.environ["OMP_NUM_THREADS"] = "1"
    return folder


@pytest.fixture(scope="session")
def user_cache() -> Path:
    """The user's own cache folder, for the tests that need SmolLM2's weights from it."""
    override = _USER_CACHE or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "colasearch")
    return Path(override).expanduser()


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random base model on disk."""
    from tiny import make_base

    return make_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def base(base_folder: Path):
    import torch

    from colasearch.model.base import BaseModel

    torch.set_num_threads(1)
    return BaseModel.load(str(base_folder), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory):
    """A tiny base whose widths fill vector registers, as every real model's do.

    What is left over of a tensor after whole registers is computed by other instructions, which round differently; with
    narrow rows that depends on how many rows there are. So only this one is bit for bit the same in any batch.
    """
    import torch
    from tiny import make_base

    from colasearch.model.base import BaseModel

    torch.set_num_threads(1)

    folder = make_base(
        tmp_path_factory.mktemp("wide") / "base", hidden_size=64, intermediate_size=96, head_dim=32,
        initializer_range=0.2,
    )  # fmt: skip
    return BaseModel.load(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def wide_lm(wide_base):
    """The wide tiny base with fresh latent modules."""
    from tiny import speaking

    from colasearch.model.latent_lm import LatentLM, new_latents

    modules = speaking(new_latents(wide_base, seed=1, num_codes=8)).requires_grad_(False).eval()
    return LatentLM("wide", wide_base, modules)


@pytest.fixture
def lm(base):
    """The tiny base with fresh latent modules (new for each test: some train them)."""
    from tiny import speaking

    from colasearch.model.latent_lm import LatentLM, new_latents

    modules = speaking(new_latents(base, seed=1, num_codes=8)).requires_grad_(False).eval()
    return LatentLM("tiny", base, modules)


@pytest.fixture(scope="session")
def model_folder(base_folder: Path, base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint of latent modules for the tiny base."""
    from tiny import speaking

    from colasearch.model.latent_lm import new_latents, save_latents

    folder = tmp_path_factory.mktemp("models") / "latents"
    save_latents(speaking(new_latents(base, seed=1, num_codes=8)), folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def zygote(private_cache: Path) -> Iterator[None]:
    """Processes of ``python -m colasearch...`` are forked from one that has imported everything."""
    with contextlib.nullcontext() if Zygote.is_here() else Zygote():
        yield


@pytest.fixture(scope="session")
def colasearch(zygote: None) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``colasearch(*args, stdin=b"", env=None)``: a finished process with text output; ``env`` is added to ours."""

    def run(
        *args: object, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "colasearch", *map(str, args)]
        done = subprocess.run(command, input=stdin, capture_output=True, env={**os.environ, **(env or {})}, check=False)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray of this machine for all tests in this process; commands and pools join it, and leave it running."""
    pytest.importorskip("ray", reason="ray is not installed")
    from colasearch.cluster.connect import connect, leave

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "cluster"), prepend=os.pathsep)  # workers import toys.py
        ours = connect(None, 4)
        yield
        if ours:
            leave()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Ctrl-C as Python handles it, whatever this run was started with (a shell's background job ignores it)."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
