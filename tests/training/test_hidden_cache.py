"""The cache of hidden states: two processes at once, another element type, another corpus, a cut computation."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from colasearch.model.base import BaseModel
from colasearch.training.data import hidden_cache
from colasearch.training.data.corpus import Corpus, Document
from colasearch.training.data.hidden_cache import hidden_states


class Idle(BaseModel):
    """A base that must not run."""

    def hidden(self, *args: object, **named: object) -> torch.Tensor:
        raise AssertionError("computed what another process has computed")


def idle(base: BaseModel) -> BaseModel:
    return Idle(base.model, base.tokenizer, base.identity)


def corpus(name: str, count: int = 12) -> Corpus:
    return Corpus([Document(tuple(range(1, 5 + i % 4)), 1) for i in range(count)], name)


def quiet(done: int, total: int) -> None:
    return None


def test_a_second_process_waits_and_reads_what_the_first_computed(base, monkeypatch):
    """Without a lock the second one emptied the file under the first. (The lock is of open files, not of processes.)"""
    monkeypatch.setattr(hidden_cache, "WAIT_S", 0.01)
    texts = corpus("two at once")
    begun, waits = threading.Event(), threading.Event()

    def first(done: int, total: int) -> None:
        begun.set()
        assert waits.wait(60)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(hidden_states, base, texts, first, None, 16)
        assert begun.wait(60)
        two = pool.submit(hidden_states, idle(base), texts, lambda done, total: waits.set(), None, 16)
        found = [future.result(60) for future in (one, two)]
    for i, document in enumerate(texts.documents):
        wanted = base.hidden(torch.tensor([document.tokens]))[0]
        for states in found:
            torch.testing.assert_close(states.of(i), wanted, atol=2e-2, rtol=1e-3)


def test_states_of_another_element_type_are_others(base, base_folder):
    half = BaseModel.load(str(base_folder), "cpu", "bfloat16")
    texts = corpus("two types")
    rounded = np.array(hidden_states(half, texts, quiet).hidden)
    exact = np.array(hidden_states(base, texts, quiet).hidden)
    assert not np.array_equal(rounded, exact)
    assert np.array_equal(hidden_states(idle(base), texts, quiet).hidden, exact)


def test_a_given_folder_is_not_believed_for_another_corpus_and_its_readers_keep_theirs(base, tmp_path):
    long, short = corpus("long"), corpus("short", 5)
    before = hidden_states(base, long, quiet, tmp_path)
    kept = np.array(before.hidden)
    other = replace(short, documents=[Document(d.tokens[::-1], 1) for d in long.documents])
    after = hidden_states(base, other, quiet, tmp_path)
    assert np.array_equal(before.hidden, kept)
    assert not np.array_equal(after.hidden, kept)


def test_a_computation_that_was_cut_off_goes_on(base, tmp_path: Path):
    texts = corpus("cut", 1030)

    def stop(done: int, total: int) -> None:
        if done > total * 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hidden_states(base, texts, stop, tmp_path)
    seen: list[int] = []
    whole = hidden_states(base, texts, lambda done, total: seen.append(done), tmp_path)
    assert seen[0] > whole.offsets[512]
    assert np.abs(np.array(whole.hidden, dtype=np.float32)).sum(1).min() > 0
