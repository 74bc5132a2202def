"""Guided fine-tuning: what trains, that codes stay as given, that a tuned base survives saving and loading."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
import torch

from colasearch.errors import CorruptFileError, InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.training.base.guidance import GuidedTuner, idm_codes, responses
from colasearch.training.base.tuning import TunableBase, Tuning, linear_names, lora_rank_for
from colasearch.training.data.corpus import Corpus, batches, load_corpus
from colasearch.training.data.hidden_cache import hidden_states
from colasearch.training.latent_actions.cloning import PolicyCloner
from colasearch.training.running.loop import LoopConfig, TrainRun, fit

TUNINGS = [Tuning("full"), Tuning("layers", layers=(-1,)), Tuning("lora", rank=2, alpha=4.0)]


@pytest.fixture
def corpus(own, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "rows.jsonl"
    rows = [
        {"problem": f"{i}", "solution": "".join(rng.choice(list("ab cd"), 12)), "answer": str(i)} for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return responses(load_corpus([path], own.base.tokenizer, 0))


def codes_of(lm: LatentLM, corpus: Corpus, folder) -> list[torch.Tensor]:
    states = hidden_states(lm.base, corpus, lambda done, total: None, folder)
    return idm_codes(lm.require_latents(), states)


def train(tuner: GuidedTuner, steps: int, rate: float = 3e-3) -> None:
    optimizer = torch.optim.AdamW(tuner.parameters(), lr=rate, weight_decay=0)
    for step in range(steps):
        optimizer.zero_grad()
        tuner.accumulate(list(range(20)), step, steps)
        optimizer.step()


def test_only_responses_count(own, corpus):
    for document in corpus.documents:
        text = own.base.tokenizer.decode(list(document.tokens[: document.start]))
        assert text.endswith("<solution>")


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda t: t.how)
def test_gradient_reaches_exactly_the_chosen_weights(own, corpus, tuning):
    tunable = TunableBase(own, tuning, seed=0)
    tuner = GuidedTuner(own, tunable, corpus.documents, None, micro_tokens=256)
    if tuning.how == "lora":
        # B starts at zero, which stops the gradient of A at the first step only.
        with torch.no_grad():
            for name, p in tunable.model.named_parameters():
                if "lora_B" in name:
                    p.add_(0.01)
    tuner.accumulate(list(range(8)), 0, 1)
    moved = {n for n, p in own.base.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved == set(tunable.names)
    expected = {
        "full": lambda n: True,
        "layers": lambda n: n.startswith("model.layers.1."),
        "lora": lambda n: ".lora_" in n,
    }[tuning.how]
    assert moved == {n for n, _ in own.base.model.named_parameters() if expected(n)}
    assert all(p.grad is None for p in own.require_latents().parameters())


def test_gradients_do_not_depend_on_the_micro_batch_size(model_folder, corpus):
    gradients = []
    for micro in (64, 4096):
        lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
        tuner = GuidedTuner(lm, TunableBase(lm, TUNINGS[1], 0), corpus.documents, None, micro)
        tuner.accumulate(list(range(12)), 0, 1)
        gradients.append(torch.cat([p.grad.flatten() for p in tuner.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-3)


def test_the_idm_s_codes_do_not_drift_and_the_loss_under_them_falls(own, corpus, tmp_path):
    codes = codes_of(own, corpus, tmp_path / "h")
    before_training = [c.clone() for c in codes]
    tuner = GuidedTuner(own, TunableBase(own, TUNINGS[0], 0), corpus.documents, codes, 512)
    before = tuner.evaluate(range(20))
    train(tuner, 15)
    after = tuner.evaluate(range(20))
    assert after["wm_ce"] < before["wm_ce"] - 0.3
    drifted = idm_codes(own.require_latents(), hidden_states(own.base, corpus, lambda a, b: None, tmp_path / "h2"))
    assert any(not torch.equal(a, b) for a, b in zip(drifted, before_training, strict=True))  # else nothing is shown
    _, used, _ = tuner.forward(list(range(20)))
    assert all(torch.equal(used[i, : len(c)], c) for i, c in enumerate(before_training[:20]))


def test_under_the_policy_s_codes_greedy_decoding_improves(own, corpus):
    tuner = GuidedTuner(own, TunableBase(own, TUNINGS[0], 0), corpus.documents, None, 512)
    before = tuner.evaluate(range(20))
    assert before["wm_ce"] == pytest.approx(before["greedy_ce"])  # the given codes are the policy's own
    train(tuner, 15)
    assert tuner.evaluate(range(20))["greedy_ce"] < before["greedy_ce"] - 0.3


def test_the_base_learns_to_write_alone_if_its_own_loss_has_weight(model_folder, corpus):
    after = {}
    for weight in (0.0, 1.0):
        lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
        tuner = GuidedTuner(lm, TunableBase(lm, TUNINGS[0], 0), corpus.documents, None, 512, base_weight=weight)
        train(tuner, 15)
        after[weight] = tuner.evaluate(range(20))
    assert after[1.0]["base_ce"] < after[0.0]["base_ce"] - 0.1
    assert after[1.0]["wm_ce"] < after[0.0]["wm_ce"] + 0.5


def test_the_policy_is_cloned_anew_on_given_codes(own, corpus, tmp_path):
    codes = codes_of(own, corpus, tmp_path / "h")
    tunable = TunableBase(own, TUNINGS[0], 0)
    train(GuidedTuner(own, tunable, corpus.documents, codes, 512), 5)
    tunable.finish(tmp_path / "tuned")
    states = hidden_states(own.base, corpus, lambda a, b: None, tmp_path / "h2")
    cloner = PolicyCloner(own.require_latents(), states, 512, codes)
    optimizer = torch.optim.AdamW(cloner.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        optimizer.zero_grad()
        losses.append(cloner.accumulate(list(range(24)), step, 30)["ce"])
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    assert {n.split(".")[0] for n, p in own.require_latents().named_parameters() if p.grad is not None} == {"policy"}


def logits(lm: LatentLM) -> torch.Tensor:
    with torch.no_grad():
        return lm.base.logits(lm.base.hidden(torch.tensor([[5, 9, 30, 7, 7, 60]])))


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda t: t.how)
def test_a_tuned_base_is_saved_and_loaded(own, model_folder, corpus, tmp_path, tuning):
    untouched = logits(own)
    tunable = TunableBase(own, tuning, seed=0)
    train(GuidedTuner(own, tunable, corpus.documents, None, 512), 6, rate=1e-2)
    trained = logits(own)
    assert (trained - untouched).abs().max() > 0.05
    with tunable.at_start():
        torch.testing.assert_close(logits(own), untouched, atol=1e-5, rtol=1e-4)
    tunable.finish(tmp_path / "tuned")
    torch.testing.assert_close(logits(own), trained, atol=1e-4, rtol=1e-3)
    assert not any("lora" in name for name, _ in own.base.model.named_modules())
    own.save_pretrained(tmp_path / "model")
    again = LatentLM.from_pretrained(str(tmp_path / "model"), "cpu", "float32")
    torch.testing.assert_close(logits(again), logits(own), atol=1e-5, rtol=1e-4)
    # Caches of hidden states are kept by this: they must not mix with the frozen base's.
    assert again.base.identity.weights_sha256 == own.base.identity.weights_sha256
    before = LatentLM.from_pretrained(str(model_folder), "cpu", "float32").base.identity
    assert again.base.identity.weights_sha256 != before.weights_sha256
    # Saved once more, elsewhere, by somebody who trained only latent modules.
    again.save_pretrained(tmp_path / "copy")
    torch.testing.assert_close(logits(LatentLM.from_pretrained(str(tmp_path / "copy"), "cpu", "float32")), logits(own))


def test_tuning_a_tuned_base_keeps_both_changes(own, corpus, tmp_path):
    for name, tuning in (("one", Tuning("lora", rank=2, alpha=4.0)), ("two", Tuning("layers", layers=(0,)))):
        tunable = TunableBase(own, tuning, seed=0)
        train(GuidedTuner(own, tunable, corpus.documents, None, 512), 4, rate=1e-2)
        tunable.finish(tmp_path / name)
        own.save_pretrained(tmp_path / f"model-{name}")
    again = LatentLM.from_pretrained(str(tmp_path / "model-two"), "cpu", "float32")
    torch.testing.assert_close(logits(again), logits(own), atol=1e-5, rtol=1e-4)
    assert not (tmp_path / "model-two" / "adapter.safetensors").exists()


def test_a_damaged_or_missing_adapter_is_named(own, corpus, tmp_path):
    tunable = TunableBase(own, TUNINGS[2], seed=0)
    train(GuidedTuner(own, tunable, corpus.documents, None, 512), 1)
    tunable.finish(tmp_path / "tuned")
    own.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "adapter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptFileError, match=r"adapter\.safetensors"):
        LatentLM.from_pretrained(str(tmp_path / "model"))
    path.unlink()
    with pytest.raises(CorruptFileError, match=r"adapter\.safetensors is missing"):
        LatentLM.from_pretrained(str(tmp_path / "model"))


def test_an_adapter_of_another_shape_is_refused(own, corpus, tmp_path):
    from colasearch.model.tuned import apply_tuned, write_tuned

    tuned = write_tuned(tmp_path, "weights", {"model.norm.weight": torch.ones(3)})
    with pytest.raises(CorruptFileError, match=r"model\.norm\.weight of shape \(3,\)"):
        apply_tuned(own.base, tmp_path / tuned.file, tuned)
    tuned = write_tuned(tmp_path, "lora", {"model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(2, 16)})
    with pytest.raises(CorruptFileError, match="incomplete"):
        apply_tuned(own.base, tmp_path / tuned.file, tuned)


def test_peft_reads_the_adapter(own, model_folder, corpus, tmp_path):
    """The same file under peft's own loader gives the same model as our merge."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    tunable = TunableBase(own, TUNINGS[2], seed=0)
    train(GuidedTuner(own, tunable, corpus.documents, None, 512), 5, rate=1e-2)
    tunable.finish(tmp_path / "tuned")
    other = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    config = LoraConfig(r=2, lora_alpha=4.0, target_modules=linear_names(other.base))
    model = inject_adapter_in_model(config, other.base.model)
    set_peft_model_state_dict(model, load_file(str(tmp_path / "tuned" / "adapter.safetensors")))
    torch.testing.assert_close(logits(other), logits(own), atol=1e-4, rtol=1e-3)


