"""What stands before and after a text for a tokenizer and its model: chat template, first tokens, end tokens."""

from __future__ import annotations

from typing import Any

from colasearch.errors import PrerequisiteError

ANSWER = "An answer"
"""What an assistant says where only the tokens around it are wanted."""
THOUGHT, THOUGHT_END = "<think>", "</think>"
"""What thinking models write around their reasoning; the answer stands behind it."""


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of ``text``, with no special tokens added."""
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def first_tokens(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before a plain text: the BOS token of Llama, Gemma and others; often nothing.

    A chat template writes it itself.
    """
    plain = encode(tokenizer, ANSWER)
    whole = [int(i) for i in tokenizer(ANSWER)["input_ids"]]
    for count in range(len(whole) - len(plain) + 1):
        if whole[count : count + len(plain)] == plain:
            return whole[:count]
    return []


def chat_text(tokenizer: Any, messages: list[dict[str, str]], *, answer_next: bool) -> str:
    """``messages`` laid out by the tokenizer's chat template.

    Raises:
        PrerequisiteError: The template raises an error.
    """
    try:
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=answer_next, tokenize=False))
    except Exception as error:  # a template is a program that came with the model
        reason = " ".join(str(error).split())[:200] or "no reason given"
        raise PrerequisiteError(
            f"the model's chat template cannot lay out {' and '.join(m['role'] for m in messages)} messages "
            f"({type(error).__name__}: {reason}); repair chat_template in the model's tokenizer files, or remove it to "
            "use plain prompts"
        ) from None


def turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template ends an assistant's turn with; None without template or token."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    messages = [{"role": "user", "content": "A question"}, {"role": "assistant", "content": ANSWER}]
    try:
        text = chat_text(tokenizer, messages, answer_next=False)
    except PrerequisiteError:
        return None  # a template for questions alone; how it lays these out is tried at the first prompt
    _, found, after = text.rpartition(ANSWER)
    tokens = encode(tokenizer, after.lstrip()) if found else []
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return tokens[0] if tokens and tokens[0] in special else None


def thinks(tokenizer: Any) -> bool:
    """Whether the model is made to reason between ``<think>`` and ``</think>`` before it answers.

    Its chat template writes one of them, or the vocabulary has ``</think>`` as a token of its own.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    if THOUGHT in template or THOUGHT_END in template:
        return True
    return THOUGHT_END in {str(token) for token in tokenizer.added_tokens_decoder.values()}


def opens_thought(tokenizer: Any) -> bool:
    """Whether the chat template begins the answer within a thought, so that the text itself has no ``<think>``."""
    if not getattr(tokenizer, "chat_template", None):
        return False
    prompt = chat_text(tokenizer, [{"role": "user", "content": "A question"}], answer_next=True)
    return prompt.rstrip().endswith(THOUGHT)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """All tokens that end a text, without repeats; what training ends a text with comes first.

    That is what the chat template ends an assistant's turn with, else the first one of the model's config, its
    generation config and the tokenizer. Configs come first because versions of transformers read the tokenizer of one
    folder differently. Numbers that are no token of the model are left out.

    Raises:
        PrerequisiteError: There is none.
    """
    found: list[int] = []
    for value in (
        turn_end(tokenizer),
        getattr(model.config.get_text_config(), "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        getattr(model.generation_config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found += [value] if isinstance(value, int) else list(value or [])
    size = model.get_output_embeddings().weight.shape[0]
    usable = [token for token in dict.fromkeys(found) if 0 <= token < size]
    if not usable:
        raise PrerequisiteError(
            f"the model names no end token (config.json, generation_config.json and the tokenizer have {found}, the "
            f"vocabulary {size} tokens), so no text would ever end; set eos_token_id in its config.json"
        )
    return usable
