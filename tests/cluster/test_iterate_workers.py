"""An iteration whose searches share their workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from colasearch.experiments.iterate_run import run_iterations
from colasearch.experiments.recipes.iterations import Iterations
from colasearch.problem import LabelledProblem, Problem

PROBLEMS = [LabelledProblem(Problem.from_text(f"What is {i} + {i}?"), str(2 * i)) for i in range(12)]


@pytest.fixture(scope="module")
def wide_folder(wide_base, tmp_path_factory) -> Path:
    """A checkpoint whose results are bit for bit the same in any batch."""
    from colasearch.model.latent_lm import new_latents, save_latents
    from colasearch.training.values.heads import add_head

    modules = new_latents(wide_base, seed=1, num_codes=8)
    add_head(modules, "value", seed=0)
    folder = tmp_path_factory.mktemp("models") / "wide"
    save_latents(modules, folder)
    return folder


def iterate(model: Path, folder: Path, workers: int | None, say: Callable[[str], object]) -> dict:
    how = Iterations(
        str(model), iterations=1, problems_per_iteration=4, searcher="puct", sims=6, eval_sims=3, max_tokens=12,
        max_step_tokens=6, rl_rounds=0, value_epochs=1, batch_size=2, threads=1, workers=workers,
    )  # fmt: skip
    return {**run_iterations(how, PROBLEMS[:8], PROBLEMS[8:], folder, say=say), "times": None}


def test_workers_stay_from_one_search_to_the_next_and_get_new_modules(wide_folder, tmp_path):
    pytest.importorskip("ray", reason="workers are Ray actors, and the package ray is not installed")
    alone = iterate(wide_folder, tmp_path / "alone", None, lambda line: None)
    said: list[str] = []
    seen: set[int] = set()

    def hear(line: str) -> None:
        said.append(line)
        seen.update(within(tmp_path / "on"))

    assert iterate(wide_folder, tmp_path / "on", 1, hear) == alone
    # Three searches: before, one to learn from, one on held-out problems.
    assert sum("starting workers" in line for line in said) == 1
    assert sum("go on with new latent modules" in line for line in said) == 2
    assert seen, "the run's processes are looked for in the wrong place"
    deadline = time.monotonic() + 30
    while within(tmp_path / "on") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not within(tmp_path / "on"), "workers outlived the run"
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("alone", "on")]
    assert weights[0] == weights[1]


def within(folder: Path) -> list[int]:
    """Processes that work in a folder, as those that serve a run do in its own."""
    found = []
    for one in Path("/proc").iterdir():
        try:
            if one.name.isdigit() and (one / "cwd").readlink().is_relative_to(folder):
                found.append(int(one.name))
        except OSError:
            continue
    return found