def test_layers_that_are_not_there(own):
    with pytest.raises(InputError, match=r"the base has 2 layers: give some of 0 to 1, or -2 to -1"):
        TunableBase(own, Tuning("layers", layers=(2,)), 0)
    with pytest.raises(InputError, match="layers to train are"):
        TunableBase(own, Tuning("layers"), 0)


def test_a_rank_with_as_many_parameters_as_the_policy(own):
    wanted = 5000
    rank = lora_rank_for(own.base, wanted)
    size = TunableBase(own, Tuning("lora", rank=rank), 0).size
    assert size == pytest.approx(wanted, rel=0.6 / rank)


def test_a_killed_tuning_resumes_to_the_same_weights(model_folder, corpus, tmp_path):
    def run(name: str, resume: bool = False, stop: int | None = None) -> torch.Tensor:
        lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
        tunable = TunableBase(lm, TUNINGS[2], seed=0)
        tuner = GuidedTuner(lm, tunable, corpus.documents, None, 512)

        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            if done == stop:
                raise KeyboardInterrupt

        loop = LoopConfig(lr=1e-2, warmup_steps=1, save_every=2, log_every=1, weight_decay=0.0)
        plan = [batches(corpus.documents, list(range(20)), 256, 0, epoch) for epoch in range(2)]
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                TrainRun(tmp_path / name, {"config": {}}, resume), tunable.model, tuner.parameters(), loop,
                plan.__getitem__, 2, tuner.accumulate, lambda: tuner.evaluate(range(20, 24)), progress,
            )  # fmt: skip
        return torch.cat([p.detach().flatten() for p in tuner.parameters()])

    whole = run("whole")
    run("cut", stop=5)
    assert torch.equal(run("cut", resume=True), whole)
    # Frozen weights are not copied into every checkpoint.
    size = (tmp_path / "cut" / "checkpoint" / "state.safetensors").stat().st_size
    assert size < 4 * 3 * whole.numel() + 20_000
