"""Learning from search: targets of real traces, value and Q regression, double DQN, the policy on merged codes."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
import pytest
import torch

from colasearch.engine.scheduler import SearchSettings, search_problems
from colasearch.engine.world_config import WorldConfig
from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.value import QHead, ValueHead
from colasearch.problem import Problem
from colasearch.traces import Trace
from colasearch.training.hidden_cache import hidden_states
from colasearch.training.loop import LoopConfig, TrainRun, fit
from colasearch.training.q_learning import DoubleQLearner, Transitions, returns_of_codes
from colasearch.training.rl import Episode
from colasearch.training.search_data import find_traces, improved_policy, search_data
from colasearch.training.search_policy import SearchPolicyLearner, group_loss
from colasearch.training.value import (
    HeadLearner,
    Texts,
    ValueData,
    add_head,
    ordered_pairs,
    plan_of,
    q_data,
    value_data,
    within_problems,
)


@pytest.fixture
def own(model_folder):
    lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
    lm.require_latents().float()
    return lm


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
            assert [c.share for c in node.children] == [c.visits / total for c in node.children]


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
    with pytest.raises(PrerequisiteError, match="holds no traces"):
        find_traces(tmp_path)
    traces[0].write(tmp_path / "b.json.gz")
    (tmp_path / "run" / "traces" / "gumbel-8").mkdir(parents=True)
    traces[0].write(tmp_path / "run" / "traces" / "gumbel-8" / "a.json.gz")
    assert find_traces(tmp_path / "run") == [tmp_path / "run" / "traces" / "gumbel-8" / "a.json.gz"]


def fit_head(learner: HeadLearner, count: int, rate: float = 3e-2, steps: int = 300) -> None:
    optimizer = torch.optim.AdamW(learner.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        for batch in plan_of(range(count), count, 0, step):
            optimizer.zero_grad()
            learner.accumulate(batch, step, steps)
            optimizer.step()


def test_value_regression_recovers_known_values(own):
    """Noisy returns of states whose true value is known: the head finds their means, weighted by visits."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 16, generator=generator)
    truth = torch.tensor([0.1, 0.35, 0.6, 0.9])
    which = torch.arange(200) % 4
    returns = (torch.rand(200, generator=generator) < truth[which]).float()
    means = torch.stack([returns[which == k].mean() for k in range(4)])
    modules = own.require_latents()
    add_head(modules, "value", seed=0)
    learner = HeadLearner(modules, "value", ValueData(centres[which], returns, torch.ones(200)))
    fit_head(learner, 200, steps=150)
    with torch.no_grad():
        torch.testing.assert_close(modules.value(centres), means, atol=0.02, rtol=0)
    weights = torch.where(returns > 0, 3.0, 1.0)
    learner = HeadLearner(modules, "value", ValueData(centres[which], returns, weights))
    fit_head(learner, 200, steps=150)
    weighted = torch.stack([(returns * weights)[which == k].sum() / weights[which == k].sum() for k in range(4)])
    with torch.no_grad():
        torch.testing.assert_close(modules.value(centres), weighted, atol=0.02, rtol=0)


def test_within_problems_the_sides_weigh_alike_and_undivided_problems_are_left_out():
    states = torch.arange(12.0)[:, None]
    texts = Texts(["a", "b", "a", "a", "c"], [3, 2, 1, 2, 4], [1.0, 1.0, 0.0, 0.0, 0.5])
    rewards = torch.tensor(texts.rewards).repeat_interleave(torch.tensor(texts.counts))
    data, some = within_problems(ValueData(states, rewards, torch.ones(12)), texts)
    assert (some.problems, some.counts, some.rewards) == (["a"] * 3, [3, 1, 2], [1.0, 0.0, 0.0])
    assert some.last_states() == [2, 3, 5]
    assert data.states_ND[:, 0].tolist() == [0, 1, 2, 5, 6, 7]
    assert data.targets.tolist() == [1, 1, 1, 0, 0, 0]
    torch.testing.assert_close(data.weights, torch.tensor([1 / 3] * 3 + [1 / 2] + [1 / 4] * 2))
    assert data.mean() == pytest.approx(0.5)
    # Graded rewards: what is above the problem's mean is the better side.
    graded, _ = within_problems(
        ValueData(torch.zeros(3, 1), torch.zeros(3), torch.ones(3)), Texts(["a"] * 3, [1] * 3, [0.1, 0.4, 1.0])
    )
    assert graded.targets.tolist() == [0, 0, 1]
    equal = [0.1] * 6  # whose mean is rounded to less than 0.1
    assert sum(equal) / 6 < 0.1
    assert Texts(["a"] * 6, [1] * 6, equal).better() == []
    with pytest.raises(InputError, match="nothing to tell apart"):
        within_problems(ValueData(states[:4], rewards[:4], torch.ones(4)), Texts(["a", "b"], [2, 2], [1.0, 0.0]))


