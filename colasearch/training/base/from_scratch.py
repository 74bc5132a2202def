"""A small base model from scratch: a Llama of a few million parameters over characters.

Its tokenizer has a token for each character and one for each piece of fixed wording in Countdown's prompt, so that a
prompt costs about a dozen tokens. Cross-entropy of every token after the shared wording.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from colasearch.errors import InputError
from colasearch.model.base import BaseModel
from colasearch.model.config import BaseIdentity
from colasearch.model.quiet import quiet_transformers
from colasearch.problem import Problem
from colasearch.storage.files import folder_atomic
from colasearch.tasks import prompt_text
from colasearch.training.base.guidance import token_batch
from colasearch.training.data.corpus import Document, pack
from colasearch.training.running.loop import Metrics

END = "<end>"
UNKNOWN = "<unknown>"


def wording() -> list[str]:
    """The fixed parts of Countdown's prompt under both rules, as prompts without a chat template are laid out."""

    class Plain:
        chat_template = None

    marks = ("\ue000", "\ue001")
    parts = [", ", "\\boxed{"]
    for use in ({}, {"use": "all"}):
        problem = Problem("", "", "countdown", {"numbers": [marks[0]], "target": marks[1], **use})
        rest = prompt_text(Plain(), problem)
        for mark in marks:
            before, _, rest = rest.partition(mark)
            parts.append(before)
        parts.append(rest)
    return parts


def frequent_words(texts: Iterable[str], most: int) -> list[str]:
    """The ``most`` words that ``texts`` have most often, a blank before them belonging to them."""
    counts = Counter(word for text in texts for word in re.findall(r" ?[A-Za-z]+", text) if len(word) > 1)
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]]


def make_tokenizer(texts: Iterable[str], words: Sequence[str] = ()) -> Any:
    """A fast tokenizer of ``wording``, ``words`` and characters: printable ASCII, newline and those of ``texts``."""
    with quiet_transformers():
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        letters = sorted({"\n", *map(chr, range(32, 127)), *(c for text in texts for c in text)})
        pieces = sorted({*wording(), *words}, key=lambda piece: (-len(piece), piece))
        vocabulary = {word: i for i, word in enumerate([END, UNKNOWN, *pieces, *letters])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        pattern = "|".join([*(_escaped(piece) for piece in pieces), r"[\s\S]"])
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, eos_token=END, pad_token=END, unk_token=UNKNOWN,
            clean_up_tokenization_spaces=False,
        )  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def new_base(tokenizer: Any, seed: int, *, width: int, layers: int, heads: int, context: int) -> BaseModel:
    """A Llama with weights drawn by ``seed``.

    Raises:
        InputError: The heads do not divide the width into even parts.
    """
    if width % heads or (width // heads) % 2:
        raise InputError(f"width {width} and {heads} heads give no even head size; choose for example 192 and 6")
    with quiet_transformers():
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            # In eights: matrices of 682 columns are multiplied slower than those of 680 (docs/performance.md).
            intermediate_size=max(8, width // 3 * 8),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=width // heads,
            max_position_embeddings=context,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LlamaForCausalLM(config)
    return BaseModel(model, tokenizer, BaseIdentity("new"))


class BaseLearner:
    """Accumulates the gradients of next-token prediction; every weight trains.

    Args:
        base: Trained in place.
        documents: Texts.
        micro_tokens: Padded tokens in one pass.
        half: Compute passes in bfloat16 (always so on CUDA); the weights stay float32.
    """

    def __init__(
        self, base: BaseModel, documents: Sequence[Document], micro_tokens: int = 8192, half: bool = False
    ) -> None:
        self.base, self.documents, self.micro_tokens = base, documents, micro_tokens
        self.half = half or base.device.type == "cuda"
        base.model.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the base's."""
        return list(self.base.model.parameters())

    def _loss(self, indices: Sequence[int]) -> tuple[torch.Tensor, int]:
        tokens, valid = token_batch(self.documents, indices, self.base.device)
        with torch.autocast(self.base.device.type, torch.bfloat16, enabled=self.half):
            logits = self.base.logits(self.base.hidden(tokens)[:, :-1][valid])
        return F.cross_entropy(logits, tokens[:, 1:][valid]), int(valid.sum())

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch; returns the cross-entropy, nats a token."""
        total = sum(self.documents[i].counted for i in indices)
        cross_entropy = 0.0
        for micro in pack(self.documents, indices, self.micro_tokens):
            loss, count = self._loss(micro)
            (loss * (count / total)).backward()  # type: ignore[no-untyped-call]
            cross_entropy += float(loss.detach()) * count / total
        return {"ce": cross_entropy}

    @torch.no_grad()
    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Held-out cross-entropy, nats a token, and how many tokens it is over."""
        total, cross_entropy = 0, 0.0
        for micro in pack(self.documents, indices, self.micro_tokens):
            loss, count = self._loss(micro)
            cross_entropy += float(loss) * count
            total += count
        return {"ce": cross_entropy / max(1, total), "tokens": float(total)}


def save_base(base: BaseModel, folder: Path) -> None:
    """Write a base as a folder that ``BaseModel.load`` and transformers read; atomically."""
    with quiet_transformers(), folder_atomic(folder, replace=True) as temporary:
        base.model.save_pretrained(str(temporary))
        base.tokenizer.save_pretrained(str(temporary))
