"""``colasearch train actions``: stage 1."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from colasearch.cli.train.common import (
    COUNT,
    Batches,
    Run,
    Source,
    Where,
    batch_options,
    data_options,
    load,
    loop_options,
    mixture_option,
    states_option,
    take,
    train_on_text,
)

DEPTH, WIDTH = click.IntRange(1, 64), click.IntRange(1, 1 << 18)


@click.command("actions")
@click.option("--model", default="smollm2-135m", show_default=True, help="Base: known name, folder or hub name.")
@data_options()
@loop_options(lr=1e-3)
@batch_options()
@states_option
@mixture_option
@click.option("--codes", type=COUNT, default=64, show_default=True, help="Size of the codebook.")
@click.option("--output-form", type=click.Choice(["residual", "subtractive"]), default="residual", show_default=True)
@click.option("--idm-layers", type=COUNT, default=1, show_default=True)
@click.option("--policy-layers", type=COUNT, default=2, show_default=True)
@click.option("--merge-layers", type=DEPTH, default=None, help="MLPs of the merge head [2].")
@click.option("--merge-ffn", type=WIDTH, default=None, help="Width of its MLPs [5/9 of the base's, in 32s].")
@click.option("--idm-ffn", type=WIDTH, default=None, help="Width of the inverse dynamics model's MLPs [the base's].")
@click.option("--policy-ffn", type=WIDTH, default=None, help="Width of the policy's MLPs [the base's].")
@click.option("--temperature", default=2.0, show_default=True, help="Gumbel-softmax temperature at the start.")
@click.option("--final-temperature", default=1.0, show_default=True, help="... and at the end.")
@click.option("--entropy-weight", default=0.001, show_default=True, help="Published per-token entropy term.")
@click.option("--usage-weight", default=0.02, show_default=True, help="Entropy of the marginal use of codes.")
@click.option("--revive-every", default=50, show_default=True, help="Steps between revivals of dead codes; 0: never.")
@click.option(
    "--keep-codes",
    is_flag=True,
    help="Go on from the model's own modules, as they are, on its base as it is; shape options do not apply. Its value "
    "and Q heads are left out.",
)
def command(
    model: str,
    keep_codes: bool,
    codes: int,
    output_form: str,
    idm_layers: int,
    policy_layers: int,
    merge_layers: int | None,
    merge_ffn: int | None,
    idm_ffn: int | None,
    policy_ffn: int | None,
    temperature: float,
    final_temperature: float,
    entropy_weight: float,
    usage_weight: float,
    revive_every: int,
    keep: str,
    mixture_positions: int,
    **common: Any,
) -> None:
    """Stage 1: inverse dynamics model, codebook and merge head, with the base frozen.

    Several processes (torchrun, accelerate launch) share each batch and walk the same curve.

    Of a model whose base `train guide` has tuned (give it --base-weight 1), new codes are learned on the tuned base.
    """
    from colasearch.model.latent_lm import new_latents
    from colasearch.training.latent_actions.actions import ActionLearner, ActionsConfig

    source, where = take(Source, common), take(Where, common)
    how, batching = take(Run, common), take(Batches, common)
    settings = ActionsConfig(
        temperature, final_temperature, entropy_weight, usage_weight, revive_every, batching.micro_tokens
    )
    loaded = load(model, where, parallel=True)
    shape: dict[str, Any] = {
        "num_codes": codes,
        "output_form": output_form,
        "idm_layers": idm_layers,
        "policy_layers": policy_layers,
    }
    sizes = {"merge_layers": merge_layers, "merge_ffn": merge_ffn, "idm_ffn": idm_ffn, "policy_ffn": policy_ffn}
    shape |= {name: size for name, size in sizes.items() if size is not None}
    before = None if loaded.latents is None else loaded.latents.config
    if keep_codes:
        modules, shape = _own_modules(loaded), {"keep_codes": True}
    else:
        modules = new_latents(loaded.base, how.seed, **shape)
    if before is not None and before.tuned is not None:
        # The changes stay with the model, whose base is still the one that they change.
        tuned = dataclasses.replace(before.tuned, codes_after=True)
        stages = {kind: stage for kind, stage in before.training.items() if kind == "guide"}
        modules.config = dataclasses.replace(modules.config, base=before.base, tuned=tuned, training=stages)
    loaded.latents = modules
    config = {"model": model, **shape, **dataclasses.asdict(settings)}
    train_on_text(
        "actions",
        loaded,
        source,
        where,
        how,
        batching,
        config,
        lambda states, codes, ranks: ActionLearner(modules, loaded.base, states, settings, how.seed, ranks),
        keep,
        mixture_positions,
    )


def _own_modules(lm: Any) -> Any:
    """The model's own modules, to go on training; heads that judge states of the base as it was are left out."""
    modules = lm.require_latents()
    if not modules.config.idm_layers:
        raise click.UsageError(
            f"{lm.name} has no inverse dynamics model, which stage 1 trains; leave out --keep-codes for new modules"
        )
    modules.value = modules.q = None
    modules.config = dataclasses.replace(modules.config, value_hidden=0, q_head=False)
    return modules
