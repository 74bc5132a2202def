"""Tokenised text on disk says what text in memory says."""

from __future__ import annotations

import json
import pickle
from multiprocessing import get_context
from pathlib import Path

import pytest

from colasearch.errors import InputError
from colasearch.training.data import token_store
from colasearch.training.data.corpus import batches, load_corpus, split_heldout
from colasearch.training.data.documents import Layout

ROWS = [
    {"problem": "What is 1 + 1?", "solution": "It is 2.\n#### 2"},
    {"text": "Plain text, and some more of it."},
    {"text": "x"},
    {"problem": "Make 6 from 2, 3.", "numbers": [2, 3], "target": 6, "solution": "\\boxed{2*3}"},
]


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Where nothing else is said, rows are tokenised in this process: others import the tokenizer anew."""
    monkeypatch.setattr(token_store.os, "sched_getaffinity", lambda process: {0})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [{**row, "n": n} for n in range(150) for row in ROWS]
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    return path


def test_a_store_holds_the_documents_and_the_digest_of_the_corpus_in_memory(base, data):
    inside = load_corpus([data, data], base.tokenizer, 0, max_tokens=40)
    stored = load_corpus([data, data], base.tokenizer, 0, max_tokens=40, store_bytes=0)
    assert isinstance(stored.documents, token_store.StoredDocuments)
    assert list(stored.documents) == list(inside.documents)
    assert (stored.sha256, stored.tokens) == (inside.sha256, inside.tokens)
    assert split_heldout(stored, 0.3) == split_heldout(inside, 0.3)
    chosen = list(range(0, 750, 3))
    assert batches(stored.documents, chosen, 512, 1, 0) == batches(inside.documents, chosen, 512, 1, 0)


@pytest.mark.parametrize("begun", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_parquet_and_a_second_run_change_nothing(base, data, tmp_path, monkeypatch, begun):
    """Spawned processes, as outside of tests, import transformers: seconds of each."""
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow.parquet import write_table

    layout = Layout(base.tokenizer, 0, 40)
    assert pickle.loads(pickle.dumps(layout)).max_tokens == layout.max_tokens  # as it goes to a spawned process
    alone = token_store.stored_corpus([data], layout, processes=1)
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "rows.jsonl"
    copy.write_bytes(data.read_bytes() + b"\n")  # other bytes, so another store; the same rows
    with monkeypatch.context() as cores:
        cores.setattr(token_store.os, "sched_getaffinity", lambda process: {0, 1})
        cores.setattr(token_store.multiprocessing, "get_context", lambda how, real=get_context: real(begun))
        assert token_store.stored_corpus([copy], layout).sha256 == alone.sha256
    table = tmp_path / "rows.parquet"
    texts = [{"text": f"Text {n}."} for n in range(700)]
    write_table(pyarrow.Table.from_pylist(texts), table)
    lines = tmp_path / "texts.jsonl"
    lines.write_text("\n".join(map(json.dumps, texts)))
    assert load_corpus([table], base.tokenizer, 0).sha256 == load_corpus([lines], base.tokenizer, 0).sha256
    monkeypatch.setattr(token_store, "_write", lambda *_: pytest.fail("tokenised again"))
    assert token_store.stored_corpus([data], layout).sha256 == alone.sha256
    assert load_corpus([table], base.tokenizer, 0).tokens


def test_a_bad_row_is_named_and_leaves_no_store(base, data, tmp_path):
    data.write_text(data.read_text() + "\nno json\n")
    number = len(data.read_text().splitlines())
    with pytest.raises(InputError, match=f"line {number} is not valid JSON") as caught:
        load_corpus([data], base.tokenizer, 0, store_bytes=0)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # as it comes from another process
    with pytest.raises(InputError, match="does not exist"):
        load_corpus([tmp_path / "absent.parquet"], base.tokenizer, 0)
    (tmp_path / "bad.parquet").write_text("x" * 100)
    with pytest.raises(InputError, match="parquet"):
        load_corpus([tmp_path / "bad.parquet"], base.tokenizer, 0)
