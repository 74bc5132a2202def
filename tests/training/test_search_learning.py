"""Learning from search: targets of real traces, and the policy on merged codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colasearch.engine.scheduler import search_problems
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.value import QHead, ValueHead
from colasearch.problem import Problem
from colasearch.storage.traces import Trace
from colasearch.training.data.hidden_cache import hidden_states
from colasearch.training.from_search.policy import SearchPolicyConfig, SearchPolicyLearner, group_loss
from colasearch.training.from_search.targets import find_traces, improved_policy, search_data
from colasearch.training.values.heads import (
    HeadLearner,
    add_head,
    q_data,
    value_data,
)


@pytest.fixture(scope="module")
def traces(model_folder) -> list[Trace]:
    """Real searches, by Gumbel, of a few problems with the tiny model, whose value head says different things."""
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    add_head(lm.require_latents(), "value", seed=0)
    with torch.no_grad():
        weight = lm.require_latents().value.out.weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    settings = SearchSettings(sims=24, world=WorldConfig(max_tokens=16, max_step_tokens=3, references=4))
    problems = [Problem.from_text(f"{i}+1?") for i in range(3)]
    found = [done.trace for done in search_problems(lm, problems, settings)]
    assert all(found)
    return sorted(found, key=lambda t: t.problem_id)


def test_every_open_node_is_a_target_once_and_stands_where_its_tokens_end(traces):
    data = search_data(traces)
    wanted = sorted(
        (trace.problem_id, node.value, node.visits) for trace in traces for node in trace.nodes if not node.end
    )
    assert sorted((n.problem, n.value, n.visits) for n in data.nodes) == wanted
    assert len({(n.document, n.position) for n in data.nodes}) == len(data.nodes)
    by_id = {trace.problem_id: trace for trace in traces}
    texts = set()
    for trace in traces:
        for slot, node in enumerate(trace.nodes):
            tokens: list[int] = []
            while slot > 0:
                tokens = [*trace.nodes[slot].tokens, *tokens]
                slot = trace.nodes[slot].parent
            if not node.end:
                texts.add((trace.problem_id, (*trace.prompt_tokens, *tokens)))
    for n in data.nodes:
        document = data.corpus.documents[n.document]
        assert document.tokens[: document.prompt] == by_id[n.problem].prompt_tokens
        assert (n.problem, document.tokens[: n.position + 1]) in texts


def test_our_improved_policy_is_the_search_s_own_at_the_root(traces):
    """Written anew from the paper for interior nodes; at the root the trace holds what the search itself computed."""
    for trace in traces:
        kids = [n for n in trace.nodes if n.parent == 0]
        own = [sum(trace.policy_target[c] for c in k.codes) for k in kids]
        assert improved_policy(trace.nodes[0], kids) == pytest.approx(own, abs=2e-4)
        assert sum(own) <= 1 + 1e-5
        assert max(own) > 0.2  # the search has an opinion


def test_shares_of_visits(traces):
    for node in search_data(traces, "visits").nodes:
        if node.children:
            total = sum(c.visits for c in node.children)
            assert [c.target for c in node.children] == [c.visits / total for c in node.children]


def test_q_targets_are_reward_plus_value_and_merged_codes_share_them(traces, own, tmp_path):
    data = search_data(traces)
    states = hidden_states(own.base, data.corpus, lambda a, b: None, tmp_path / "h")
    table = q_data(states, data.nodes, 8)
    parents = [(t, s) for t in traces for s, n in enumerate(t.nodes) if not n.end]
    by_key = {(t.problem_id, t.nodes[s].value, t.nodes[s].visits): (t, s) for t, s in parents}
    checked = 0
    for row, node in enumerate(data.nodes):
        trace, slot = by_key[node.problem, node.value, node.visits]
        kids = [n for n in trace.nodes if n.parent == slot]
        if len(kids) != len(node.children):
            continue  # two nodes with equal numbers
        for kid in kids:
            for code in kid.codes:
                assert float(table.targets[row, code]) == pytest.approx(kid.reward + kid.value)
                checked += 1
        assert int((table.weights[row] > 0).sum()) == sum(len(k.codes) for k in kids if k.visits)
    assert checked > 20


def test_traces_without_codes_or_nodes_are_refused(traces, tmp_path):
    import dataclasses

    with pytest.raises(InputError, match="searched sampled actions"):
        search_data([dataclasses.replace(traces[0], actions="sampled")])
    with pytest.raises(InputError, match="0 traces hold no open node"):
        search_data([])
    with pytest.raises(InputError, match="holds no traces"):
        find_traces(tmp_path)
    traces[0].write(tmp_path / "b.json.gz")
    (tmp_path / "run" / "traces" / "gumbel-8").mkdir(parents=True)
    traces[0].write(tmp_path / "run" / "traces" / "gumbel-8" / "a.json.gz")
    assert find_traces(tmp_path / "run") == [tmp_path / "run" / "traces" / "gumbel-8" / "a.json.gz"]


def test_only_the_head_trains(own, traces, tmp_path):
    data = search_data(traces)
    states = hidden_states(own.base, data.corpus, lambda a, b: None, tmp_path / "h")
    for head, table in (("value", value_data(states, data.nodes)), ("q", q_data(states, data.nodes, 8))):
        modules = own.require_latents()
        add_head(modules, head, seed=0)
        learner = HeadLearner(modules, head, table)
        learner.accumulate(range(len(data.nodes)), 0, 1)
        moved = {n.split(".")[0] for n, p in modules.named_parameters() if p.grad is not None}
        assert moved == {head}
        modules.zero_grad(set_to_none=True)
    # Both heads survive saving, and the search takes the value head up.
    own.save_pretrained(tmp_path / "model")
    again = LatentLM.from_pretrained(str(tmp_path / "model"), "cpu", "float32").require_latents()
    assert isinstance(again.value, ValueHead)
    assert isinstance(again.q, QHead)


def test_the_group_loss_is_least_where_the_sums_are_the_shares():
    groups = torch.tensor([[1, 1, 2, 0, 0]])
    shares = torch.tensor([[0.2, 0.5, 0.3]])
    logits = torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0]], requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        group_loss(torch.log_softmax(logits, -1), groups, shares).sum().backward()
        optimizer.step()
    p = torch.softmax(logits.detach(), -1)[0]
    sums = [float(p[3] + p[4]), float(p[0] + p[1]), float(p[2])]
    assert sums == pytest.approx([0.2, 0.5, 0.3], abs=1e-3)
    # Within a group the proportions stay as they were.
    assert float(p[1] / p[0]) == pytest.approx(np.e, rel=0.05)
    assert float(p[3] / p[4]) == pytest.approx(np.e**2, rel=0.05)


def test_the_policy_learns_root_and_interior_targets(own, traces, tmp_path):
    data = search_data(traces)
    states = hidden_states(own.base, data.corpus, lambda a, b: None, tmp_path / "h")
    modules = own.require_latents()
    learner = SearchPolicyLearner(modules, states, data.nodes, micro_tokens=512)
    documents = sorted(learner.by_document)
    kept = [n for nodes in learner.by_document.values() for n in nodes]
    roots = sum(data.corpus.documents[n.document].prompt == n.position + 1 for n in kept)
    assert roots == len(traces)
    assert len(kept) > roots  # interior nodes too
    before = learner.evaluate(documents)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-2, weight_decay=0.0)
    for step in range(20):
        optimizer.zero_grad()
        learner.accumulate(documents, step, 20)
        optimizer.step()
    after = learner.evaluate(documents)
    assert after["nodes"] == len(kept)
    assert after["kl"] < 0.3 * before["kl"]
    assert after["kl"] >= -1e-6
    assert {n.split(".")[0] for n, p in modules.named_parameters() if p.grad is not None} == {"policy"}
    with pytest.raises(InputError, match="was visited 1000 times"):
        SearchPolicyLearner(modules, states, data.nodes, SearchPolicyConfig(min_visits=1000))


@pytest.fixture
def learned(model_folder, traces, tmp_path):
    """A function: the policy's held-out measures after it learned from ``traces``, and before."""
    data = search_data(traces)

    def learn(**changes: float) -> tuple[dict[str, float], dict[str, float], float]:
        lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
        states = hidden_states(lm.base, data.corpus, lambda a, b: None, tmp_path / "h")
        config = SearchPolicyConfig(**changes)
        learner = SearchPolicyLearner(lm.require_latents().float(), states, data.nodes, config, micro_tokens=512)
        documents = sorted(learner.by_document)
        start = learner.evaluate(documents)
        assert start["drift"] == pytest.approx(0, abs=1e-6)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=2e-2, weight_decay=0.0)
        for step in range(14):
            optimizer.zero_grad()
            learner.accumulate(documents, step, 14)
            optimizer.step()
        return start, learner.evaluate(documents), entropy_of(lm, states, documents)

    return learn


