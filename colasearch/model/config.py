"""Shape of the latent modules and the identity of the base model they were trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from colasearch.errors import CorruptFileError

SCHEMA = 1
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
        return {"schema": SCHEMA, "model_type": "colasearch-latent", **asdict(self)}

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
        for f in fields(cls):
            value = getattr(config, f.name)
            if f.type == "int" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
                raise CorruptFileError(f"{where}: {f.name} is {value!r}; it must be a whole number >= 0")
        if config.tuned is not None and (config.tuned.kind not in ("lora", "weights") or "/" in config.tuned.file):
            raise CorruptFileError(
                f"{where}: tuned is {config.tuned!r}; its kind must be 'lora' or 'weights' and its file a plain name"
            )
        if config.output_form not in ("residual", "subtractive"):
            raise CorruptFileError(
                f"{where}: output_form is {config.output_form!r}; it must be 'residual' or 'subtractive'"
            )
        return config
