"""Reward models: classifiers of transformers that score whole texts (``rm:NAME``) or their steps (``prm:NAME``).

They stand here, not in ``verifiers/rewards``, because verifiers know no model. Only safetensors are loaded, and no code
that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.model.base import pick_device, pick_dtype
from colasearch.model.ends import chat_text, encode, first_tokens
from colasearch.model.prefixes import Prefixes, can_be_read_in_parts
from colasearch.model.quiet import quiet_transformers
from colasearch.model.sources import find_base
from colasearch.model.tensors import check_tensors
from colasearch.verifiers.rewards.base import Item, Score, checked, plain
from colasearch.verifiers.rewards.spec import Spec
from colasearch.verifiers.rewards.steps import AGGREGATIONS, aggregate, steps_of

BATCH = 16
MEMORY = 512
"""MiB of keys and values that a process reward model keeps of what it has read."""
HEADS = {
    "rm": ("AutoModelForSequenceClassification", "ForSequenceClassification", "what TRL's RewardTrainer saves"),
    "prm": ("AutoModelForTokenClassification", "ForTokenClassification", "what TRL's PRMTrainer saves"),
    "shepherd": ("AutoModelForCausalLM", "ForCausalLM", "a causal LM that says + or - after each step"),
    "rlhflow": ("AutoModelForCausalLM", "ForCausalLM", "a causal LM that answers each step with + or -"),
    "qwen": ("", "ForProcessRewardModel", "what Qwen2.5-Math-PRM is"),
}
PROCESS_KINDS = ("trl", "shepherd", "qwen", "rlhflow")
QWEN_TAG = "<extra_0>"
"""Marks the end of a step for Qwen2.5-Math-PRM; a token of its own."""
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
"""What Qwen2.5-Math-PRM was trained to be told first."""
SHEPHERD_TAG = "ки"
"""Marks the end of a step for Math-Shepherd's model (Wang et al., arXiv 2312.08935)."""


@dataclass(slots=True)
class Classifier:
    """A loaded reward model.

    Attributes:
        model: The transformers model.
        tokenizer: Its tokenizer.
        batch: Most texts in one pass.
        length: Most tokens of a text with its problem.
        columns: Logits that are wanted; None: all.
        prefixes: What it has read, where that is kept.
    """

    model: Any
    tokenizer: Any
    batch: int
    length: int
    columns: tuple[int, ...] | None = None
    prefixes: Prefixes | None = None

    @classmethod
    def load(cls, spec: Spec, kind: str) -> Classifier:
        """Find and load the model of a spec.

        Raises:
            PrerequisiteError: There is none, or it is of another kind.
            CorruptFileError: Its files are damaged or incomplete.
        """
        import transformers
        from safetensors import SafetensorError

        device = pick_device(spec.options.get("device", "auto"))
        dtype = pick_dtype(spec.options.get("dtype", "auto"), device)
        folder = find_base(spec.name).path
        auto, architecture, about = HEADS[kind]
        common = {"local_files_only": True, "trust_remote_code": False}
        with quiet_transformers():
            try:
                config = transformers.AutoConfig.from_pretrained(str(folder), **common)
                made = ", ".join(config.architectures or ["nothing"])
                if not any(name.endswith(architecture) for name in config.architectures or []):
                    raise PrerequisiteError(f"{spec.text}: {folder} is {made}; it must be {architecture}, {about}")
                tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **common)
                model, loading = _loader(auto).from_pretrained(
                    str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True,
                    ignore_mismatched_sizes=True, **common,
                )  # fmt: skip
            except SafetensorError as error:
                raise_disk(error, folder)
                raise CorruptFileError(f"{folder} has a damaged safetensors file: {error}") from None
            except (ValueError, OSError, KeyError) as error:
                raise_disk(error, folder)
                raise PrerequisiteError(f"{spec.text} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
        check_tensors(folder, loading)
        context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 20)
        length = int(spec.number("length", context, 1))
        model.requires_grad_(False).eval().to(device)
        return cls(model, tokenizer, int(spec.number("batch", BATCH, 1)), min(length, context))

    def keep(self, most: int) -> None:
        """Keep up to ``most`` bytes of what is read, if the model can go on from there."""
        if most and can_be_read_in_parts(self.model):
            self.prefixes = Prefixes(self.model, most, self.columns)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]]) -> list[Tensor]:
        """What the model says of each row of tokens: ``[C]`` of a sequence classifier, else ``[T, C]``; in float32.

        Rows with alike many tokens to read share a pass, padded on the right.
        """
        found: list[Tensor | None] = [None] * len(rows)
        unread = len if self.prefixes is None else self.prefixes.unread
        order = sorted(range(len(rows)), key=lambda i: unread(rows[i]))
        for at in range(0, len(order), self.batch):
            part = order[at : at + self.batch]
            for i, logits in zip(part, self._pass([rows[i] for i in part]), strict=True):
                found[i] = logits
        return [row for row in found if row is not None]

    def _pass(self, rows: Sequence[Sequence[int]]) -> Sequence[Tensor]:
        pad = self.padding
        if self.prefixes is not None:
            return self.prefixes.logits(rows, pad)
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        device = self.model.device
        out = self.model(input_ids=tokens.to(device), attention_mask=mask.to(device), use_cache=False).logits
        if self.columns is not None:
            out = out[..., list(self.columns)]
        said = out.float().cpu()
        return list(said) if out.dim() == 2 else [row[: len(given)] for row, given in zip(said, rows, strict=True)]

    @property
    def padding(self) -> int:
        """The token that fills rows up; a sequence classifier looks for the last token that is another."""
        config = self.model.config.get_text_config()
        config.pad_token_id = padding_token(self.model.config, self.tokenizer)
        return int(config.pad_token_id)

    def too_long(self, row: Sequence[int]) -> Score | None:
        """The score of a row that has no room, else None."""
        if len(row) <= self.length:
            return None
        return Score(
            None, f"problem and text have {len(row)} tokens; the reward model takes {self.length}", failed=True
        )


