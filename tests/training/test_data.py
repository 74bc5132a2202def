"""Training text: layout, split, batches."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.training.data.corpus import (
    Document,
    batches,
    first_texts,
    load_corpus,
    pack,
    read_rows,
    solution_text,
    split_heldout,
)

ROW = {
    "problem": "Tom has 3 apples and buys 5. How many?",
    "answer": "8",
    "solution": "Tom has 3+5 = <<3+5=8>>8 apples.\n#### 8",
}


@pytest.fixture
def jsonl(tmp_path):
    def write(*rows: object, raw: str = ""):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows) + raw)
        return path

    return write


def test_a_gsm8k_solution_loses_its_marks_and_gains_a_box():
    assert solution_text(ROW) == "Tom has 3+5 = 8 apples.\nThe answer is \\boxed{8}."


def test_a_boxed_solution_stays_as_it_is():
    assert solution_text({"solution": "So \\boxed{4}.", "answer": "4"}) == "So \\boxed{4}."
    assert solution_text({"answer": "4"}) is None


def test_documents_are_laid_out_as_solving_will_prompt(base, jsonl):
    corpus = load_corpus([jsonl(ROW, {"text": "Plain."})], base.tokenizer, 0)
    first, second = corpus.documents
    text = base.tokenizer.decode(first.tokens)
    assert text.startswith("<user>Tom has 3 apples")
    assert "\\boxed{}.</user><solution>Tom has 3+5" in text
    assert text.endswith("\\boxed{8}.<end>")
    assert base.tokenizer.decode(first.tokens[first.start :]).startswith("Tom has 3 apples")
    assert base.tokenizer.decode(second.tokens) == "Plain.<end>"


def test_long_texts_are_cut_and_the_sum_knows_it(base, jsonl):
    path = jsonl(ROW)
    short = load_corpus([path], base.tokenizer, 0, max_tokens=20)
    assert len(short.documents[0].tokens) == 20
    assert short.sha256 != load_corpus([path], base.tokenizer, 0).sha256


@pytest.mark.parametrize(
    ("raw", "says"), [("{oops\n", "line 2 is not valid JSON"), ('{"a": 1}\n', "line 2 has no text"), ("[]\n", "line 2")]
)
def test_an_unusable_line_is_named(jsonl, raw, says):
    with pytest.raises(InputError, match=says):
        read_rows(jsonl(ROW, raw=raw))


def test_a_missing_file_is_unusable_input(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_rows(tmp_path / "absent.jsonl")


def test_held_out_documents_are_never_trained_on_even_when_repeated(base, jsonl):
    rows = [{"text": f"text number {i % 60}"} for i in range(180)]
    corpus = load_corpus([jsonl(*rows)], base.tokenizer, 0)
    train, held = split_heldout(corpus, 0.3)
    assert sorted(train + held) == list(range(180))
    trained = {corpus.documents[i].tokens for i in train}
    assert trained
    assert held
    assert not trained & {corpus.documents[i].tokens for i in held}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 50), min_size=1, max_size=80), st.integers(50, 400), st.integers(0, 5))
def test_an_epoch_holds_each_document_once_within_the_limit(lengths, limit, epoch):
    documents = [Document(tuple(range(n)), 1) for n in lengths]
    indices = list(range(len(lengths)))
    plan = batches(documents, indices, limit, seed=3, epoch=epoch)
    assert sorted(i for batch in plan for i in batch) == indices
    assert all(len(b) * max(lengths[i] for i in b) <= limit for b in plan)
    assert plan == batches(documents, indices, limit, seed=3, epoch=epoch)


def test_epochs_differ():
    documents = [Document(tuple(range(5)), 1)] * 40
    one, two = (batches(documents, list(range(40)), 20, seed=0, epoch=e) for e in (0, 1))
    assert one != two


def test_a_document_longer_than_the_limit_still_gets_a_group():
    documents = [Document(tuple(range(n)), 1) for n in (5, 90, 5)]
    assert list(pack(documents, [0, 1, 2], 20)) == [[0], [1], [2]]


def test_texts_that_a_base_wrote_are_documents_and_a_problem_s_are_held_out_together(base_folder, tmp_path):
    from colasearch.cli.train.rollouts import command
    from colasearch.training.reinforcement.rollout import read_rollouts

    rows = [{"problem": f"{i}+{i}?", "answer": str(i)} for i in range(12)]
    data, log = tmp_path / "problems.jsonl", tmp_path / "rollouts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--model", str(base_folder), "--data", str(data), "--on", "tokens", "--samples", "2", "--heldout", "0"]
    words += ["--max-new-tokens", "8", "--rows", "4", "--most-tokens", "60", "--skip-long", "--output", str(log)]
    report = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout.splitlines()[-1])
    assert 60 <= report["tokens"] < 60 + 4 * 8
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])  # killed in the middle of a line
    again = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout.splitlines()[-1])
    assert (log.read_bytes(), again) == (whole, report)

    lm = LatentLM.from_pretrained(str(base_folder), "cpu", "float32")
    corpus = load_corpus([log], lm.base.tokenizer, lm.base.end_id)
    found = read_rollouts(log)
    assert [d.tokens for d in corpus.documents] == [e.tokens for _, e in found]
    assert all(d.start == d.prompt for d in corpus.documents)  # the prompt's tokens do not count
    train, held = split_heldout(corpus, 0.3)
    assert held
    assert not {found[i][0] for i in train} & {found[i][0] for i in held}


def test_a_part_of_the_texts_is_chosen_by_what_they_are_not_by_their_order(base_folder, tmp_path):
    lm = LatentLM.from_pretrained(str(base_folder), "cpu", "float32")
    rows = [json.dumps({"text": f"text number {i}"}) for i in range(40)]
    parts = []
    for name, some in (("a", rows), ("b", rows[::-1])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(some))
        parts.append(first_texts(load_corpus([path], lm.base.tokenizer, 0), 100))
    assert parts[0].sha256 == parts[1].sha256
    assert 100 <= parts[0].tokens < 120
    stored = first_texts(load_corpus([tmp_path / "a.jsonl"], lm.base.tokenizer, 0, store_bytes=0), 100)
    assert 100 <= stored.tokens < 120
    assert len(stored.documents) < 40
    assert stored.documents[0].tokens == load_corpus([tmp_path / "a.jsonl"], lm.base.tokenizer, 0).documents[0].tokens
