"""``train reward``: what is learned from pairs, read by ``rm:`` and transformers; TRL's own numbers beside ours."""

import json
import random

import pytest
import torch
from safetensors import safe_open
from tiny import make_base

from colasearch.cli.main import main
from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.problem import Problem
from colasearch.rewards import reward_of
from colasearch.training.base.tuning import Tuning
from colasearch.training.preference.pairs import read_pairs, split_pairs
from colasearch.training.preference.reliability import measures, reliability
from colasearch.training.preference.reward_model import (
    RewardLearner,
    TunableClassifier,
    new_classifier,
    pair_tokens,
)
from colasearch.verifiers.rewards import rewards


def write_pairs(path, count=96):
    """The text that ends with ``!`` is preferred."""
    draw = random.Random(0)
    word = lambda: "".join(draw.choice("abcdefgh") for _ in range(6))  # noqa: E731
    rows = [{"problem": f"Say {word()}.", "chosen": f"{word()}!", "rejected": f"{word()}?"} for _ in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


@pytest.fixture(scope="module")
def trained(colasearch, base_folder, tmp_path_factory):
    """A trained run: its folder, what was printed, its pairs."""
    folder = tmp_path_factory.mktemp("reward")
    rows = write_pairs(folder / "pairs.jsonl")
    args = (
        "train", "reward", "--model", base_folder, "--device", "cpu", "--data", folder / "pairs.jsonl", "--output",
        folder / "run", "--tune", "full", "--epochs", 4, "--batch", 8, "--lr", 3e-3, "--warmup-steps", 2, "--heldout",
        0.3, "--save-every", 10, "--micro-tokens", 256,
    )  # fmt: skip
    done = colasearch(*args)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), rows, args


def test_the_preference_is_learned_and_the_card_says_how_well(trained):
    folder, printed, _, _ = trained
    held = printed["heldout"]
    assert held["accuracy"] > 0.9
    assert held["ci95"][0] < held["accuracy"] <= held["ci95"][1]
    assert sum(part["pairs"] for part in held["calibration"]) == held["pairs"]
    card = (folder / "run/model/README.md").read_text()
    assert f"| accuracy | {round(held['accuracy'], 4)} |" in card
    assert "expected calibration error" in card


def test_the_folder_is_a_classifier_that_scores_as_it_was_trained(trained):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, printed, rows, _ = trained
    model = AutoModelForSequenceClassification.from_pretrained(folder / "run/model").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "run/model")
    assert (type(model).__name__, model.config.num_labels) == ("LlamaForSequenceClassification", 1)
    with safe_open(folder / "run/model/model.safetensors", "pt") as file:
        assert "score.weight" in file.keys()  # noqa: SIM118
        assert not any("lm_head" in name for name in file.keys())  # noqa: SIM118
    pairs, _ = read_pairs([folder / "pairs.jsonl"])
    _, held = split_pairs(pairs, 0.3)
    margins = []
    for i in held:
        row = rows[i]
        texts = [row["chosen"], row["rejected"]]
        found = rewards(
            reward_of([f"rm:{folder / 'run/model'}?scale=given"]), [Problem.from_text(row["problem"])] * 2, texts
        )
        margins.append(found[0] - found[1])
        if i == held[0]:
            chat = [{"role": "user", "content": row["problem"]}, {"role": "assistant", "content": row["chosen"]}]
            tokens = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), return_tensors="pt")["input_ids"]
            assert found[0] == pytest.approx(float(model(tokens).logits.detach()), abs=1e-5)
    assert sum(m > 0 for m in margins) / len(margins) == pytest.approx(printed["heldout"]["accuracy"])
    assert sum(margins) / len(margins) == pytest.approx(printed["heldout"]["margin"], abs=1e-4)


