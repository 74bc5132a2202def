"""Texts that grow: what checks say of them is what reading them whole gives, at a flat cost a token."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from tiny import make_tokenizer
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from colasearch.engine.decoding.row import Rules
from colasearch.engine.settings import Choosing
from colasearch.engine.texts.choosing import RECENT, Checks
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.writing import WINDOW
from colasearch.tasks import behind_thought, get_task
from colasearch.verifiers import false_equation, in_result, infeasible_result, settled
from colasearch.verifiers.extract import boxed

PIECES = [
    "3", "12", " 4", "7", " + ", "+", " - ", " x ", " * ", " = ", "=", " =", "== ", "$", "$ ", "\\$5", "%", "(", ")",
    " (", " half of", " sum", " so", " it is", " apples", " x", ",", ", ", ".", ". ", "5.5", ".5", "1,000", ",000",
    "\n", "\n\n", ": ", ">", "<<", "\\", "times", " \\times ", " é", "→", "\\boxed{", "}", "{", " \\boxed 7", "'",
    "n't", " .", "€ ", "$\n", "3 + 4 = 8", "2 + 2 = 4", "2 + 2 = 4.",
]  # fmt: skip


def byte_level() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def thinking() -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    return tokenizer


def sentencepiece() -> PreTrainedTokenizerFast:
    """Words with ``▁`` for a blank, and single bytes, as Llama 2 and Gemma have them."""
    names = ["<end>", *(f"<0x{i:02X}>" for i in range(256)), *dict.fromkeys(p.replace(" ", "▁") for p in PIECES)]
    tokenizer = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def unknown() -> PreTrainedTokenizerFast:
    """A decoder about which nothing is known: texts are decoded whole."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.CTC()])
    return tokenizer


KINDS = {"bytes": byte_level, "thinking": thinking, "sentencepiece": sentencepiece, "unknown": unknown}


@pytest.fixture(scope="module", params=KINDS)
def ends(request) -> TextEnds:
    return TextEnds(KINDS[request.param](), frozenset({0}))


def tokens_of(ends: TextEnds, text: str, random_: random.Random) -> list[int]:
    """Tokens of ``text``, and now and then one of any kind."""
    tokenizer = ends.tokenizer
    vocabulary = tokenizer.get_vocab()
    name = text.replace(" ", "▁")
    if name in vocabulary and random_.random() < 0.8:
        return [vocabulary[name]]
    if "<0x41>" in vocabulary:
        return [vocabulary[f"<0x{byte:02X}>"] for byte in text.encode()]
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def a_text(ends: TextEnds, seed: int, pieces: int) -> list[int]:
    random_ = random.Random(seed)
    favoured = random_.sample(PIECES, random_.randint(2, len(PIECES)))
    tokens: list[int] = []
    for _ in range(pieces):
        if random_.random() < 0.03:
            tokens.append(random_.randrange(1, len(ends.tokenizer)))
        tokens += tokens_of(ends, random_.choice(favoured), random_)
    return tokens


@dataclass(frozen=True)
class Whole:
    """The checks as they were: each reads the whole text."""

    ends: TextEnds

    def said(self, tokens: list[int]) -> str:
        return self.ends.said(list(tokens))

    def finished(self, tokens: list[int]) -> bool:
        if tokens[-1] in self.ends.end_ids:
            return True
        return tokens[-1] in self.ends.closers and any(content for _, _, content in boxed(self.said(tokens)))

    def refuted(self, tokens: list[int], complete: bool) -> bool:
        return false_equation(behind_thought(self.said(tokens)), complete=complete) is not None

    def in_result(self, tokens: list[int]) -> bool:
        return in_result(self.ends.decode(tokens[-RECENT:])) and bool(self.said(tokens))

    def cannot_be(self, tokens: list[int]) -> bool:
        return infeasible_result(self.said(tokens)) or self.refuted(tokens, False)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(s, marks=pytest.mark.slow) for s in range(4, 25))])
