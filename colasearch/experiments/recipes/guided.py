"""Two stages that both recipes have: what a search found becomes text, and the base learns to write it."""

from __future__ import annotations

from collections.abc import Sequence

from colasearch.experiments.running.stages import Stages


def guided_by_search(
    plan: Stages,
    number: int,
    model: str,
    traces: str,
    labels: Sequence[object],
    texts: int,
    tuning: Sequence[object],
    seeded: Sequence[object],
) -> str:
    """Add iteration ``number``'s guided fine-tuning on what its search found.

    Args:
        plan: Added to.
        number: Of the iteration.
        model: Goes into fine-tuning.
        traces: Folder of the search.
        labels: Options that name problems with their answers, and the task.
        texts: Most texts of a problem.
        tuning: Options of the fine-tuning.
        seeded: Options of every training.

    Returns:
        The fine-tuned model.
    """
    rows = plan.add(
        f"solutions-{number}",
        f"iteration {number}: the right texts that the search found",
        *("train", "solutions", "--traces", traces, *labels, "--most", texts),
        output="solutions.jsonl",
    )
    folder = plan.add(
        f"guide-{number}",
        f"iteration {number}: the base learns to write them under the policy's codes",
        *("train", "guide", "--model", model, "--data", rows, "--codes", "policy", *tuning),
        *("--batch-tokens", 2048, "--warmup-steps", 5),
        *("--heldout", 0),  # what comes of it is measured on held-out problems
        *seeded,
    )
    return f"{folder}/model"
