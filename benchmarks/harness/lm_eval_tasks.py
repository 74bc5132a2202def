"""Two models on one task of lm-evaluation-harness: its own metrics, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colasearch.errors import InputError, PrerequisiteError


def compare_on_task(
    task: str, models: tuple[str, str], ways: Sequence[str], device: str, dtype: str, limit: int | None, seed: int
) -> dict[str, Any]:
    """Run a task for two models, one after the other, on codes, on tokens, or on each.

    Args:
        task: A name that lm-eval knows, or a YAML file.
        models: Before and after.
        ways: ``codes``, ``tokens``.
        device: Where the models run.
        dtype: Their element type.
        limit: Questions to use; None: all.
        seed: Of the few-shot examples.

    Returns:
        ``{"metrics": [{"on", "metric", "before", "after", "difference", "stderr"}]}``; ``stderr`` is that of "after" as
        lm-eval has it, None where it has none.

    Raises:
        PrerequisiteError: lm-eval is not installed.
        InputError: It knows no such task.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        from colasearch.benchmarks.harness.lm_eval_model import ColasearchLM
    except ImportError as error:
        raise PrerequisiteError(
            f"--data lm-eval:{task} needs lm-evaluation-harness ({error}); install it with `pip install '.[lm-eval]'`"
        ) from None
    from colasearch.model.latent_lm import LatentLM

    file = Path(task)
    given: Any = task
    if file.suffix in (".yaml", ".yml"):
        if not file.is_file():
            raise InputError(f"{task} does not exist; give a task's YAML file, or a name that lm-eval knows")
        given = _read_task(file)
    manager = TaskManager()
    if isinstance(given, str) and given not in manager.all_tasks:
        raise InputError(f"lm-eval knows no task {task!r}; `lm-eval ls tasks` lists them, or give a YAML file")
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for name in models:
        lm = LatentLM.from_pretrained(name, device, dtype)
        for way in ways:
            results = simple_evaluate(
                ColasearchLM(on=way, lm=lm), tasks=[given], limit=limit, task_manager=manager, log_samples=False,
                bootstrap_iters=1000, random_seed=seed, numpy_random_seed=seed, torch_random_seed=seed,
                fewshot_random_seed=seed,
            )  # fmt: skip
            assert results is not None
            found[way].append(results["results"])
        del lm
    return {"metrics": [row for way in ways for row in _rows(way, *found[way])]}


def _read_task(file: Path) -> dict[str, Any]:
    import yaml

    read = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(read, dict) or "task" not in read:
        raise InputError(f"{file} is no task of lm-eval: it has no `task`, its name")
    return read


def _rows(way: str, before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for task in after:
        for key, value in after[task].items():
            metric, _, _ = key.partition(",")
            if not isinstance(value, int | float) or metric.endswith("_stderr") or "," not in key:
                continue
            error = after[task].get(key.replace(metric, f"{metric}_stderr", 1))
            rows.append(
                {
                    "on": way,
                    "metric": f"{task}: {metric}",
                    "before": float(before[task][key]),
                    "after": float(value),
                    "difference": float(value) - float(before[task][key]),
                    "stderr": float(error) if isinstance(error, int | float) else None,
                }
            )
    return rows
