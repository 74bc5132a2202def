"""Episodes to learn from: made by gold actions, laid out as they are played, and only actions count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from colasearch.cli.train import problems as problems_command
from colasearch.cli.train.loading import corpus_of
from colasearch.cli.train.settings import Source
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.storage.runs import RunFolder, manifest_of
from colasearch.training.base.from_scratch import frequent_words, make_tokenizer
from colasearch.training.data.corpus import load_corpus, split_heldout
from colasearch.training.data.hidden_cache import tokens_and_valid
from colasearch.training.from_search.episodes import solved_episodes
from colasearch.training.generated.episodes import episode_text, gold_episodes

USERS = Path(__file__).parent.parent / "environments" / "users.py"


@pytest.fixture(scope="module")
def rows():
    return gold_episodes("house", "train", 6, seed=1)[0]


@pytest.fixture
def corpus(rows, base, tmp_path):
    file = tmp_path / "episodes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_corpus([file], base.tokenizer, base.end_id, 4000)


def test_gold_episodes_are_solved_ones_of_the_split(rows):
    assert len(rows) == 6
    assert [row["score"] for row in rows] == [pytest.approx(1.0)] * 6
    assert all(0 <= row["variation"] < 1000 for row in rows)
    assert gold_episodes("house", "train", 6, seed=1)[0] == rows
    assert gold_episodes("house:wash", "dev", 2, seed=1)[0][0]["task"] == "wash"
    with pytest.raises(InputError, match=r"has no gold\(\)"):
        gold_episodes(f"{USERS}:Guess", "train", 2, seed=1)


def test_only_actions_count_and_they_are_what_a_player_is_asked_for(rows, base, corpus):
    for row, document in zip(rows, corpus.documents, strict=True):
        said = [base.tokenizer.decode(document.tokens[begin:end]) for begin, end in document.spans]
        assert said == [f"{turn['action']}<end>" for turn in row["turns"]]
    tokens, valid = tokens_and_valid(corpus.documents)
    assert int(valid.sum()) == corpus.tokens == sum(document.counted for document in corpus.documents)
    for number, document in enumerate(corpus.documents):
        targets = tokens[number, 1:][valid[number]]
        wanted = [t for begin, end in document.spans for t in document.tokens[begin:end]]
        assert torch.equal(targets, torch.tensor(wanted))


def test_as_text_an_episode_reads_as_a_base_without_a_template_plays_it_and_every_word_counts(rows, tmp_path):
    text = episode_text(rows[0])["text"]
    tokenizer = make_tokenizer([text], frequent_words([text], 30))
    episodes, texts = tmp_path / "episodes.jsonl", tmp_path / "texts.jsonl"
    episodes.write_text(json.dumps(rows[0]) + "\n")
    texts.write_text(json.dumps(episode_text(rows[0])) + "\n")
    played = load_corpus([episodes], tokenizer, tokenizer.eos_token_id, 4000).documents[0]
    read = load_corpus([texts], tokenizer, tokenizer.eos_token_id, 4000).documents[0]
    # As text it has what came of the last action, too.
    assert read.tokens[: len(played.tokens)] == played.tokens
    assert tokenizer.decode(read.tokens).endswith("The goal is reached.<end>")
    assert read.counted == len(read.tokens) - 1 > 3 * played.counted


def test_what_is_cut_off_counts_no_more(rows, base, tmp_path):
    file = tmp_path / "episodes.jsonl"
    file.write_text(json.dumps(rows[0]) + "\n")
    whole = load_corpus([file], base.tokenizer, base.end_id, 4000).documents[0]
    most = whole.spans[1][0] + 3
    part = load_corpus([file], base.tokenizer, base.end_id, most).documents[0]
    assert part.spans == (whole.spans[0], (whole.spans[1][0], most))
    assert len(part.tokens) == most


def test_episodes_of_one_beginning_are_held_out_together(rows, base, tmp_path):
    file = tmp_path / "episodes.jsonl"
    shorter = [{**row, "turns": row["turns"][:-1]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *shorter]))
    corpus = load_corpus([file], base.tokenizer, base.end_id, 4000)
    train, held = split_heldout(corpus, 0.5)
    assert held
    assert train
    assert {index % 6 for index in train}.isdisjoint({index % 6 for index in held})


def test_frequent_words_become_tokens(rows):
    texts = [turn["observation"] for row in rows for turn in row["turns"]]
    words = frequent_words(texts, 12)
    assert " You" in words
    tokenizer = make_tokenizer(texts, words)
    text = texts[0]
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(tokens) == text
    assert len(tokens) < len(make_tokenizer(texts)(text, add_special_tokens=False)["input_ids"])


def run_of(folder, records, benchmark="env:house", **settings):
    """A run folder of ``bench env:NAME`` with the parts of its records that matter here."""
    told = {"benchmark": benchmark, "instruction": "Go.", **settings}
    with RunFolder(folder, manifest_of("bench", told, {}, {}), resume=False) as run:
        for record in records:
            run.append({"sims": 4, "status": "ok", "problem": f"At {record['problem_id']}.", **record})
    return folder


def played(name, arm, score, actions, *, correct=True):
    turns = [{"action": action, "observation": "Seen.", "reward": score} for action in actions]
    return {"problem_id": name, "arm": arm, "correct": correct, "score": score, "turns": turns}


def test_of_solved_episodes_the_best_and_shortest_of_each_variation_is_a_row(base, tmp_path):
    records = [
        played("fetch-1", "gumbel", 1.0, ["go", "take", "put"]),
        played("fetch-1", "best_of_n", 1.0, ["take", "put"]),
        played("fetch-2", "gumbel", 2.0, ["go", "go"]),
        played("fetch-2", "greedy", 1.0, ["go"]),
        played("fetch-3", "gumbel", 0.5, ["go"], correct=False),
        {"problem_id": "fetch-4", "arm": "gumbel", "status": "error"},
    ]
    runs = [run_of(tmp_path / "a", records), run_of(tmp_path / "b", [played("fetch-5", "puct", 1.0, ["go"])])]
    found, count = solved_episodes(runs)
    assert [(row["id"], [turn["action"] for turn in row["turns"]]) for row in found] == [
        ("fetch-1", ["take", "put"]), ("fetch-2", ["go", "go"]), ("fetch-5", ["go"])
    ]  # fmt: skip
    assert count == 5
    output = tmp_path / "rows.jsonl"
    words = ["--kind", "solved", "--run", str(runs[0]), "--run", str(runs[1]), "--output", str(output)]
    done = CliRunner().invoke(problems_command.command, [*words, "--count", "2"])
    assert "3 of 5 episodes were solved" in done.output
    assert [json.loads(line) for line in output.read_text().splitlines()] == found[:2]
    document = load_corpus([output], base.tokenizer, base.end_id, 4000).documents[0]
    assert [base.tokenizer.decode(document.tokens[a:b]) for a, b in document.spans] == ["take<end>", "put<end>"]


def test_a_run_that_solved_nothing_gives_an_empty_file_and_other_folders_are_refused(tmp_path):
    run = run_of(tmp_path / "a", [played("fetch-3", "gumbel", 0.5, ["go"], correct=False)])
    output = tmp_path / "rows.jsonl"
    done = CliRunner().invoke(
        problems_command.command, ["--kind", "solved", "--run", str(run), "--output", str(output)]
    )
    assert (done.exit_code, output.read_bytes()) == (0, b"")
    with pytest.raises(InputError, match="holds no episodes; give the folder of a `colasearch bench env:NAME` run"):
        solved_episodes([run_of(tmp_path / "b", [], benchmark="countdown")])
    for words in (["--kind", "solved"], ["--kind", "words", "--run", str(run)]):
        done = CliRunner().invoke(problems_command.command, [*words, "--output", str(output)])
        assert (done.exit_code, "--kind solved takes its episodes from --run" in done.output) == (2, True)


def test_texts_to_learn_from_end_where_the_context_does(rows, base, tmp_path):
    file = tmp_path / "episodes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = LatentLM("tiny", base, None)
    corpus = corpus_of(loaded, Source(data=(file,), max_tokens=1 << 20))
    assert max(len(document.tokens) for document in corpus.documents) == base.context_length
