"""Stages 1 and 2: what trains, that it learns, that a resumed run walks the same curve."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.model.latent_lm import new_latents, world_model_states
from colasearch.training.data.corpus import batches, load_corpus
from colasearch.training.data.hidden_cache import hidden_states
from colasearch.training.latent_actions.actions import STAGE_1_PARTS, ActionLearner, ActionsConfig
from colasearch.training.latent_actions.cloning import PolicyCloner
from colasearch.training.latent_actions.evaluate import evaluate, mixture_kl
from colasearch.training.running.loop import LoopConfig, TrainRun, fit, learning_rate

SETTINGS = ActionsConfig(micro_tokens=256, revive_every=3)


@pytest.fixture(scope="module")
def corpus(base, tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [{"text": "".join(rng.choice(list("ab cd"), 12)) + f" {i}"} for i in range(48)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_corpus([path], base.tokenizer, 0)


@pytest.fixture(scope="module")
def states(base, corpus, tmp_path_factory):
    return hidden_states(base, corpus, lambda done, total: None, tmp_path_factory.mktemp("hidden"))


@pytest.fixture
def modules(base):
    return new_latents(base, seed=2, num_codes=8)


def test_cached_states_are_the_base_s_own(base, corpus, states):
    for i in (0, 7, 31):
        own = base.hidden(torch.tensor([corpus.documents[i].tokens]))[0]
        torch.testing.assert_close(states.of(i), own, atol=2e-3, rtol=2e-3)  # kept in half precision


def test_an_interrupted_cache_goes_on_where_it_stopped(base, corpus, states, tmp_path, monkeypatch):
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise Enough

    with pytest.raises(Enough):
        hidden_states(base, corpus, stop, tmp_path, batch_tokens=64)
    resumed = hidden_states(base, corpus, lambda done, total: None, tmp_path, batch_tokens=64)
    for i in range(len(corpus.documents)):
        torch.testing.assert_close(resumed.of(i), states.of(i), atol=2e-3, rtol=2e-3)
    # A complete cache is not computed again.
    monkeypatch.setattr(type(base), "hidden", lambda *args, **kwargs: pytest.fail("computed again"))
    hidden_states(base, corpus, lambda done, total: None, tmp_path)


def test_padding_and_prefix_do_not_count(states):
    batch = states.batch([0, 1, 2])
    lengths = [len(states.documents[i].tokens) for i in (0, 1, 2)]
    assert batch.valid_BT.sum(1).tolist() == [n - 1 for n in lengths]


def test_stage_1_changes_idm_codebook_and_merge_only(base, states, modules):
    before = {k: v.clone() for k, v in modules.state_dict().items()}
    learner = ActionLearner(modules, base, states, SETTINGS, seed=0)
    optimizer = torch.optim.SGD(learner.parameters(), lr=1.0)
    learner.accumulate(list(range(16)), step=0, steps=10)
    optimizer.step()
    changed = {k.split(".")[0] for k, v in modules.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(STAGE_1_PARTS)
    assert all(p.grad is None for p in base.model.parameters())


def test_gradients_do_not_depend_on_the_micro_batch_size_in_expectation(base, states):
    """With neither sampling noise nor the marginal term, parts of a batch add up to the whole batch."""
    gradients = []
    for micro in (64, 4096):
        modules = new_latents(base, seed=2, num_codes=8)
        cloner = PolicyCloner(modules, states, micro)
        parameters = cloner.parameters()
        cloner.accumulate(list(range(16)), 0, 1)
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def test_stage_2_changes_the_policy_only(states, modules):
    before = {k: v.clone() for k, v in modules.state_dict().items()}
    cloner = PolicyCloner(modules, states)
    optimizer = torch.optim.SGD(cloner.parameters(), lr=1.0)
    cloner.accumulate(list(range(16)), 0, 1)
    optimizer.step()
    assert {k.split(".")[0] for k, v in modules.state_dict().items() if not torch.equal(v, before[k])} == {"policy"}


def train(base, states, folder, *, resume=False, steps_before_stop=None, epochs=8):
    modules = new_latents(base, seed=2, num_codes=8)
    learner = ActionLearner(modules, base, states, SETTINGS, seed=0)
    loop = LoopConfig(lr=3e-3, warmup_steps=3, save_every=4, log_every=1, evaluate_every=8)
    run = TrainRun(folder, {"config": {"epochs": epochs}}, resume)

    class Stopped(Exception):
        pass

    def progress(done, total, metrics):
        if done == steps_before_stop:
            raise Stopped

    try:
        result = fit(
            run,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(states.documents, list(range(40)), 256, 0, epoch),
            epochs=epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: evaluate(modules, base, states, range(40, 48), mixture_positions=8),
            progress=progress,
            after_step=learner.after_step,
        )
    except Stopped:
        return None, None
    return modules, result


def test_stage_1_lowers_the_world_model_s_cross_entropy(base, states, tmp_path):
    _, result = train(base, states, tmp_path / "run", epochs=30)
    assert result["wm_ce"] < 0.8 * result["base_ce"]
    assert result["alive"] >= 4
    assert result["code_perplexity"] <= result["alive"] + 1e-6


def test_a_killed_run_resumes_to_the_same_weights_and_curve(base, states, tmp_path):
    whole, result = train(base, states, tmp_path / "whole")
    train(base, states, tmp_path / "cut", steps_before_stop=10)
    resumed, again = train(base, states, tmp_path / "cut", resume=True)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert result == again

    def curve(name: str) -> list[tuple[int, float]]:
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return [(r["step"], r.get("ce", r.get("heldout/wm_ce"))) for r in map(json.loads, lines)]

    assert curve("whole") == curve("cut")


def test_a_run_folder_is_not_reused_by_accident(base, states, tmp_path):
    train(base, states, tmp_path / "run", epochs=1)
    with pytest.raises(InputError, match="--resume"):
        train(base, states, tmp_path / "run", epochs=1)
    with pytest.raises(InputError, match="epochs = 1, now it is 2"):
        train(base, states, tmp_path / "run", epochs=2, resume=True)


def test_a_damaged_training_checkpoint_is_named(base, states, tmp_path):
    train(base, states, tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match=r"state\.safetensors"):
        train(base, states, tmp_path / "run", epochs=1, resume=True)


def test_dead_codes_come_back_beside_used_ones(base, states, modules):
    learner = ActionLearner(modules, base, states, SETTINGS, seed=0)
    optimizer = torch.optim.AdamW(learner.parameters())
    learner.usage_K.copy_(torch.tensor([0.5, 0.5, 0, 0, 0, 0, 0, 0]))
    before = modules.codebook.weight.detach().clone()
    assert learner.revive(optimizer, seed=0) == 6
    after = modules.codebook.weight.detach()
    assert torch.equal(after[:2], before[:2])
    near = torch.cdist(after[2:], before[:2]).amin(1)
    assert (near < torch.cdist(before[2:], before[:2]).amin(1)).all()
    assert learner.revive(optimizer, seed=0) == 0  # they count as used until shown otherwise


def test_the_usage_term_keeps_codes_alive(base, states):
    """Without it a training pushed towards collapse uses fewer codes."""
    entropies = []
    for weight in (0.0, 3.0):
        modules = new_latents(base, seed=2, num_codes=8)
        with torch.no_grad():
            modules.idm.head.weight[0] += 0.5 * modules.idm.norm.weight
        config = ActionsConfig(usage_weight=weight, revive_every=0, micro_tokens=4096)
        learner = ActionLearner(modules, base, states, config, seed=0)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
        for step in range(25):
            optimizer.zero_grad()
            metrics = learner.accumulate(list(range(24)), step, 25)
            optimizer.step()
        entropies.append(metrics["usage_entropy"])
    assert entropies[1] > entropies[0] + 0.05


def test_a_merge_head_that_adds_nothing_leaves_the_base(base, states, modules):
    with torch.no_grad():
        for layer in modules.merge.layers:
            layer.down.weight.zero_()
    result = evaluate(modules, base, states, range(8), mixture_positions=16)
    assert result["wm_ce"] == pytest.approx(result["base_ce"], rel=1e-5)
    assert result["mixture_kl"] == pytest.approx(0, abs=1e-5)
    assert result["policy_perplexity"] == pytest.approx(np.exp(result["policy_ce"]))


def test_mixture_kl_is_that_of_the_explicit_mixture(base, states, lm):
    hidden = states.of(3)[:6]
    scores = torch.randn(6, 8)
    own = torch.log_softmax(base.logits(hidden), -1)
    mixed = torch.zeros_like(own)
    for code in range(8):
        logits = base.logits(world_model_states(lm.latents, base, hidden, torch.full((6,), code)))
        mixed += torch.softmax(scores, -1)[:, code, None] * torch.softmax(logits, -1)
    wanted = (own.exp() * (own - mixed.log())).sum(-1).mean()
    assert mixture_kl(lm.latents, base, hidden, scores) == pytest.approx(float(wanted), rel=1e-4)


def test_the_learning_rate_warms_up_and_falls():
    config = LoopConfig(lr=1.0, final_lr=0.1, warmup_steps=10)
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_a_training_folder_is_one_process_s_at_a_time(tmp_path):
    first = TrainRun(tmp_path / "run", {"config": {}}, resume=False)
    with pytest.raises(PrerequisiteError, match="another run is writing"):
        TrainRun(tmp_path / "run", {"config": {}}, resume=True)
    first.close()
    TrainRun(tmp_path / "run", {"config": {}}, resume=True).close()
    with pytest.raises(InputError, match="--resume"):  # what is refused is not left locked
        TrainRun(tmp_path / "run", {"config": {}}, resume=False)
    TrainRun(tmp_path / "run", {"config": {}}, resume=True).close()