def test_a_growing_text_is_judged_as_the_whole_text_is(ends, seed):
    checks, task, old = Checks(ends, Choosing()), get_task("math"), Whole(ends)
    rules = checks.rules(Rules(ends.is_boundary, ends.is_finished, 1, False, 0.5, record=ends.writing), task)
    tokens = a_text(ends, seed, 60)
    growing, begun = rules.record(()), []
    for token in tokens:
        begun.append(token)
        before = growing.fork()
        growing.append(token)
        assert rules.is_finished(growing) == old.finished(begun)
        false = old.refuted(begun, False)
        assert rules.is_refuted(growing) == false
        assert growing.text == ends.whole(begun)
        assert rules.is_checked(growing) == old.in_result(begun)
        assert checks.refute(task, growing.fork(), complete=True) == old.refuted(begun, True)
        assert checks._cannot_be(before, token) == old.cannot_be(begun)
        if false:  # nothing is asked of what follows: begin anew
            growing, begun = rules.record(()), []


@pytest.mark.parametrize("seed", [*range(32), *(pytest.param(s, marks=pytest.mark.slow) for s in range(32, 300))])
def test_what_is_settled_need_not_be_looked_at_again(seed):
    """Whatever is final, wherever the looks come, and in expressions longer than any that is judged."""
    random_ = random.Random(seed)
    favoured = random_.sample(PIECES, random_.randint(2, 12)) if seed % 4 else ["1", " + ", "+", " ", "2", " = "]
    text, start = "", 0
    for _ in range(260 if seed % 4 == 0 else 60):
        text += random_.choice(favoured)
        whole = false_equation(text, complete=False)
        assert false_equation(text, complete=False, start=start) == whole
        assert false_equation(text, start=start) == false_equation(text)
        assert infeasible_result(text, start=start) == infeasible_result(text)
        if whole is not None:
            break
        start = settled(text, start, random_.randint(start, len(text)))


def test_long_texts_settle():
    """Words, bare sums and one endless expression: what is looked at again stays short."""
    for piece in ("it is so ", "3 + 4 = 7\n", "1 + ", "so 2 + 2 = 4, "):
        text, start = "", 0
        for _ in range(600):
            text += piece
            start = settled(text, start, len(text))
        assert len(text) - start < 600, piece


def test_the_cost_of_a_token_does_not_grow_with_the_text(monkeypatch):
    """Counted: tokens that are decoded, and characters that are looked at for equations."""
    ends = TextEnds(byte_level(), frozenset({0}))
    checks, counted = Checks(ends, Choosing()), [0, 0]
    decode = ends.tokenizer.decode

    def counting(tokens, **how):
        counted[0] += len(tokens)
        return decode(tokens, **how)

    def looking(text, *, complete, start):
        counted[1] += len(text) - start
        return false_equation(text, complete=complete, start=start)

    monkeypatch.setattr(ends.tokenizer, "decode", counting)
    monkeypatch.setattr("colasearch.engine.texts.choosing.false_equation", looking)
    rules = checks.rules(
        Rules(ends.is_boundary, ends.is_finished, 1, False, 0.5, record=ends.writing), get_task("math")
    )
    growing, costs = rules.record(()), []
    while len(growing) < 2000:
        for byte in "She had {3} apples, so 3 + 4 = 7 and then more of them.\n" * 2:
            growing.append(ends.tokenizer(byte)["input_ids"][0])
            rules.is_finished(growing)
            assert not rules.is_refuted(growing)
            rules.is_checked(growing)
        costs.append(tuple(counted))
        counted[:] = 0, 0
    early, late = costs[1], costs[-1]
    assert late[0] <= 1.2 * early[0]
    assert late[1] <= 1.2 * early[1]


def test_a_text_that_begins_long_is_read_in_pieces_and_a_copy_goes_on_by_itself():
    ends = TextEnds(byte_level(), frozenset({0}))
    tokens = a_text(ends, 5, 200)
    one = ends.writing(tokens)
    assert one.text == ends.whole(tokens)
    assert len(one) - one.settled < 4 * WINDOW
    other = ends.writing(one)
    other.append(tokens[0])
    assert (len(one), len(other)) == (len(tokens), len(tokens) + 1)
    assert one.text == ends.whole(tokens)
    assert other.text == ends.whole([*tokens, tokens[0]])
