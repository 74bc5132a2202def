"""``colasearch train guide``: fine-tune the base under latent actions."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from colasearch.cli.train.common import (
    COUNT,
    Bar,
    Batches,
    Run,
    Source,
    Where,
    batch_options,
    corpus_of,
    data_options,
    finish,
    frozen_codes,
    load,
    loop_options,
    split,
    states_of,
    take,
    together,
)


def parse_layers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """``-2,-1`` as numbers."""
    try:
        return tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of layer numbers; write for example 28,29 or -2,-1") from None


tuning_options = together(
    click.option(
        "--tune",
        type=click.Choice(["lora", "layers", "full"]),
        default="lora",
        show_default=True,
        help="Low-rank changes (needs pip install '.[lora]'), chosen layers, or the whole base.",
    ),
    click.option("--layers", default="", callback=parse_layers, help="Layers for --tune layers, as -2,-1."),
    click.option("--rank", type=COUNT, default=16, show_default=True, help="Rank for --tune lora."),
)


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
def command(
    model: str,
    tune: Any,
    layers: tuple[int, ...],
    rank: int,
    codes_from: str,
    base_weight: float,
    clone_epochs: int,
    clone_lr: float,
    **common: Any,
) -> None:
    """Fine-tune the base to write solutions under given latent actions (FTA-I, FTA-P).

    The latent modules stay frozen, and only the tokens of solutions count. The changed weights are saved in the model
    folder and merged into the base when it is loaded.
    """
    from colasearch.training.base.guidance import GuidedTuner, idm_codes, responses
    from colasearch.training.base.tuning import TunableBase, Tuning
    from colasearch.training.data.corpus import batches
    from colasearch.training.running.loop import fit

    source, where = take(Source, common), take(Where, common)
    how, batching = take(Run, common), take(Batches, common)
    if where.dtype == "auto" and tune != "lora":
        # Updates of 1e-5 vanish in weights of half precision; passes still run in bfloat16 where that is fast.
        where = dataclasses.replace(where, dtype="float32")
    loaded = load(model, where)
    loaded.require_latents()
    tuning = Tuning(tune, layers, rank, 2.0 * rank)
    config = {
        "model": model,
        **source.describe(),
        **dataclasses.asdict(batching),
        **dataclasses.asdict(tuning),
        "codes": codes_from,
        "base_weight": base_weight,
        "clone_epochs": clone_epochs,
        "clone_lr": clone_lr,
    }
    corpus = responses(corpus_of(loaded, source))
    train, held = split(corpus, source.heldout, measured=False)
    codes = None
    if codes_from == "idm":
        codes = frozen_codes(loaded, where, corpus) or idm_codes(loaded.require_latents(), states_of(loaded, corpus))
    loop = how.loop(weight_decay=0.0, beta2=0.95)
    run = how.start("guide", loaded, config, loop)
    tunable = TunableBase(loaded, tuning, how.seed)
    tuner = GuidedTuner(loaded, tunable, corpus.documents, codes, batching.micro_tokens, base_weight)
    before = tuner.evaluate(held) if held else {}
    with Bar("guide") as bar:
        fit(
            run,
            tunable.model,
            tuner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, batching.batch_tokens, how.seed, epoch),
            epochs=batching.epochs,
            accumulate=tuner.accumulate,
            evaluate=lambda: tuner.evaluate(held) if held else {},
            progress=bar.step,
        )
    trained = tunable.size
    tunable.finish(how.output / "tuned")
    if codes is not None:
        _clone_again(loaded, corpus, codes, train, how, batching, clone_epochs, clone_lr)
    result = tuner.evaluate(held) if held else {}
    result.update({f"before_{key}": value for key, value in before.items() if key != "tokens"})
    finish("guide", loaded, how, config, result, trained_parameters=trained)


def _clone_again(
    loaded: Any, corpus: Any, codes: Any, train: list[int], how: Run, batching: Batches, epochs: int, lr: float
) -> None:
    """The policy learns to predict the frozen base's IDM codes from the tuned base's states."""
    from colasearch.training.data.corpus import batches
    from colasearch.training.latent_actions.cloning import PolicyCloner
    from colasearch.training.running.loop import fit

    modules = loaded.require_latents()
    part = dataclasses.replace(how, output=how.output / "clone", lr=lr, resume=True)
    loop = part.loop()
    run = part.start("clone", loaded, {"epochs": epochs}, loop)
    cloner = PolicyCloner(modules, states_of(loaded, corpus), batching.micro_tokens, codes, loaded.base)
    with Bar("clone") as bar:
        fit(
            run,
            modules,
            cloner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, batching.batch_tokens, how.seed, epoch),
            epochs=epochs,
            accumulate=cloner.accumulate,
            evaluate=dict,
            progress=bar.step,
        )
    modules.requires_grad_(False).eval()
