"""A GGUF file as a folder with safetensors: llama.cpp's quantised weights in half precision, once.

transformers knows the names and layouts (``modeling_gguf_pytorch_utils``), the gguf package the block formats. Tensors
are taken one at a time and written in shards, so the memory needed is that of a shard and a tensor, not of the model.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.quiet import quiet_transformers
from colasearch.storage.files import write_json

SHARD_BYTES = 1 << 28
"""A shard is written once it has this many bytes."""
SMALL = 1 << 20
"""Tensors of at most this many elements stay float32 until transformers' changes (adding or taking 1) are made."""
PIECE = 1 << 23
"""Elements that are dequantised at a time."""
LARGEST_FLOAT16 = 65504.0
END_TEXTS = frozenset(
    ["<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>",
     "<turn|>", "<end_of_utterance>", "<|return|>", "<|call|>", "<EOT>", "_<EOT>", "< EOT >"]
)  # fmt: skip
"""Control tokens that end a text whatever the file calls its end token, as in llama.cpp's llama-vocab.cpp."""
CONTROL, USER_DEFINED = 3, 4
"""Kinds of tokens in ``tokenizer.ggml.token_type``."""
LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""How all Llama 3.1, 3.2 and 3.3 models stretch their positions; a GGUF file holds only what comes of it."""
READ_ERRORS = (ValueError, KeyError, IndexError, TypeError, OverflowError, AttributeError, StopIteration)
"""What damaged bytes make of the gguf package and of transformers' reader."""


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the GGUF model as half-precision safetensors with config and tokenizer into ``folder``.

    Raises:
        CorruptFileError: The file is damaged, cut off, or its tensors are not those of its architecture.
        PrerequisiteError: An architecture, tokenizer or block format that cannot be read, or no causal LM.
    """
    reader = _open(gguf)
    # The conversion draws a progress bar of its own, whatever transformers' setting is.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        config, model = _architecture(gguf, reader)
        tokenizer = _tokenizer(gguf)
    _write_weights(gguf, reader, model, folder)
    written = config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        written.pop(key, None)
    written.update(architectures=[type(model).__name__], dtype="float16")
    write_json(folder / "config.json", written)
    tokenizer.save_pretrained(str(folder))
    ends = end_ids(reader)
    if ends:
        write_json(folder / "generation_config.json", {"eos_token_id": ends})


def end_ids(reader: Any) -> list[int]:
    """The tokens of a GGUF file that end a text: its declared ones first, then control tokens of known texts."""
    declared = [_field(reader, f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    kinds = _field(reader, "tokenizer.ggml.token_type") or []
    texts = _field(reader, "tokenizer.ggml.tokens") or []
    known = [
        number
        for number, (kind, text) in enumerate(zip(kinds, texts, strict=False))
        if kind in (CONTROL, USER_DEFINED) and text in END_TEXTS
    ]
    return list(dict.fromkeys(int(number) for number in [*declared, *known] if number is not None))


def _field(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


def _open(gguf: Path) -> Any:
    """A reader of the file, whose architecture and tensors it could make out."""
    from gguf import GGUFReader

    with gguf.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise CorruptFileError(f"{gguf} is no GGUF file (it does not begin with GGUF); fetch it again")
    try:
        reader = GGUFReader(str(gguf))
        if not isinstance(_field(reader, "general.architecture"), str):
            raise ValueError("general.architecture is missing")
    except READ_ERRORS as error:
        raise_disk(error, gguf)
        raise CorruptFileError(
            f"{gguf} is damaged or cut off ({_first_line(error)}); fetch it again and compare its SHA-256"
        ) from None
    return reader


def _architecture(gguf: Path, reader: Any) -> tuple[Any, Any]:
    """The config that transformers makes of the file's fields, and its model without memory."""
    from transformers import AutoConfig, AutoModelForCausalLM

    architecture = _field(reader, "general.architecture")
    advice = "give the model as a folder or hub name with safetensors instead"
    try:
        config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name, local_files_only=True)
    except (*READ_ERRORS, OSError, NotImplementedError) as error:
        raise_disk(error, gguf)
        raise PrerequisiteError(
            f"{gguf}: transformers cannot read a GGUF file of architecture {architecture!r} ({_first_line(error)}); "
            + advice
        ) from None
    stretch = _field(reader, f"{architecture}.rope.scaling.type")
    if stretch not in (None, "none") and (config.rope_parameters or {}).get("rope_type", "default") == "default":
        raise PrerequisiteError(
            f"{gguf} stretches its positions (rope scaling {stretch!r}), which transformers does not read from a GGUF "
            f"file; {advice}"
        )
    _set_llama3_rope(gguf, reader, config, advice)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except READ_ERRORS as error:
        raise PrerequisiteError(
            f"{gguf} of architecture {architecture!r} is no causal LM that transformers knows ({_first_line(error)}); "
            "choose a decoder-only model"
        ) from None
    return config, model


def _set_llama3_rope(gguf: Path, reader: Any, config: Any, advice: str) -> None:
    """Put the position stretching of Llama 3.1 into ``config``: llama.cpp keeps it as a tensor of divisors."""
    found = next((t for t in reader.tensors if t.name == "rope_freqs.weight"), None)
    if found is None:
        return
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    divisors = torch.from_numpy(np.array(found.data, dtype=np.float32))
    theta = config.rope_parameters["rope_theta"]
    trial = {"rope_type": "llama3", "rope_theta": theta, "factor": float(divisors.max()), **LLAMA3_ROPE}
    before = theta ** (-torch.arange(len(divisors)) / len(divisors))
    config.rope_parameters = trial
    after, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    if after.shape != divisors.shape or not torch.allclose(before / divisors, after, rtol=1e-3):
        raise PrerequisiteError(
            f"{gguf} divides its position frequencies by numbers (rope_freqs.weight) that are not those of Llama 3.1 "
            f"to 3.3; {advice}"
        )


