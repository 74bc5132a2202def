"""``colasearch train guide``: fine-tune the base under latent actions."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import corpus_of, frozen_codes, load, split, states_of
from colasearch.cli.train.on_text import finish
from colasearch.cli.train.options import COUNT, batch_options, data_options, loop_options, tuning_options
from colasearch.cli.train.settings import TextRun, Tuned


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuideSettings(TextRun, Tuned):
    """``colasearch train guide``: fields are named as the flags are, ``codes_from`` is ``--codes``."""

    model: str
    lr: float = 1e-4
    warmup_steps: int = 20
    epochs: int = 1
    micro_tokens: int = 2048
    codes_from: Literal["idm", "policy"] = "policy"
    base_weight: float = 0.0
    clone_epochs: int = 1
    clone_lr: float = 1e-3

    def with_dtype(self) -> GuideSettings:
        """With the element type in which weights of the base can train, where the user gave none."""
        if self.dtype == "auto" and self.tune != "lora":
            # Updates of 1e-5 vanish in weights of half precision; passes still run in bfloat16 where that is fast.
            return dataclasses.replace(self, dtype="float32")
        return self

    def record(self) -> dict[str, Any]:
        """What a run's results depend on."""
        return {
            "model": self.model,
            **self.describe(),
            "epochs": self.epochs,
            "batch_tokens": self.batch_tokens,
            "micro_tokens": self.micro_tokens,
            **dataclasses.asdict(self.tuning()),
            "codes": self.codes_from,
            "base_weight": self.base_weight,
            "clone_epochs": self.clone_epochs,
            "clone_lr": self.clone_lr,
        }


@click.command("guide")
@click.option("--model", required=True, help="Model folder with a trained policy.")
@data_options()
@loop_options(lr=1e-4, warmup_steps=20)
@batch_options(epochs=1, micro_tokens=2048)
@tuning_options
@click.option(
    "--codes",
    "codes_from",
    type=click.Choice(["idm", "policy"]),
    default="policy",
    show_default=True,
    help="Given actions: the IDM's (FTA-I; the policy is cloned anew afterwards) or the policy's own (FTA-P).",
)
@click.option(
    "--base-weight",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the base's own loss, without codes; 1 where codes will be learned anew on the tuned base.",
)
@click.option("--clone-epochs", type=COUNT, default=1, show_default=True, help="Epochs of cloning after FTA-I.")
@click.option("--clone-lr", default=1e-3, show_default=True, help="Learning rate of that cloning.")
def command(**given: Any) -> None:
    """Fine-tune the base to write solutions under given latent actions (FTA-I, FTA-P).

    The latent modules stay frozen, and only the tokens of solutions count. The changed weights are saved in the model
    folder and merged into the base when it is loaded.
    """
    run(GuideSettings(**given))


def run(settings: GuideSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.training.base.guidance import GuidedTuner, idm_codes, responses
    from colasearch.training.base.tuning import TunableBase
    from colasearch.training.data.corpus import batches
    from colasearch.training.running.loop import fit

    settings = settings.with_dtype()
    loaded = load(settings.model, settings)
    modules = loaded.require_latents()
    if settings.codes_from == "idm":
        modules.idm.require()
    config = settings.record()
    corpus = responses(corpus_of(loaded, settings))
    train, held = split(corpus, settings.heldout, measured=False)
    codes = None
    if settings.codes_from == "idm":
        codes = frozen_codes(loaded, settings, corpus) or idm_codes(modules, states_of(loaded, corpus))
    loop = settings.loop(weight_decay=0.0, beta2=0.95)
    opened = settings.start("guide", loaded, config, loop)
    tunable = TunableBase(loaded, settings.tuning(), settings.seed)
    tuner = GuidedTuner(loaded, tunable, corpus.documents, codes, settings.micro_tokens, settings.base_weight)
    before = tuner.evaluate(held) if held else {}
    with Bar("guide") as bar:
        fit(
            opened,
            tunable.model,
            tuner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, settings.batch_tokens, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=tuner.accumulate,
            evaluate=lambda: tuner.evaluate(held) if held else {},
            progress=bar.step,
        )
    trained = tunable.size
    tunable.finish(settings.output / "tuned")
    if codes is not None:
        _clone_again(loaded, corpus, codes, train, settings)
    result = tuner.evaluate(held) if held else {}
    result.update({f"before_{key}": value for key, value in before.items() if key != "tokens"})
    finish("guide", loaded, settings, config, result, trained_parameters=trained)


def _clone_again(loaded: Any, corpus: Any, codes: Any, train: list[int], settings: GuideSettings) -> None:
    """The policy learns to predict the frozen base's IDM codes from the tuned base's states."""
    from colasearch.training.data.corpus import batches
    from colasearch.training.latent_actions.cloning import PolicyCloner
    from colasearch.training.running.loop import fit

    modules = loaded.require_latents()
    epochs = settings.clone_epochs
    part = dataclasses.replace(settings, output=settings.output / "clone", lr=settings.clone_lr, resume=True)
    loop = part.loop()
    opened = part.start("clone", loaded, {"epochs": epochs}, loop)
    cloner = PolicyCloner(modules, states_of(loaded, corpus), settings.micro_tokens, codes, loaded.base)
    with Bar("clone") as bar:
        fit(
            opened,
            modules,
            cloner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, settings.batch_tokens, settings.seed, epoch),
            epochs=epochs,
            accumulate=cloner.accumulate,
            evaluate=dict,
            progress=bar.step,
        )
    modules.requires_grad_(False).eval()
