"""The base model: any causal LM of transformers, seen as hidden states, an output head and a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.adapter import merge_adapter
from colasearch.model.config import BaseIdentity
from colasearch.model.ends import chat_text, end_tokens
from colasearch.model.lean import can_slim, half_of_files, slim
from colasearch.model.output import OutputMap, try_model
from colasearch.model.packed import can_pack
from colasearch.model.quiet import quiet_transformers
from colasearch.model.sources import BaseFolder, Report, find_base, silent
from colasearch.model.spreading import SPREAD, first_of_all, is_spread, layout
from colasearch.model.tensors import check_tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm")


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA when there is one, else the CPU; ``spread`` is the first of all GPUs (``spreading.py``).

    Raises:
        PrerequisiteError: torch does not know the device, or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == SPREAD:
        return first_of_all()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PrerequisiteError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:N or {SPREAD}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise PrerequisiteError(f"device {name!r} was asked for, but torch sees no CUDA device; use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 on CUDA and float32 on a CPU (AVX2 machines run bfloat16 several times slower).

    ``packed`` is float32 arithmetic too; see ``pick_packed``.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name == "packed":
        return torch.float32
    if name not in DTYPES:
        raise PrerequisiteError(f"unknown dtype {name!r}; use auto, packed, {', '.join(DTYPES)}")
    return DTYPES[name]


def pick_packed(name: str, device: torch.device) -> bool:
    """Whether the engine packs linear weights in float16: ``packed``, and ``auto`` on a CPU that can.

    Raises:
        PrerequisiteError: ``packed`` was asked for where it does not exist.
    """
    if name not in ("auto", "packed"):
        return False
    possible = device.type == "cpu" and can_pack()
    if name == "packed" and not possible:
        raise PrerequisiteError(
            f"dtype packed was asked for on {device}, but it needs a CPU and a torch built with FBGEMM; "
            "use --dtype auto"
        )
    return possible


@dataclass(slots=True)
class BaseModel:
    """A frozen causal LM.

    Attributes:
        model: The transformers model.
        tokenizer: Its tokenizer.
        identity: Name, revision and SHA-256 of the weights.
        packed: Whether the engine runs it with linear weights packed in float16 (``model/packed.py``).
        compiled: Whether the engine runs it through ``torch.compile``.
        autocast: Whether training computes in bfloat16 though the weights are float32.
        run_only: Whether its weights are packed already and cannot be trained (``model/lean.py``).
        folder: Where its weights were read; None where they have been changed since.
        output: From the output head's products to logits; what the config declares where none is given.
    """

    model: Any
    tokenizer: Any
    identity: BaseIdentity
    packed: bool = False
    compiled: bool = False
    autocast: bool = False
    run_only: bool = False
    folder: Path | None = None
    output: OutputMap = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.output is None:
            self.output = OutputMap.candidates(self.model.config)[0]

    @classmethod
    def load(
        cls, name: str, device: str = "auto", dtype: str = "auto", report: Report = silent, *, run_only: bool = False
    ) -> BaseModel:
        """Find, check and load base model ``name`` (see ``sources.find_base``), frozen and in evaluation mode.

        With ``run_only`` the engine alone will use it: where it runs with packed weights, it has no others.

        Raises:
            PrerequisiteError: It cannot be found, or it is no causal LM that transformers knows.
            CorruptFileError: Its files are damaged.
        """
        torch_device = pick_device(device)
        torch_dtype = pick_dtype(dtype, torch_device)
        packed = pick_packed(dtype, torch_device)
        found = find_base(name, report)
        base = None
        if run_only and packed and found.adapter is None and (half := half_of_files(found.path)) is not None:
            base = cls._from_folder(found, torch_device, half, run_only=True)
        base = base or cls.from_folder(found, torch_device, torch_dtype, spread=device == SPREAD)
        base.packed = packed
        return base

    @classmethod
    def from_folder(
        cls, found: BaseFolder, device: torch.device, dtype: torch.dtype, *, spread: bool = False
    ) -> BaseModel:
        """Load the model in ``found``, onto ``device`` or over all GPUs, and try it on a few tokens.

        Raises:
            PrerequisiteError: It is no causal LM that transformers knows, or one that we cannot run or prompt.
            CorruptFileError: Its files are damaged, or are not those of its config.
        """
        base = cls._from_folder(found, device, dtype, run_only=False, spread=spread)
        assert base is not None
        return base

    @classmethod
    def _from_folder(
        cls, found: BaseFolder, device: torch.device, dtype: torch.dtype, *, run_only: bool, spread: bool = False
    ) -> BaseModel | None:
        """The same; None where ``run_only`` is asked for and the architecture does not allow it."""
        from safetensors import SafetensorError

        with quiet_transformers():
            from transformers import AutoModelForCausalLM, AutoTokenizer

            common = {"local_files_only": True, "trust_remote_code": False}
            try:
                tokenizer = AutoTokenizer.from_pretrained(str(found.path), **common)
                # Tensors of other shapes are reported with the others, by name.
                model, loading = AutoModelForCausalLM.from_pretrained(
                    str(found.path), dtype=dtype, use_safetensors=True, output_loading_info=True,
                    ignore_mismatched_sizes=True, device_map=layout(found.path, dtype) if spread else None, **common,
                )  # fmt: skip
            except SafetensorError as error:
                raise_disk(error, found.path)
                raise CorruptFileError(f"{found.path} has a damaged safetensors file: {error}") from None
            except (ValueError, OSError, KeyError) as error:
                raise_disk(error, found.path)
                first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise PrerequisiteError(
                    f"{found.path} cannot be loaded as a causal LM ({first[:200]}); the folder needs config.json, "
                    "tokenizer files and safetensors of an architecture that transformers knows"
                ) from None
        check_tensors(found.path, loading)
        _check_vocabulary(found, model, tokenizer)
        if found.adapter is not None:
            merge_adapter(model, found.adapter)
        model.requires_grad_(False).eval()
        if not is_spread(model):
            model.to(device)
        if run_only:
            if not can_slim(model):
                return None
            slim(model)
        try:
            output = OutputMap.of(model, try_model(model))
        except PrerequisiteError:
            if run_only:
                return None  # it reads weights that are packed now
            raise
        as_read = None if found.adapter is not None else found.path
        base = cls(model, tokenizer, found.identity, run_only=run_only, folder=as_read, output=output)
        # What every text needs fails here, rather than in the midst of a run.
        end_tokens(model, tokenizer)
        if getattr(tokenizer, "chat_template", None):
            chat_text(tokenizer, [{"role": "user", "content": "A question"}], answer_next=True)
        return base

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return cast(torch.device, self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the weights."""
        return cast(torch.dtype, self.model.dtype)

    @property
    def head(self) -> nn.Module:
        """The output head W_lm; its products are in the order of the logits, but not always equal to them."""
        return cast(nn.Module, self.model.get_output_embeddings())

    @property
    def hidden_size(self) -> int:
        """Width D of the last hidden state."""
        return int(self.head.in_features)  # type: ignore[arg-type]

    @property
    def vocab_size(self) -> int:
        """Rows of the output head."""
        return int(self.head.out_features)  # type: ignore[arg-type]

    @property
    def context_length(self) -> int:
        """Most tokens that the base can attend to."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 20)

    @property
    def end_id(self) -> int:
        """The token that training ends a text with; see ``ends.end_tokens``."""
        return end_tokens(self.model, self.tokenizer)[0]

    @property
    def end_ids(self) -> frozenset[int]:
        """All tokens after which nothing is decoded."""
        return frozenset(end_tokens(self.model, self.tokenizer))

    @property
    def final_norm(self) -> nn.Module:
        """The norm after the last layer, RMSNorm_f.

        Raises:
            PrerequisiteError: The architecture keeps it somewhere unknown.
        """
        for name in FINAL_NORMS:
            norm = getattr(self.model.base_model, name, None)
            if isinstance(norm, nn.Module):
                return norm
        raise PrerequisiteError(
            f"{type(self.model).__name__} has no final norm under any of {FINAL_NORMS}; use --output-form residual"
        )

    def apply_final_norm(self, states: Tensor) -> Tensor:
        """``final_norm`` of ``states`` ``[..., D]``."""
        return cast(Tensor, self.final_norm(states))

    def hidden(
        self, tokens: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, cache: Any = None
    ) -> Tensor:
        """Hidden states e ``[B, T, D]`` after the final norm, of ``tokens`` ``[B, T]``.

        Args:
            tokens: Token ids.
            mask: ``[B, cached + T]``, 1 for real tokens; None when all are.
            positions: ``[B, T]`` positions, needed with left padding.
            cache: A transformers ``Cache`` that holds the prefix and takes the new keys and values.
        """
        out = self.model.base_model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return cast(Tensor, out.last_hidden_state)

    def logits(self, states: Tensor) -> Tensor:
        """Float32 logits ``[..., V]`` of head inputs ``[..., D]``."""
        return self.output(self.head(states))


def _check_vocabulary(found: BaseFolder, model: Any, tokenizer: Any) -> None:
    """Tokens added beyond the embedding are never seen in practice; a whole vocabulary beyond it is another model's."""
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        raise CorruptFileError(
            f"{found.path}: the tokenizer has {tokenizer.vocab_size} tokens, the embedding {rows} rows; put the "
            "tokenizer files there that belong to these weights"
        )
