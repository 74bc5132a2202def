"""``colasearch train reward``: a reward model from preference pairs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import load
from colasearch.cli.train.options import COUNT, PathType, base_options, loop_options, tuning_options
from colasearch.cli.train.settings import Run, Tuned, Where


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardSettings(Where, Run, Tuned):
    """``colasearch train reward``: fields are named as the flags are."""

    model: str
    data: tuple[Path, ...]
    lr: float = 1e-4
    warmup_steps: int = 10
    evaluate_every: int = 200
    epochs: int = 1
    batch: int = 32
    micro_tokens: int = 4096
    max_tokens: int = 1024
    heldout: float = 0.1
    center: float = 0.01

    def with_dtype(self) -> RewardSettings:
        """With the element type in which weights of the base can train, where the user gave none."""
        if self.dtype == "auto" and self.tune != "lora":
            return dataclasses.replace(self, dtype="float32")  # as in `train guide`
        return self


@click.command("reward")
@click.option("--model", required=True, help="Base: a known name, a folder, a hub name, a .gguf file.")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=PathType,
    help="jsonl, JSON or CSV of pairs: problem (or prompt), chosen, rejected; texts, or messages as TRL has them.",
)
@base_options
@loop_options(lr=1e-4, warmup_steps=10, evaluate_every=200)
@tuning_options
@click.option("--epochs", type=COUNT, default=1, show_default=True)
@click.option("--batch", type=COUNT, default=32, show_default=True, help="Pairs in one update.")
@click.option("--micro-tokens", type=COUNT, default=4096, show_default=True, help="Padded tokens in one pass (memory).")
@click.option("--max-tokens", type=COUNT, default=1024, show_default=True, help="Leave out pairs with a longer text.")
@click.option(
    "--heldout",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of prompts never trained on; accuracy and calibration are measured there.",
)
@click.option(
    "--center",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Weight of the term that keeps rewards about 0, where rm:'s rule sigmoid tells texts apart.",
)
def command(**given: Any) -> None:
    """Train a reward model on pairs of a chosen and a rejected text (Bradley-Terry).

    OUTPUT/model is what TRL's RewardTrainer saves: a sequence classifier with one output. rm:OUTPUT/model names it
    wherever a reward or a value is asked for.
    """
    run(RewardSettings(**given))


def run(settings: RewardSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.training.preference.pairs import pairs_sha256, read_pairs, split_pairs
    from colasearch.training.preference.reward_model import (
        RewardLearner,
        TunableClassifier,
        pair_batches,
        pair_tokens,
    )
    from colasearch.training.running.loop import fit, manifest

    settings = settings.with_dtype()
    pairs, equal = read_pairs(settings.data)
    base = load(settings.model, settings).base
    longest = min(settings.max_tokens, base.context_length)
    laid_out = [pair_tokens(base.tokenizer, pair) for pair in pairs]
    fitting = [i for i, row in enumerate(laid_out) if row.longest <= longest]
    pairs, rows = [pairs[i] for i in fitting], [laid_out[i] for i in fitting]
    train, held = split_pairs(pairs, settings.heldout)
    if not train or (not held and settings.heldout):
        raise click.UsageError(
            f"{len(pairs)} pairs of at most {longest} tokens leave {len(train)} to train on and {len(held)} held out; "
            "give more pairs, or another --heldout or --max-tokens"
        )
    left_out = {"of equal texts": equal, f"above {longest} tokens": len(laid_out) - len(pairs)}
    told = "".join(f", {count} {why} left out" for why, count in left_out.items() if count)
    click.echo(f"{len(train)} pairs to train on, {len(held)} held out{told}", err=True)
    tuning = settings.tuning()
    config = {
        "data": [path.name for path in settings.data],
        "pairs": pairs_sha256(pairs),
        "heldout": settings.heldout,
        "max_tokens": settings.max_tokens,
        "epochs": settings.epochs,
        "batch": settings.batch,
        "center": settings.center,
        **dataclasses.asdict(tuning),
    }
    loop = settings.loop(weight_decay=0.0)
    identity = dataclasses.asdict(base.identity)
    opened = settings.open(manifest("reward", {"model": settings.model, **config}, loop, base=identity))
    classifier = TunableClassifier(base, tuning, settings.seed)
    learner = RewardLearner(classifier, rows, settings.micro_tokens, settings.center)
    with Bar("reward") as bar:
        result = fit(
            opened,
            classifier.model,
            classifier.parameters(),
            loop,
            plan=lambda epoch: pair_batches(train, settings.batch, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(held),
            progress=bar.step,
        )
    trained = classifier.size
    how = {"lr": settings.lr, "seed": settings.seed, "pairs trained on": len(train), "trained numbers": trained}
    report = _finish(classifier, learner, held, base.identity, {**config, **how}, settings.output / "model")
    click.echo(json.dumps({**report, "heldout": {**result, **report["heldout"]}, "trained_parameters": trained}))


def _finish(classifier: Any, learner: Any, held: list[int], base: Any, settings: Any, folder: Path) -> dict[str, Any]:
    """Save the model with its card; what is printed of it."""
    from colasearch.benchmarks.harness.intervals import wilson
    from colasearch.training.preference.card import reward_card
    from colasearch.training.preference.reliability import measures, reliability

    margins = learner.margins(held)
    found = measures(margins) if margins else {}
    # A tie counts half, so the count of right ones may be no whole number: rounded down.
    ci95 = wilson(int(found.get("accuracy", 0) * len(margins)), len(margins))
    bins = reliability(margins)
    classifier.save(folder, reward_card(base, settings, found, ci95, bins))
    heldout: dict[str, Any] = {}
    if margins:
        heldout = {**found, "ci95": list(ci95), "calibration": [dataclasses.asdict(one) for one in bins]}
    return {"schema": 1, "kind": "reward", "model": str(folder), "heldout": heldout}
