"""The model type ``colasearch`` of EleutherAI's lm-evaluation-harness (``pip install '.[lm-eval]'``).

Likelihoods are those of ``model.likelihood``: of the mixture of codes, or of the base's tokens. Texts are generated as
everywhere here: codes from the policy, and the most probable token under each; or tokens from the base.

lm-eval looks for model types in its own list only, so ``python -m colasearch.benchmarks.harness.lm_eval_model run ...``
adds this one and then is ``lm-eval run ...``; in Python importing this module is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from colasearch.benchmarks.harness.generating import Writing, write
from colasearch.errors import InputError
from colasearch.model.ends import chat_text, encode, first_tokens
from colasearch.model.latent_lm import LatentLM
from colasearch.model.likelihood import Under, likelihoods

AT_ONCE = 64
"""Requests between two reports of progress."""
MAX_NEW_TOKENS = 256
"""Longest generated text where a task says nothing."""


@register_model("colasearch")
class ColasearchLM(TemplateLM):  # type: ignore[misc]
    """A model with or without latent modules, as lm-eval sees one.

    Args:
        pretrained: Known name, checkpoint folder, base folder or hub name.
        on: ``codes``, ``tokens``, or ``auto``: codes where the model has them.
        device: As everywhere, e.g. ``cpu``.
        dtype: As everywhere.
        max_length: Most tokens of context and text [default: the base's].
        batch_size: Taken because lm-eval gives one; passes are cut by tokens.
        max_batch_size: The same.
        lm: A loaded model in place of ``pretrained``.
    """

    def __init__(
        self,
        pretrained: str = "",
        on: str = "auto",
        device: str | None = None,
        dtype: str = "auto",
        max_length: int | None = None,
        batch_size: Any = None,
        max_batch_size: Any = None,
        lm: LatentLM | None = None,
    ) -> None:
        super().__init__()
        if on not in ("auto", "codes", "tokens"):
            raise InputError(f"on={on} is none of auto, codes, tokens")
        if lm is None and not pretrained:
            raise InputError("no model is given; write --model_args pretrained=MODEL")
        self.lm = lm or LatentLM.from_pretrained(pretrained, device or "auto", dtype)
        self.under: Under = "tokens" if on == "tokens" or (on == "auto" and self.lm.latents is None) else "codes"
        self.tokenizer = self.lm.base.tokenizer
        self.max_length = min(int(max_length or 1 << 30), self.lm.base.context_length)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.lm.base.end_id

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: the tokenizer's first token, else the end token."""
        return (first_tokens(self.tokenizer) or [self.eot_token_id])[0]

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer in lm-eval's caches."""
        return str(self.lm.base.identity.name).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages as one prompt."""
        return chat_text(self.tokenizer, chat_history, answer_next=add_generation_prompt)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids; the tokenizer's first token is put before them unless that is not wanted or already there."""
        tokens = encode(self.tokenizer, string)
        first = first_tokens(self.tokenizer)
        wanted = add_special_tokens if add_special_tokens is not None else tokens[: len(first)] != first
        return [*first, *tokens] if wanted else tokens

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        from tqdm import tqdm

        found: list[tuple[float, bool]] = []
        with tqdm(total=len(requests), desc="loglikelihood", disable=disable_tqdm) as bar:
            for at in range(0, len(requests), AT_ONCE):
                part = requests[at : at + AT_ONCE]
                rows, starts = [], []
                for _said, context, text in part:
                    row = [*context, *text][-self.max_length :]  # what is too long loses its beginning, as in HFLM
                    rows.append(row)
                    starts.append(max(1, len(row) - len(text)))
                for request, one in zip(part, likelihoods(self.lm, rows, starts, self.under), strict=True):
                    found.append((one.total, one.greedy))
                    if request[0] is not None:
                        self.cache_hook.add_partial("loglikelihood", request[0], found[-1])
                bar.update(len(part))
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts: every token once, with as much before it as the context holds."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            (text,) = request.args
            for pair in utils.get_rolling_token_windows(
                token_list=encode(self.tokenizer, text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 1,
                context_len=1,
            ):
                windows.append((None, *utils.make_disjoint_window(pair)))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, (total, _) in zip(owners, self._loglikelihood_tokens(windows, disable_tqdm), strict=True):
            totals[owner] += total
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """One text for each request, without what stops it."""
        from tqdm import tqdm

        found: dict[int, str] = {}
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(i)
        with tqdm(total=len(requests), desc="generate_until", disable=disable_tqdm) as bar:
            for members in groups.values():
                writing = self._writing(requests[members[0]].args[1])
                room = self.max_length - writing.max_tokens
                for at in range(0, len(members), AT_ONCE):
                    part = members[at : at + AT_ONCE]
                    prompts = [self.tok_encode(requests[i].args[0])[-room:] for i in part]
                    for i, text in zip(part, write(self.lm, prompts, writing, first=at), strict=True):
                        found[i] = text
                        self.cache_hook.add_partial("generate_until", requests[i].args, text)
                    bar.update(len(part))
        return [found[i] for i in range(len(requests))]

    def _writing(self, asked: Mapping[str, Any]) -> Writing:
        until = asked.get("until") or []
        length = asked.get("max_gen_toks", asked.get("max_new_tokens", asked.get("max_tokens", MAX_NEW_TOKENS)))
        draws = bool(asked.get("do_sample", float(asked.get("temperature") or 0) > 0))
        return Writing(
            under=self.under,
            max_tokens=max(1, min(int(length), self.max_length - 1)),
            stops=(until,) if isinstance(until, str) else tuple(until),
            temperature=float(asked.get("temperature") or 1.0) if draws else 0.0,
            top_k=int(asked.get("top_k") or 0),
            top_p=float(asked.get("top_p") or 1.0),
        )


def main() -> None:
    """``lm-eval`` with this model type."""
    from lm_eval.__main__ import cli_evaluate

    torch.set_grad_enabled(False)
    cli_evaluate()


if __name__ == "__main__":
    main()