def _tokenizer(gguf: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, local_files_only=True, trust_remote_code=False
        )
    except (*READ_ERRORS, OSError, NotImplementedError, ImportError) as error:
        raise_disk(error, gguf)
        raise PrerequisiteError(
            f"{gguf}: transformers cannot read its tokenizer ({_first_line(error)}); give the model as a folder or hub "
            "name with safetensors and tokenizer files instead"
        ) from None


def _write_weights(gguf: Path, reader: Any, model: nn.Module, folder: Path) -> None:
    """Dequantise all tensors into shards in ``folder``, and see that they are exactly the model's."""
    shards = _Shards(folder)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    tied = (
        set(getattr(model, "_tied_weights_keys", None) or ())
        if getattr(model.config, "tie_word_embeddings", False)
        else set()
    )
    for name, tensor in _tensors(gguf, reader, model):
        if name in tied:
            continue
        if tuple(tensor.shape) != wanted.get(name):
            raise CorruptFileError(
                f"{gguf}: tensor {name} has shape {tuple(tensor.shape)}, its architecture wants {wanted.get(name)}; "
                "fetch the file again"
            )
        shards.add(name, tensor)
    missing = sorted(wanted.keys() - shards.places.keys() - tied)
    if missing:
        raise CorruptFileError(
            f"{gguf} lacks {len(missing)} tensors of its architecture ({', '.join(missing[:4])}); fetch it again"
        )
    shards.close()


def _tensors(gguf: Path, reader: Any, model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameter names of transformers and half-precision values, in the file's order."""
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    processor = TENSOR_PROCESSORS.get(_field(reader, "general.architecture"), TensorProcessor)(
        config=model.config.to_dict()
    )
    try:
        names = get_gguf_hf_weights_map(model, processor)
    except NotImplementedError as error:
        raise PrerequisiteError(f"{gguf}: {_first_line(error)}; install a newer gguf package") from None
    together: dict[str, dict[str, Tensor]] = {"tensors": {}}  # what transformers merges of several: experts
    unknown = []
    for found in reader.tensors:
        kept = len(together["tensors"])
        done = processor.process(
            weights=_values(gguf, found), name=found.name, tensor_key_mapping=names, parsed_parameters=together
        )
        if done.name in names:
            yield names[done.name], _half(torch.from_numpy(np.ascontiguousarray(done.weights)), found)
        elif done.name is not None and len(together["tensors"]) == kept and found.name != "rope_freqs.weight":
            unknown.append(found.name)
    if unknown:
        raise PrerequisiteError(
            f"{gguf} has {len(unknown)} tensors that transformers does not know for this architecture "
            f"({', '.join(unknown[:4])}), and would be another model without them; give a folder or hub name instead"
        )
    yield from together["tensors"].items()


def _values(gguf: Path, found: Any) -> np.ndarray[Any, Any]:
    """The dequantised elements of a tensor: float32 where it is small or float16 cannot hold it, else float16."""
    from gguf import dequantize

    shape = tuple(int(n) for n in reversed(found.shape))
    data = found.data.reshape(math.prod(shape[:-1]), -1)
    rows = max(1, PIECE // shape[-1])
    small = math.prod(shape) <= SMALL
    out = np.empty((len(data), shape[-1]), np.float32 if small else np.float16)
    for start in range(0, len(data), rows):
        try:
            piece = dequantize(data[start : start + rows], found.tensor_type)
        except NotImplementedError:
            raise PrerequisiteError(
                f"{gguf}: tensor {found.name} is in the block format {found.tensor_type.name}, which the gguf package "
                "cannot read; take a file in Q4_0 to Q8_0, a K quant, F16 or F32"
            ) from None
        if not np.isfinite(piece).all():
            raise CorruptFileError(f"{gguf}: tensor {found.name} holds numbers that are not finite; fetch it again")
        if out.dtype == np.float16 and max(piece.max(), -piece.min()) > LARGEST_FLOAT16:
            out = out.astype(np.float32)
        out[start : start + len(piece)] = piece
    return out.reshape(shape)


def _half(values: Tensor, found: Any) -> Tensor:
    """``values`` in float16; bfloat16 where the file has that, and float32 where float16 would be infinite."""
    if found.tensor_type.name == "BF16":
        return values.to(torch.bfloat16)
    fits = values.dtype == torch.float16 or float(values.abs().max()) <= LARGEST_FLOAT16
    return values.to(torch.float16) if fits else values


class _Shards:
    """Writes tensors into safetensors files of bounded size, with the index that transformers reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting: dict[str, Tensor] = {}
        self.size = self.total = self.count = 0
        self.places: dict[str, int] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Take a tensor; what has gathered is written when it is enough."""
        self.waiting[name] = tensor
        self.places[name] = self.count
        self.size += tensor.nbytes
        self.total += tensor.nbytes
        if self.size >= SHARD_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest; one shard is ``model.safetensors``, several have an index."""
        if self.waiting:
            self._flush()
        if self.count == 1:
            self._path(0).rename(self.folder / "model.safetensors")
            return
        final = [f"model-{i + 1:05}-of-{self.count:05}.safetensors" for i in range(self.count)]
        for i, name in enumerate(final):
            self._path(i).rename(self.folder / name)
        index = {
            "metadata": {"total_size": self.total},
            "weight_map": {name: final[place] for name, place in self.places.items()},
        }
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")

    def _flush(self) -> None:
        from safetensors.torch import save_file

        save_file(self.waiting, str(self._path(self.count)), metadata={"format": "pt"})
        self.waiting, self.size, self.count = {}, 0, self.count + 1

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number}.safetensors"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
