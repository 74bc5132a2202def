"""What `bench throughput --model` measures, on models small enough to be quick."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from colasearch.benchmarks.measurements import model_speed as speed
from colasearch.benchmarks.measurements.published_loop import PublishedLoop
from colasearch.benchmarks.measurements.random_model import random_model
from colasearch.cli import bench_throughput
from colasearch.cli.bench_throughput import throughput as command
from colasearch.engine.settings import SearchSettings, WorldConfig
from colasearch.searchers import run

CONTRACT = {
    "schema", "model", "trees", "sims", "search_tokens_per_s", "batched_tokens_per_s", "naive_tokens_per_s",
    "fraction_outside_model", "peak_bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def random_lm():
    import torch

    torch.set_num_threads(1)
    return random_model("random-5m")


def test_the_random_model_has_the_size_that_its_name_says(random_lm):
    count = sum(p.numel() for p in random_lm.base.model.parameters())
    assert 4e6 < count < 6e6
    assert random_lm.num_codes == 64


def test_a_measured_search_accounts_for_its_tokens_and_bytes(random_lm):
    settings = SearchSettings(sims=4, world=WorldConfig(max_tokens=12, references=2))
    found = speed.search_speed(random_lm, 2, settings)
    assert found.tokens > 2 * 4
    assert found.tokens_per_s == pytest.approx(found.tokens / found.seconds)
    assert found.prefill_ratio == 1.0
    assert 0 <= found.fraction_outside_model < 1
    assert 0 < found.tree_bytes <= 1.1 * found.unique_bytes
    assert found.peak_bytes > found.tree_bytes


def test_the_published_loop_encodes_the_prefix_again_for_each_child(random_lm):
    problem = speed.problems_for(1)
    loop = PublishedLoop(random_lm, max_tokens=10, max_step_tokens=4)
    run("gumbel", loop, problem, sims=3, seed=0)
    prompt = len(loop._prompt)
    # Root, and for each child: first token, step, rollout, prior.
    assert loop.encoded_tokens >= prompt * (1 + 3 * 4)
    assert 3 * 10 - 3 <= loop.generated_tokens <= 3 * 11


def test_flops_count_every_linear_layer_and_the_head(random_lm):
    config = random_lm.base.model.config
    attention = 2 * config.hidden_size * (config.hidden_size + config.num_key_value_heads * config.head_dim)
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    total = config.num_hidden_layers * layer + config.hidden_size * config.vocab_size
    assert speed.flops_per_token(random_lm) == 2 * total


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    """What a command has measured."""
    return {}


@pytest.fixture(autouse=True)
def made_once(random_lm, kept, monkeypatch):
    """Commands measure the model that is there, and the first measures for all: each takes seconds."""
    monkeypatch.setattr("colasearch.benchmarks.measurements.random_model.random_model", lambda name, **how: random_lm)
    measure = bench_throughput._measure
    monkeypatch.setattr(bench_throughput, "_measure", lambda *given: kept or kept.update(measure(*given)) or kept)


def throughput(*arguments: str):
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_the_command_prints_the_contract_and_draws_the_plot(tmp_path):
    plot = tmp_path / "cost.png"
    result = throughput(
        "--model", "random-5m", "--trees", "1,2", "--sims", "1", "--max-tokens", "2", "--threads", "1",
        "--no-generate", "--plot", str(plot), "--json",
    )  # fmt: skip
    record = json.loads(result.stdout)
    assert set(record) >= CONTRACT
    assert (record["trees"], record["sims"], len(record["runs"])) == (2, 1, 2)
    assert record["naive_tokens_per_s"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_table_names_its_references(tmp_path):
    result = throughput(
        "--model", "random-5m", "--trees", "1", "--sims", "1", "--max-tokens", "2", "--threads", "1", "--no-generate"
    )
    assert "x plain batched" in result.stdout
    assert "published loop:" in result.stdout


def test_bad_numbers_are_a_usage_error():
    assert throughput("--model", "random-5m", "--trees", "1,x").exit_code == 2