def test_pairs_are_of_one_problem_and_equal_values_count_half():
    texts = Texts(["a", "b", "a", "b", "a"], [1] * 5, [1.0, 0.0, 0.0, 1.0, 0.0])
    assert ordered_pairs(dict(enumerate([0.5, 0.9, 0.4, 0.1, 0.5])), texts) == ((1 + 0.5 + 0) / 3, 3)
    assert ordered_pairs({0: 0.5, 1: 0.9, 2: 0.4}, texts) == (1.0, 1)
    assert ordered_pairs({}, texts) == (0.0, 0)


def test_within_problems_a_head_learns_what_the_problem_hides(own):
    """Simpson's paradox: texts of easier problems have more of a feature, a problem's better texts have less of it."""
    generator = torch.Generator().manual_seed(0)
    problems, each = 300, 4
    ease, quality = torch.randn(problems, 1, generator=generator), torch.randn(problems, each, generator=generator)
    rewards = (2 * ease + quality > 0).float().flatten()
    states = torch.zeros(problems * each, own.base.hidden_size)
    states[:, 0] = (2 * ease - 0.3 * quality).flatten()
    texts = Texts([f"{p}" for p in range(problems) for _ in range(each)], [1] * len(rewards), rewards.tolist())
    plain = ValueData(states, rewards, torch.ones(len(rewards)))
    order = {}
    for name, (data, owners) in {"plain": (plain, texts), "within": within_problems(plain, texts)}.items():
        modules = copy.deepcopy(own.require_latents())
        add_head(modules, "value", seed=0)
        fit_head(HeadLearner(modules, "value", data, owners), len(data.targets), steps=150)
        with torch.no_grad():
            order[name] = ordered_pairs(dict(enumerate(modules.value(states).tolist())), texts)[0]
    assert order["plain"] < 0.2
    assert order["within"] > 0.8


def test_q_regression_recovers_known_values_and_leaves_untried_codes(own):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(6, 16, generator=generator)
    truth = torch.rand(6, 8, generator=generator)
    weights = (torch.rand(6, 8, generator=generator) < 0.7).float()
    modules = own.require_latents()
    add_head(modules, "q", seed=0)
    learner = HeadLearner(modules, "q", ValueData(states, truth, weights))
    fit_head(learner, 6, rate=0.1)
    with torch.no_grad():
        error = (modules.q(states) - truth).abs()
    assert float(error[weights > 0].max()) < 0.03
    assert float(error[weights == 0].max()) > 0.1  # nothing taught those: the check can fail


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


def test_a_fresh_head_says_the_mean_and_final_rewards_train_the_codes_taken(own):
    """Codes that were never tried keep what they are given: nothing that double DQN's maximum could take up."""
    modules = own.require_latents()
    for head in ("value", "q"):
        add_head(modules, head, seed=0, start=0.03)
        torch.testing.assert_close(
            getattr(modules, head)(torch.randn(5, 16)), torch.full((5, 8)[: 1 + (head == "q")], 0.03)
        )
    data = Transitions(
        torch.randn(3, 16), torch.randn(3, 16), torch.tensor([2, 0, 2]), torch.tensor([0.0, 1.0, 0.5]),
        torch.tensor([False, True, True]),
    )  # fmt: skip
    episodes = [Episode(0, (1, 5, 6), 1, (2, 0), 1.0), Episode(1, (1, 7), 1, (2,), 0.5)]
    table = returns_of_codes(data, episodes, 8)
    assert table.targets[:, 2].tolist() == [1.0, 0.0, 0.5]
    assert table.targets[1, 0] == 1.0
    assert table.weights.nonzero().tolist() == [[0, 2], [1, 0], [2, 2]]
    assert table.mean() == pytest.approx(2.5 / 3)


def test_values_outside_the_unit_interval_are_refused(own):
    add_head(own.require_latents(), "value", 0)
    with pytest.raises(InputError, match=r"targets run from 0\.000 to 2\.000"):
        HeadLearner(
            own.require_latents(), "value", ValueData(torch.zeros(2, 16), torch.tensor([0.0, 2]), torch.ones(2))
        )


class Chain:
    """Four states in a row, two codes: 0 ends with a small reward, 1 goes on; the last state pays 1 for code 1.

    With discount 0.9 the optimal Q-values are known: going on from state s is worth 0.9 ** (3 - s).
    """

    rewards = (0.3, 0.2, 0.5, 0.1)

    def __init__(self) -> None:
        self.states = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))

    def transitions(self) -> Transitions:
        rows = [(s, a) for s in range(4) for a in (0, 1)]
        after = [min(s + 1, 3) for s, _ in rows]
        done = torch.tensor([a == 0 or s == 3 for s, a in rows])
        reward = torch.tensor([self.rewards[s] if a == 0 else float(s == 3) for s, a in rows])
        index = torch.tensor([s for s, _ in rows])
        return Transitions(self.states[index], self.states[after], torch.tensor([a for _, a in rows]), reward, done)

    def optimal(self, discount: float) -> torch.Tensor:
        go_on = [discount ** (3 - s) for s in range(4)]
        best = [max(r, g) for r, g in zip(self.rewards, go_on, strict=True)]
        q = [[self.rewards[s], discount * best[s + 1] if s < 3 else 1.0] for s in range(4)]
        return torch.tensor(q)


