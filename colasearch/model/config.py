"""Shape of the latent modules and the identity of the base model they were trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from colasearch.errors import CorruptFileError

SCHEMA = 1
MODEL_TYPE = "colasearch-latent"
"""What ``config.json`` says to tell our folders from others."""
BOUNDS: dict[str, tuple[float, float]] = {
    "hidden_size": (1, 1 << 17),
    "vocab_size": (1, 1 << 24),
    "num_codes": (1, 1 << 16),
    "num_heads": (1, 1 << 12),
    "num_kv_heads": (1, 1 << 12),
    "head_dim": (2, 1 << 12),
    "rope_theta": (1.0, 1e12),
    "norm_eps": (1e-12, 0.1),
    "idm_layers": (0, 64),
    "idm_ffn": (0, 1 << 20),
    "policy_layers": (0, 64),
    "policy_ffn": (0, 1 << 20),
    "merge_layers": (1, 64),
    "merge_ffn": (1, 1 << 20),
    "value_hidden": (0, 1 << 20),
}
"""Least and largest value of each number: far beyond any model, and such that no file lets memory or time run away."""
MAX_SCALE = 1e6
"""Largest scale of a low-rank change."""
_JSON_NAMES: dict[type, str] = {bool: "true or false", dict: "an object"}

OutputForm = Literal["residual", "subtractive"]


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """Which base weights the latent modules belong to.

    Attributes:
        name: Known name, hub name or folder.
        revision: Hub revision, wheel version or empty.
        sha256: SHA-256 of the weights file as it was fetched (before any conversion).
        weights_sha256: SHA-256 of the safetensors file that is loaded.
    """

    name: str
    revision: str = ""
    sha256: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True)
class TunedBase:
    """How the base's weights differ from those that ``BaseIdentity`` names: a file of the checkpoint folder.

    Attributes:
        kind: ``lora``: low-rank changes, W + scale * B A. ``weights``: tensors that take the place of the base's own.
        file: Its name in the folder.
        sha256: SHA-256 of the file.
        scale: alpha / rank of ``lora``.
        codes_after: The codes were learned on the changed base, so the IDM reads that; else the base as it was.
    """

    kind: Literal["lora", "weights"]
    file: str
    sha256: str
    scale: float = 1.0
    codes_after: bool = False


@dataclass(frozen=True, slots=True)
class LatentConfig:
    """Sizes of the latent modules.

    Attributes:
        base: The base model's identity.
        hidden_size: Width D of the base's last hidden state; the latent modules use the same width.
        vocab_size: Rows of the base's output head.
        num_codes: Number of latent actions K.
        num_heads, num_kv_heads, head_dim: Attention shape of the IDM's and the policy's blocks.
        rope_theta: Rotary base of those blocks.
        rope_scaling: How their rotary frequencies are scaled, as ``rope_parameters`` of a transformers config says it
            (``rope_type`` and its numbers); empty: not at all.
        norm_eps: Epsilon of their RMS norms.
        idm_layers, idm_ffn: Blocks of the inverse dynamics model, and the width of their MLPs. 0 blocks: no such model.
        policy_layers, policy_ffn: The same for the policy.
        merge_layers, merge_ffn: Merge MLPs of the world model's head, and their width.
        output_form: ``residual``: logits = W_lm · s_M. ``subtractive``: logits = W_lm · (RMSNorm_f(s_M) - e), as
            published (cola-spec section 1).
        value_hidden: Width of the value head's MLP; 0 when there is no value head.
        q_head: Whether a Q head exists.
        training: Settings and held-out measures of each training stage so far, for the model card.
        tuned: What guided fine-tuning changed in the base; None when it is as it was.
    """

    base: BaseIdentity
    hidden_size: int
    vocab_size: int
    num_codes: int = 64
    num_heads: int = 8
    num_kv_heads: int = 8
    head_dim: int = 64
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] = field(default_factory=dict)
    norm_eps: float = 1e-5
    idm_layers: int = 1
    idm_ffn: int = 0
    policy_layers: int = 2
    policy_ffn: int = 0
    merge_layers: int = 2
    merge_ffn: int = 0
    output_form: OutputForm = "residual"
    value_hidden: int = 0
    q_head: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    tuned: TunedBase | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json``."""
        return {"schema": SCHEMA, "model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "config.json") -> LatentConfig:
        """Read ``config.json``'s data.

        Raises:
            CorruptFileError: The schema is newer than ours, or a field is missing, unknown or of the wrong kind.
        """
        schema = data.get("schema")
        if schema != SCHEMA:
            raise CorruptFileError(
                f"{where} has schema {schema!r}; this version reads schema {SCHEMA}; "
                "upgrade colasearch, or save the model again with this version"
            )
        known = {f.name for f in fields(cls)}
        given = {k: v for k, v in data.items() if k not in ("schema", "model_type")}
        unknown = sorted(set(given) - known)
        if unknown:
            raise CorruptFileError(f"{where} has unknown fields {unknown}; known are {sorted(known)}")
        try:
            base = BaseIdentity(**given.pop("base"))
            tuned = given.pop("tuned", None)
            config = cls(base=base, tuned=None if tuned is None else TunedBase(**tuned), **given)
        except (KeyError, TypeError) as error:
            raise CorruptFileError(f"{where} is incomplete: {error}; save the model again") from None
        config._check(where)
        if config.tuned is not None and (config.tuned.kind not in ("lora", "weights") or "/" in config.tuned.file):
            raise CorruptFileError(
                f"{where}: tuned is {config.tuned!r}; its kind must be 'lora' or 'weights' and its file a plain name"
            )
        if config.output_form not in ("residual", "subtractive"):
            raise CorruptFileError(
                f"{where}: output_form is {config.output_form!r}; it must be 'residual' or 'subtractive'"
            )
        return config

    def _check(self, where: str) -> None:
        """Refuse numbers outside of ``BOUNDS``, and those that do not go together.

        Raises:
            CorruptFileError: Names field, value and bound.
        """
        for f in fields(self):
            if f.name not in BOUNDS:
                continue
            value, (least, most) = getattr(self, f.name), BOUNDS[f.name]
            kinds, what = ((int,), "a whole number") if f.type == "int" else ((int, float), "a number")
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
                raise CorruptFileError(
                    f"{where}: {f.name} is {_short(value)}; it must be {what} from {least:g} to {most:.10g}"
                )
        for name in ("idm", "policy"):
            if getattr(self, f"{name}_layers") and not getattr(self, f"{name}_ffn"):
                raise CorruptFileError(f"{where}: {name}_ffn is 0; with {name}_layers above 0 it must be at least 1")
        if self.num_heads % self.num_kv_heads:
            raise CorruptFileError(
                f"{where}: num_heads is {self.num_heads}; it must be a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise CorruptFileError(f"{where}: head_dim is {self.head_dim}; it must be an even number")
        for name, kind in (("q_head", bool), ("training", dict)):
            if not isinstance(getattr(self, name), kind):
                raise CorruptFileError(
                    f"{where}: {name} is {_short(getattr(self, name))}; it must be {_JSON_NAMES[kind]}"
                )
        _check_texts(self.base, ("name", "revision", "sha256", "weights_sha256"), f"{where}: base")
        if self.tuned is not None:
            _check_texts(self.tuned, ("kind", "file", "sha256"), f"{where}: tuned")
            scale = self.tuned.scale
            if isinstance(scale, bool) or not isinstance(scale, int | float) or not abs(scale) <= MAX_SCALE:
                raise CorruptFileError(
                    f"{where}: tuned.scale is {_short(scale)}; it must be a number from -{MAX_SCALE:g} to {MAX_SCALE:g}"
                )


def _check_texts(part: object, names: tuple[str, ...], where: str) -> None:
    for name in names:
        if not isinstance(value := getattr(part, name), str):
            raise CorruptFileError(f"{where}.{name} is {_short(value)}; it must be a text")


def _short(value: object) -> str:
    """A value as a message shows it: a file may hold numbers of a thousand digits."""
    text = f"{value:.3g}" if isinstance(value, int) and abs(value) >= 10**15 and abs(value) < 10**300 else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