def entropy_of(lm: LatentLM, states, documents) -> float:
    """Mean over texts of the mean entropy of the policy's codes along a text."""
    means = []
    for i in documents:
        with torch.no_grad():
            p = torch.softmax(lm.require_latents().policy(states.of(i)[None])[0], -1)
        means.append(float(-(p * p.log()).sum(-1)[states.documents[i].prompt - 1 :].mean()))
    return float(np.mean(means))


def test_the_policy_before_holds_the_policy_back_wherever_texts_go(learned):
    (start, free, _), (_, held, _) = learned(), learned(beta=1.0)
    assert free["kl"] < start["kl"]  # it does learn
    assert held["kl"] < start["kl"]
    assert 0 < held["drift"] < 0.5 * free["drift"]
    assert free["kl"] < held["kl"]
    with pytest.raises(InputError, match="beta is -1"):
        learned(beta=-1.0)


@pytest.mark.parametrize("changes", [{"target_temperature": 3.0}, {"prior_mix": 0.7}, {"entropy_floor": 1.6}])
def test_a_policy_can_be_kept_from_growing_sure_of_itself(learned, changes):
    (_, free, sharp), (_, kept, wide) = learned(), learned(**changes)
    assert sharp < 1.5
    assert wide > sharp + 0.05
    assert kept["drift"] < free["drift"]
    if "entropy_floor" in changes:
        assert wide > 1.55