def _loader(auto: str) -> Any:
    """The class that loads a model: one of transformers, or ours where it has none."""
    import transformers

    if auto:
        return getattr(transformers, auto)
    from colasearch.model.process_heads import QwenProcessModel

    return QwenProcessModel


def padding_token(config: Any, tokenizer: Any) -> int:
    """The token that fills rows up: the config's, else the tokenizer's, else its end token, else 0."""
    candidates = (config.get_text_config().pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((int(token) for token in candidates if isinstance(token, int)), 0)


def conversation_tokens(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """What a reward model reads: ``messages``, the last of them the text that is scored.

    They go through the tokenizer's chat template; without one they stand with line breaks between them, and the end
    token after them.
    """
    if getattr(tokenizer, "chat_template", None):
        return encode(tokenizer, chat_text(tokenizer, messages, answer_next=False))
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    text = "\n".join(message["content"] for message in messages)
    return [*first_tokens(tokenizer), *encode(tokenizer, text), *end]


class OutcomeModel:
    """``rm:NAME``: one score for problem and text, by a sequence classifier with one output.

    The score goes through the spec's rule, by default the sigmoid: under Bradley-Terry it is the chance that this text
    is preferred to one whose score is 0. Problem and text are laid out by the chat template of the model's tokenizer,
    as a user's and an assistant's message; without one they stand with a line break between them and the end token
    after them.
    """

    def __init__(self, spec: Spec) -> None:
        self.name, self.scale = spec.text, spec.options.get("scale", "sigmoid")
        self.classifier = Classifier.load(spec, "rm")
        labels = int(self.classifier.model.config.num_labels)
        if labels != 1:
            raise PrerequisiteError(f"{spec.text} has {labels} outputs; a reward model has one (num_labels=1)")

    def tokens(self, item: Item, text: str) -> list[int]:
        """What the model reads."""
        said = [{"role": "user", "content": plain(item).text}, {"role": "assistant", "content": text}]
        return conversation_tokens(self.classifier.tokenizer, said)

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text; see ``RewardSource``."""
        rows = [self.tokens(item, text) for item, text in zip(problems, texts, strict=True)]
        scores = [self.classifier.too_long(row) for row in rows]
        fitting = iter(self.classifier.logits([row for row, score in zip(rows, scores, strict=True) if score is None]))
        return [checked(next(fitting).item(), self.scale) if score is None else score for score in scores]


class ProcessModel:
    """``prm:NAME``: the chance that each step of a text is right, and one number of these (``aggregation``).

    - ``?kind=trl`` (default): a token classifier with two labels, read as TRL's PRMTrainer trains it: the problem, then
      each step with the separator after it; the value of a step is the probability of label 1 at the separator's last
      token. With one label it is the sigmoid.
    - ``?kind=shepherd``: a causal LM that judges each step by ``+`` or ``-`` at the tag after it: Math-Shepherd's.
    - ``?kind=qwen``: Qwen2.5-Math-PRM, whose head of two layers judges each step at the token ``<extra_0>`` after it,
      in an assistant's message behind the system text that it was trained with.
    - ``?kind=rlhflow``: a causal LM that is told each step in a user's message and answers ``+`` or ``-``: RLHFlow's;
      the chance of ``+`` where its answer would begin, all earlier answers being ``+``.

    Steps are the parts of the text between separators (``separator``, by default a line break, for Qwen's two); an
    unfinished last step counts as one. A text without any step has no value.
    """

    def __init__(self, spec: Spec) -> None:
        self.name = spec.text
        self.kind = spec.one_of("kind", PROCESS_KINDS, "trl")
        usual = "\n\n" if self.kind == "qwen" else "\n"
        self.separator = spec.options.get("separator", usual).replace("\\n", "\n")
        self.aggregation = spec.one_of("aggregation", AGGREGATIONS, "min")
        if not self.separator:
            raise InputError(f"separator in {spec.text!r} is empty; give what stands between steps, as %0A")
        self.classifier = Classifier.load(spec, "prm" if self.kind == "trl" else self.kind)
        tokenizer = self.classifier.tokenizer
        if self.kind in ("shepherd", "rlhflow"):
            self.tag, good, bad = (encode(tokenizer, word)[-1] for word in (SHEPHERD_TAG, "+", "-"))
            self.classifier.columns = (bad, good)
        elif self.kind == "trl" and int(self.classifier.model.config.num_labels) not in (1, 2):
            labels = int(self.classifier.model.config.num_labels)
            raise PrerequisiteError(f"{spec.text} has {labels} labels; a process reward model has two: wrong, right")
        if self.kind == "qwen" and len(encode(tokenizer, QWEN_TAG)) != 1:
            raise PrerequisiteError(
                f"{spec.text}: {QWEN_TAG} is no single token of its tokenizer; put the tokenizer files there that "
                "belong to the model"
            )
        if self.kind in ("qwen", "rlhflow") and not getattr(tokenizer, "chat_template", None):
            raise PrerequisiteError(f"{spec.text} has no chat template, which ?kind={self.kind} needs")
        self.classifier.keep(int(spec.number("memory", MEMORY) * 2**20))

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text; see ``RewardSource``."""
        return [
            Score(None, "the text has no step") if values == [] else _aggregated(values, self.aggregation)
            for values in self.steps(problems, texts)
        ]

    def steps(self, problems: Sequence[Item], texts: Sequence[str]) -> list[list[float] | Score]:
        """The value of every step of each text; why there are none, where something is wrong."""
        read = {"trl": self._trl_row, "shepherd": self._shepherd_row, "qwen": self._qwen_row}.get(
            self.kind, self._rlhflow_row
        )
        rows = [read(plain(item).text, text) for item, text in zip(problems, texts, strict=True)]
        failed = [self.classifier.too_long(tokens) for tokens, _ in rows]
        wanted = [tokens for (tokens, at), fail in zip(rows, failed, strict=True) if at and fail is None]
        logits = iter(self.classifier.logits(wanted))
        found: list[list[float] | Score] = []
        for (_, at), fail in zip(rows, failed, strict=True):
            found.append(fail if fail is not None else self._values(next(logits)[at]) if at else [])
        return found

    @staticmethod
    def _values(logits_SC: Tensor) -> list[float]:
        if logits_SC.shape[-1] == 1:
            return [float(v) for v in logits_SC[:, 0].sigmoid()]
        return [float(v) for v in logits_SC.softmax(-1)[:, 1]]

    def _trl_row(self, problem: str, text: str) -> tuple[list[int], list[int]]:
        """Tokens, and the places of the steps' values."""
        tokenizer = self.classifier.tokenizer
        begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        tokens = [*begin, *encode(tokenizer, problem)]
        after, places = encode(tokenizer, self.separator), []
        for step in steps_of(text, self.separator):
            tokens += [*encode(tokenizer, step), *after]
            places.append(len(tokens) - 1)
        return tokens, places

    def _shepherd_row(self, problem: str, text: str) -> tuple[list[int], list[int]]:
        tokenizer = self.classifier.tokenizer
        body = "\n".join(f"{step} {SHEPHERD_TAG}" for step in steps_of(text, self.separator))
        tokens = [*first_tokens(tokenizer), *encode(tokenizer, f"{problem} {body}")]
        return tokens, [place for place, token in enumerate(tokens) if token == self.tag]

    def _qwen_row(self, problem: str, text: str) -> tuple[list[int], list[int]]:
        tokenizer = self.classifier.tokenizer
        steps = steps_of(text, self.separator)
        said = [
            {"role": "system", "content": QWEN_SYSTEM},
            {"role": "user", "content": problem},
            {"role": "assistant", "content": "".join(step.strip() + QWEN_TAG for step in steps)},
        ]
        tokens = encode(tokenizer, chat_text(tokenizer, said, answer_next=False))
        (tag,) = encode(tokenizer, QWEN_TAG)
        # A problem may hold the tag, too; the text's own are the last ones.
        places = [place for place, token in enumerate(tokens) if token == tag]
        return tokens, places[len(places) - len(steps) :]

    def _rlhflow_row(self, problem: str, text: str) -> tuple[list[int], list[int]]:
        """Laid out turn by turn, so that each place is the last one before an answer."""
        tokenizer = self.classifier.tokenizer
        said: list[dict[str, str]] = []
        tokens: list[int] = []
        places, before = [], ""
        for number, step in enumerate(steps_of(text, self.separator)):
            said.append({"role": "user", "content": step if number else f"{problem} {step}"})
            layout = chat_text(tokenizer, said, answer_next=True)
            if not layout.startswith(before):
                raise PrerequisiteError(
                    f"{self.name}: its chat template lays a conversation out anew when it grows; ?kind=rlhflow needs "
                    "one that only adds to it"
                )
            tokens += encode(tokenizer, layout[len(before) :])
            places.append(len(tokens) - 1)
            before = layout
            said.append({"role": "assistant", "content": "+"})
        return tokens, places


def _aggregated(values: list[float] | Score, how: str) -> Score:
    return values if isinstance(values, Score) else checked(aggregate(values, how))
