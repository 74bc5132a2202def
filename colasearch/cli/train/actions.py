"""``colasearch train actions``: stage 1."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import click

from colasearch.cli.train.loading import load
from colasearch.cli.train.on_text import train_on_text
from colasearch.cli.train.options import (
    COUNT,
    batch_options,
    data_options,
    loop_options,
    mixture_option,
    states_option,
)
from colasearch.cli.train.settings import StageSettings

if TYPE_CHECKING:
    from colasearch.training.data.hidden_cache import States
    from colasearch.training.latent_actions.actions import ActionsConfig
    from colasearch.training.running.ranks import Ranks

DEPTH, WIDTH = click.IntRange(1, 64), click.IntRange(1, 1 << 18)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActionsSettings(StageSettings):
    """``colasearch train actions``: fields are named as the flags are."""

    model: str = "smollm2-135m"
    codes: int = 64
    output_form: Literal["residual", "subtractive"] = "residual"
    idm_layers: int = 1
    policy_layers: int = 2
    merge_layers: int | None = None
    merge_ffn: int | None = None
    idm_ffn: int | None = None
    policy_ffn: int | None = None
    temperature: float = 2.0
    final_temperature: float = 1.0
    entropy_weight: float = 0.001
    code_size: float = 0.5
    open_below: float | None = None
    certain_share: float = 0.1
    usage_weight: float = 0.02
    revive_every: int = 50
    keep_codes: bool = False

    def learning(self) -> ActionsConfig:
        """What the learner is told."""
        from colasearch.training.latent_actions.actions import ActionsConfig

        return ActionsConfig(
            self.temperature,
            self.final_temperature,
            self.entropy_weight,
            self.usage_weight,
            self.revive_every,
            self.micro_tokens,
        )

    def shape(self) -> dict[str, Any]:
        """Of new modules; sizes that are not given are left to them."""
        sizes = {name: getattr(self, name) for name in ("merge_layers", "merge_ffn", "idm_ffn", "policy_ffn")}
        return {
            "num_codes": self.codes,
            "output_form": self.output_form,
            "idm_layers": self.idm_layers,
            "policy_layers": self.policy_layers,
            **{name: size for name, size in sizes.items() if size is not None},
        }


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
@click.option(
    "--code-size",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    help="Size of the codes' vectors at the start, in that of the base's hidden states; 0: the published size.",
)
@click.option(
    "--open-below",
    type=click.FloatRange(0, 1, min_open=True),
    help="Learn mostly from transitions at which the base's likeliest token has a probability below this, such as "
    "0.95: for texts that the base wrote itself, of which it is as good as certain at most places [all count alike].",
)
@click.option(
    "--certain-share",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="With --open-below: share of the other transitions that count, too.",
)
@click.option("--usage-weight", default=0.02, show_default=True, help="Entropy of the marginal use of codes.")
@click.option("--revive-every", default=50, show_default=True, help="Steps between revivals of dead codes; 0: never.")
@click.option(
    "--keep-codes",
    is_flag=True,
    help="Go on from the model's own modules, as they are, on its base as it is; shape options do not apply. Its value "
    "and Q heads are left out.",
)
def command(**given: Any) -> None:
    """Stage 1: inverse dynamics model, codebook and merge head, with the base frozen.

    Several processes (torchrun, accelerate launch) share each batch and walk the same curve.

    Of a model whose base `train guide` has tuned (give it --base-weight 1), new codes are learned on the tuned base.
    """
    run(ActionsSettings(**given))


def run(settings: ActionsSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.model.latent_lm import new_latents
    from colasearch.training.latent_actions.actions import ActionLearner
    from colasearch.training.latent_actions.start import size_codes, state_size

    learning = settings.learning()
    loaded = load(settings.model, settings, parallel=True)
    shape = settings.shape()
    before = None if loaded.latents is None else loaded.latents.config
    if settings.keep_codes:
        modules, shape = _own_modules(loaded), {"keep_codes": True}
    else:
        modules = new_latents(loaded.base, settings.seed, **shape)
        if settings.code_size:
            size_codes(modules, settings.code_size * state_size(loaded.base, loaded.base.vocab_size))
        shape["code_size"] = settings.code_size
    if before is not None and before.tuned is not None:
        # The changes stay with the model, whose base is still the one that they change.
        tuned = dataclasses.replace(before.tuned, codes_after=True)
        stages = {kind: stage for kind, stage in before.training.items() if kind == "guide"}
        modules.config = dataclasses.replace(modules.config, base=before.base, tuned=tuned, training=stages)
    loaded.latents = modules
    if settings.open_below is not None:
        shape |= {"open_below": settings.open_below, "certain_share": settings.certain_share}
    config = {"model": settings.model, **shape, **dataclasses.asdict(learning)}

    def learner(states: States, codes: Any, ranks: Ranks) -> ActionLearner:
        weights = None
        if settings.open_below is not None:
            from colasearch.training.latent_actions.uncertain import weights_of

            weights = weights_of(
                loaded.base, states, settings.open_below, settings.certain_share,
                seed=settings.seed, batch_tokens=settings.micro_tokens,
            )  # fmt: skip
            counting = sum(int((weight > 0).sum()) for weight in weights)
            click.echo(f"{counting} transitions to learn codes from", err=True)
        return ActionLearner(modules, loaded.base, states, learning, settings.seed, ranks, weights)

    train_on_text("actions", loaded, settings, config, learner)


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