def test_targets_at_a_temperature_and_mixed_with_the_policy_before(own, traces, tmp_path):
    data = search_data(traces, "visits")
    states = hidden_states(own.base, data.corpus, lambda a, b: None, tmp_path / "h")
    for changes in ({"target_temperature": 2.0}, {"prior_mix": 0.25}):
        learner = SearchPolicyLearner(own.require_latents(), states, data.nodes, SearchPolicyConfig(**changes))
        documents = sorted(learner.by_document)
        wanted = []
        for i in documents:
            prior = torch.softmax(own.require_latents().policy(states.of(i)[None])[0].detach(), -1)
            for node in learner.by_document[i]:
                shares = torch.tensor([c.target for c in node.children])
                sums = torch.stack([prior[node.position, list(c.codes)].sum() for c in node.children])
                mixed, soft = 0.75 * shares + 0.25 * sums, shares.sqrt() / shares.sqrt().sum()
                target = mixed if "prior_mix" in changes else soft
                rest = 1 - float(sums.sum())
                lost = -float((target * sums.log()).sum())
                wanted.append(lost - (0.25 * rest * float(np.log(max(rest, 1e-20))) if "prior_mix" in changes else 0))
        assert learner.evaluate(documents)["ce"] == pytest.approx(float(np.mean(wanted)), rel=1e-4)


@pytest.mark.parametrize("changes", [{"target_temperature": 0.0}, {"prior_mix": 1.0}, {"entropy_floor": -0.1}])
def test_numbers_of_learning_from_search_that_are_out_of_range(learned, changes):
    with pytest.raises(InputError, match="they must be above 0"):
        learned(**changes)


def test_drift_is_the_mean_divergence_over_the_states_that_choose_tokens(own, traces, tmp_path):
    data = search_data(traces)
    states = hidden_states(own.base, data.corpus, lambda a, b: None, tmp_path / "h")
    policy = own.require_latents().policy
    learner = SearchPolicyLearner(own.require_latents(), states, data.nodes, micro_tokens=128)
    documents = sorted(learner.by_document)
    rows = [policy(states.of(i)[None])[0].detach() for i in documents]
    with torch.no_grad():
        policy.head.weight.mul_(1.5)
    wanted = []
    for i, old in zip(documents, rows, strict=True):
        now = policy(states.of(i)[None])[0].detach()
        start = data.corpus.documents[i].prompt - 1
        p, q = torch.softmax(old[start:], -1), torch.softmax(now[start:], -1)
        wanted += [float(v) for v in (p * (p / q).log()).sum(-1)]
    assert learner.evaluate(documents)["drift"] == pytest.approx(float(np.mean(wanted)), rel=1e-4)