def test_a_killed_run_goes_on_as_if_it_had_not_been(trained, tmp_path, monkeypatch, capsys):
    folder, printed, _, args = trained
    resumed = [str(tmp_path / "run") if arg == folder / "run" else str(arg) for arg in args]
    accumulate = RewardLearner.accumulate

    def dying(self, indices, step, steps):
        if step == 14:  # the last checkpoint is of step 10
            raise PrerequisiteError("killed")
        return accumulate(self, indices, step, steps)

    monkeypatch.setattr(RewardLearner, "accumulate", dying)
    assert main(resumed) == 3
    monkeypatch.undo()
    capsys.readouterr()
    assert main([*resumed, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["heldout"] == printed["heldout"]
    more = folder / "more.jsonl"
    more.write_text((folder / "pairs.jsonl").read_text().replace("Say", "Tell"))
    other = [str(more) if arg == str(folder / "pairs.jsonl") else arg for arg in resumed]
    assert main([*other, "--resume"]) == 2
    assert "must keep its configuration" in capsys.readouterr().err


def test_one_pass_or_many_give_the_same_gradient_that_of_the_formula(base_folder, tmp_path):
    write_pairs(tmp_path / "pairs.jsonl", 6)
    pairs, _ = read_pairs([tmp_path / "pairs.jsonl"])

    def gradients(micro_tokens, formula=False):
        base = BaseModel.load(str(base_folder), "cpu", "float32")
        classifier = TunableClassifier(base, Tuning("layers", (-1,)), seed=1)
        rows = [pair_tokens(base.tokenizer, pair) for pair in pairs]
        if formula:
            both = [
                [classifier.model(torch.tensor([r])).logits[0, 0] for r in (row.chosen, row.rejected)] for row in rows
            ]
            loss = sum(-torch.log(torch.sigmoid(c - r)) + 0.5 * (c + r) ** 2 for c, r in both) / len(both)
            loss.backward()
        else:
            RewardLearner(classifier, rows, micro_tokens, center=0.5).accumulate(range(6), 0, 1)
        names = {name for name, p in classifier.model.named_parameters() if p.grad is not None}
        assert "score.weight" in names
        assert not any("layers.0" in name or "embed" in name for name in names)
        return [p.grad for p in classifier.parameters()]

    wanted = gradients(0, formula=True)
    for micro_tokens in (1, 10_000):
        for found, want in zip(gradients(micro_tokens), wanted, strict=True):
            assert torch.allclose(found, want, atol=1e-5)


def test_low_rank_changes_are_merged_into_what_is_saved(base_folder, tmp_path):
    pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification

    base = BaseModel.load(str(base_folder), "cpu", "float32")
    classifier = TunableClassifier(base, Tuning("lora", rank=2, alpha=4.0), seed=1)
    assert classifier.size < 5000
    names = [name for name, p in classifier.model.named_parameters() if p.requires_grad]
    assert "score.weight" in names
    assert all("lora" in name or name == "score.weight" for name in names)
    with torch.no_grad():
        for p in classifier.parameters():
            p.add_(0.05)
    row = [5, 9, 33]
    before = float(classifier.rewards([row]).detach())
    classifier.save(tmp_path / "model", "card")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert float(loaded(torch.tensor([row])).logits) == pytest.approx(before, abs=1e-4)


def test_pairs_come_in_trls_forms_too(tmp_path):
    user, said, other = ({"role": r, "content": c} for r, c in (("user", "q"), ("assistant", "a"), ("assistant", "b")))
    path = tmp_path / "pairs.jsonl"
    forms = [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": [user], "chosen": [said], "rejected": [other]},
        {"chosen": [user, said], "rejected": [user, other]},
        {"problem": "q", "chosen": "a", "rejected": "a"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in forms))
    pairs, equal = read_pairs([path])
    assert len({(p.key, p.chosen, p.rejected) for p in pairs}) == 1
    assert (len(pairs), equal) == (3, 1)
    for row, why in (
        ({"chosen": "a", "rejected": "b"}, "has no prompt"),
        ({"prompt": "q", "chosen": "a"}, "has no 'rejected'"),
        ({"prompt": "q", "chosen": "a", "rejected": [{"role": "x"}]}, "unusable 'rejected'"),
        ({"prompt": "q", "chosen": [said, said], "rejected": "b"}, "2 messages"),
    ):
        path.write_text(json.dumps(row))
        with pytest.raises(InputError, match=why):
            read_pairs([path])


def test_all_pairs_of_a_prompt_are_on_one_side(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"q{i % 20}", "chosen": f"a{i}", "rejected": "b"} for i in range(80)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs, _ = read_pairs([path])
    train, held = split_pairs(pairs, 0.5)
    assert train
    assert held
    assert not {pairs[i].key for i in train} & {pairs[i].key for i in held}


def test_calibration_is_what_its_bins_say():
    # Chance 0.75 for three pairs of which two are right; chance near 1 for one that is wrong; one tie.
    sure = float(torch.tensor(0.75).logit())
    margins = [sure, sure, -sure, -20.0, 0.0]
    bins = reliability(margins)
    assert [(b.pairs, round(b.accuracy, 3)) for b in bins] == [(1, 0.5), (3, round(2 / 3, 3)), (1, 0.0)]
    found = measures(margins)
    assert found["accuracy"] == pytest.approx(2.5 / 5)
    assert found["ece"] == pytest.approx((0 + 3 * abs(2 / 3 - 0.75) + 1.0) / 5, abs=1e-6)
    assert found["loss"] == pytest.approx(
        -float(torch.nn.functional.logsigmoid(torch.tensor(margins)).mean()), rel=1e-6
    )


def test_a_base_without_a_classifier_of_its_kind_is_refused(base_folder):
    base = BaseModel.load(str(base_folder), "cpu", "float32")

    class Odd(type(base.model.config)):
        model_type = "odd"

    base.model.config = Odd(**base.model.config.to_dict())
    with pytest.raises(PrerequisiteError, match="no sequence classifier"):
        new_classifier(base, 0)


def test_trl_computes_the_same_loss_and_saves_the_same_kind_of_folder(tmp_path, trained):
    """The real counterpart, where TRL is installed: same start, same pairs, one batch."""
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    from datasets import Dataset

    folder, _, rows, _ = trained
    base = BaseModel.load(str(make_base(tmp_path / "base")), "cpu", "float32")
    classifier = TunableClassifier(base, Tuning("full"), seed=1)
    pairs, _ = read_pairs([folder / "pairs.jsonl"])
    ours = RewardLearner(classifier, [pair_tokens(base.tokenizer, p) for p in pairs], 4096, 0.01).accumulate(
        range(8), 0, 1
    )
    classifier.save(tmp_path / "start", "card")
    chats = [
        {
            "prompt": [{"role": "user", "content": row["problem"]}],
            **{name: [{"role": "assistant", "content": row[name]}] for name in ("chosen", "rejected")},
        }
        for row in rows[:8]
    ]
    arguments = trl.RewardConfig(
        output_dir=str(tmp_path / "trl"), per_device_train_batch_size=8, max_steps=1, report_to=[], use_cpu=True,
        bf16=False, logging_steps=1, center_rewards_coefficient=0.01, save_strategy="no",
    )  # fmt: skip
    trainer = trl.RewardTrainer(str(tmp_path / "start"), args=arguments, train_dataset=Dataset.from_list(chats))
    trainer.train()
    trainer.save_model(str(tmp_path / "trl/final"))
    log = trainer.state.log_history[0]
    assert log["margin"] == pytest.approx(ours["margin"], abs=1e-4)
    assert log["accuracy"] == pytest.approx(ours["accuracy"])
    theirs, mine = (
        json.loads((path / "config.json").read_text()) for path in (tmp_path / "trl/final", folder / "run/model")
    )
    for key in ("architectures", "model_type", "pad_token_id"):
        assert theirs[key] == mine[key]
    with (
        safe_open(tmp_path / "trl/final/model.safetensors", "pt") as a,
        safe_open(folder / "run/model/model.safetensors", "pt") as b,
    ):
        assert set(a.keys()) == set(b.keys())
    # And theirs is read by rm:.
    assert rewards(reward_of([f"rm:{tmp_path / 'trl/final'}"]), [Problem.from_text("q")], ["a"])[0] is not None
