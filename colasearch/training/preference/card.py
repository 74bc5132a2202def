"""The model card of a reward model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colasearch.model.card import metadata, table
from colasearch.model.config import BaseIdentity
from colasearch.training.preference.reliability import Bin


def reward_card(
    base: BaseIdentity,
    settings: Mapping[str, Any],
    measures: Mapping[str, float],
    ci95: tuple[float, float],
    bins: Sequence[Bin],
) -> str:
    """Markdown: the hub's metadata, base, settings, held-out accuracy with its 95% interval, calibration.

    Args:
        base: The base.
        settings: What a run's results depend on.
        measures: Of ``reliability.measures``; empty where nothing was held out.
        ci95: Wilson's interval of the accuracy.
        bins: Of ``reliability.reliability``.
    """
    parts = [
        metadata("text-classification", base, library="transformers", tags=("colasearch", "reward-model")),
        f"# Reward model on {base.name}\n",
        "A sequence classifier with one output, trained on preference pairs (Bradley-Terry) by colasearch. It loads as "
        "`AutoModelForSequenceClassification` of transformers, and as `rm:FOLDER` of colasearch: sigmoid of the "
        "difference of two rewards is the chance that the first text is preferred.\n",
        table({"base": base.name, **settings}),
        "## Held-out pairs\n",
    ]
    if not measures:
        return "\n".join([*parts, "None were held out: nothing is known of how good this model is.\n"])
    parts += [
        f"No prompt of these {measures['pairs']:.0f} pairs was trained on.\n",
        table(
            {
                "accuracy": measures["accuracy"],
                "accuracy, 95% interval": f"{ci95[0]:.3f} to {ci95[1]:.3f}",
                "loss (nats a pair; 0.693 knows nothing)": measures["loss"],
                "mean of chosen less rejected": measures["margin"],
                "expected calibration error": measures["ece"],
            }
        ),
        "Calibration: how often the text that the model prefers was the chosen one, by how sure the model was.\n",
        "| confidence | pairs | mean confidence | accuracy |\n| --- | --- | --- | --- |\n"
        + "".join(
            f"| {b.low:.1f} to {b.high:.1f} | {b.pairs} | {b.confidence:.3f} | {b.accuracy:.3f} |\n" for b in bins
        ),
    ]
    return "\n".join(parts)