@pytest.mark.parametrize("discount", [0.9, 0.6])
def test_double_dqn_finds_the_optimal_q_of_a_small_decision_process(discount):
    chain = Chain()
    torch.manual_seed(0)
    head = QHead(16, 2)
    learner = DoubleQLearner(head, chain.transitions(), discount=discount, sync_every=25)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.1, weight_decay=0.0)
    for step in range(3000):
        optimizer.zero_grad()
        learner.accumulate(range(8), step, 3000)
        optimizer.step()
        learner.after_step(step, optimizer)
    with torch.no_grad():
        torch.testing.assert_close(head(chain.states), chain.optimal(discount), atol=3e-3, rtol=0)


def test_double_dqn_chooses_by_the_head_and_values_by_the_copy():
    chain = Chain()
    head = QHead(16, 2)
    learner = DoubleQLearner(head, chain.transitions(), discount=0.5)
    with torch.no_grad():
        copy = learner.holder.target(chain.states).clone()
        torch.testing.assert_close(copy, head(chain.states))
        head.out.weight.mul_(-3)
    learner.accumulate(range(8), 0, 1)
    chosen = head(chain.states).argmax(-1)
    y = learner.targets([1, 3, 7])  # code 1 in states 0, 1 and 3
    wanted = [0.5 * float(copy[1, chosen[1]]), 0.5 * float(copy[2, chosen[2]]), 1.0]
    torch.testing.assert_close(y, torch.tensor(wanted))
    assert {n for n, p in learner.holder.named_parameters() if p.grad is not None} == {
        "online.out.weight",
        "online.out.bias",
    }
    learner.holder.sync()
    torch.testing.assert_close(learner.holder.target(chain.states), head(chain.states))


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
    learner = SearchPolicyLearner(modules, states, data.nodes, min_visits=2, micro_tokens=128)
    documents = sorted(learner.by_document)
    kept = [n for nodes in learner.by_document.values() for n in nodes]
    roots = sum(data.corpus.documents[n.document].prompt == n.position + 1 for n in kept)
    assert roots == len(traces)
    assert len(kept) > roots  # interior nodes too
    before = learner.evaluate(documents)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(60):
        optimizer.zero_grad()
        learner.accumulate(documents, step, 60)
        optimizer.step()
    after = learner.evaluate(documents)
    assert after["nodes"] == len(kept)
    assert after["kl"] < 0.3 * before["kl"]
    assert after["kl"] >= -1e-6
    assert {n.split(".")[0] for n, p in modules.named_parameters() if p.grad is not None} == {"policy"}
    with pytest.raises(InputError, match="was visited 1000 times"):
        SearchPolicyLearner(modules, states, data.nodes, min_visits=1000)


def test_the_policy_before_holds_the_policy_back_wherever_texts_go(model_folder, traces, tmp_path):
    data = search_data(traces)

    def learned(beta: float) -> dict[str, float]:
        lm = LatentLM.from_pretrained(str(model_folder), "cpu", "float32")
        states = hidden_states(lm.base, data.corpus, lambda a, b: None, tmp_path / "h")
        learner = SearchPolicyLearner(lm.require_latents().float(), states, data.nodes, micro_tokens=128, beta=beta)
        documents = sorted(learner.by_document)
        start = learner.evaluate(documents)
        assert start["drift"] == pytest.approx(0, abs=1e-6)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, weight_decay=0.0)
        for step in range(40):
            optimizer.zero_grad()
            learner.accumulate(documents, step, 40)
            optimizer.step()
        end = learner.evaluate(documents)
        assert end["kl"] < start["kl"]  # it does learn
        return end

    free, held = learned(0.0), learned(1.0)
    assert 0 < held["drift"] < 0.5 * free["drift"]
    assert free["kl"] < held["kl"]
    with pytest.raises(InputError, match="beta is -1"):
        learned(-1.0)


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


def test_double_dqn_resumes_with_its_copy(tmp_path):
    """The copy is not renewed at every step, so a checkpoint must hold it."""
    data = Chain().transitions()

    def run(name: str, resume: bool = False, stop: int | None = None) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            learner = DoubleQLearner(QHead(16, 2), data, discount=0.9, sync_every=7)

        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            if done == stop:
                raise KeyboardInterrupt

        loop = LoopConfig(lr=0.1, warmup_steps=1, save_every=5, log_every=1)
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                TrainRun(tmp_path / name, {"config": {}}, resume), learner.holder, learner.parameters(), loop,
                lambda epoch: plan_of(range(8), 4, 0, epoch), 15, learner.accumulate,
                lambda: learner.evaluate(range(8)), progress, after_step=learner.after_step,
            )  # fmt: skip
        return torch.cat([p.detach().flatten() for p in learner.parameters()])

    whole = run("whole")
    run("cut", stop=19)
    assert torch.equal(run("cut", resume=True), whole)
