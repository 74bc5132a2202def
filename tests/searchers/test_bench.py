"""``colasearch bench throughput`` and ``bench searchers`` on small jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from colasearch.benchmarks.measurements import peers, quality, throughput
from colasearch.benchmarks.measurements.toy import KnownTrees, ToyWorld
from colasearch.cli.main import main
from colasearch.searchers import ALGORITHMS, run


def test_throughput_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--trees", "1,3", "--sims", "8", "--actions", "5", "--repeats", "1", "--no-peers", "--growth", "4,8"]
    assert main(["bench", "throughput", "--world", "toy", *arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["schema"] == 1
    assert record["world"] == "toy"
    assert {(rate["program"], rate["trees"]) for rate in record["rates"]} == {
        (f"colasearch {name}", trees) for name in ("gumbel", "puct", "ab_mcts") for trees in (1, 3)
    }
    for rate in record["rates"]:
        assert rate["sims_per_s"] == pytest.approx(rate["trees"] * rate["sims"] / rate["seconds"])
    assert [rate["sims"] for rate in record["growth"]] == [4, 8]


def test_throughput_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "throughput", "--trees", "2", "--sims", "4", "--repeats", "1", "--no-peers"]) == 0
    out = capsys.readouterr().out
    assert "| program | 2 trees |" in out
    assert "| colasearch gumbel | " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trees", "1,x"], "1,16,64"),
        (["--trees", "0"], "whole numbers above 0"),
        (["--searcher", "chess"], "'chess' is not a searcher"),
        (["--sims", "0"], "--sims"),
    ],
)
def test_bad_options_are_usage_errors(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "throughput", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_peer_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(world: ToyWorld, starts: list[int], sims: int) -> Any:
        raise ModuleNotFoundError("No module named 'absent'", name="absent")

    monkeypatch.setattr(throughput, "PEERS", {"absent puct": absent})
    lines = list(throughput.compare(["puct"], [1, 2], sims=2, actions=3, repeats=1, peers=True))
    assert [line for line in lines if isinstance(line, str)] == [
        "absent puct is left out: absent is not installed; pip install absent"
    ]
    assert len(lines) == 3


@pytest.mark.parametrize(
    "name", [name for name in sorted(peers.PEERS) if not name.startswith("mctx")]
)  # it has tests of its own
def test_peers_search_the_same_world(name: str) -> None:
    pytest.importorskip(name.split()[0], reason=f"{name.split()[0]} is not installed")
    world = ToyWorld(actions=4)
    assert peers.PEERS[name](world, world.starts(2), 6)() is not None


@pytest.mark.slow
def test_mctx_peer_does_the_same_job_as_ours() -> None:
    pytest.importorskip("mctx", reason="mctx is not installed: pip install '.[dev]'")
    world = ToyWorld(actions=16)
    starts = world.starts(32)
    theirs: Any = peers.mctx_puct(world, starts, 32)()
    ours = run("puct", world, starts, sims=32)
    # float32 against float64: a near tie may fall differently in a tree or two.
    same = (abs(theirs[1] - ours.policy_target_BA) < 1e-6).all(axis=1)
    assert same.sum() >= 30


def test_quality_compares_every_searcher_within_the_token_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["bench", "searchers", "--trees", "20", "--tokens", "24", "--actions", "3", "--depth", "3", "--json"]) == 0
    )
    rows = {row["searcher"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(rows) == {*ALGORITHMS, *quality.SETTINGS}
    for row in rows.values():
        assert 0 < row["tokens"] <= 24
        assert 0 <= row["best_action"] <= 1
        assert 0 <= row["pay"] <= 1 + 1e-12
    assert rows["gumbel"]["pay"] > rows["greedy"]["pay"]


def test_known_trees_are_optimal_by_enumeration() -> None:
    world = KnownTrees(3, actions=3, depth=3, margin=0.0)
    leaves = range(world.inner, world.inner * 3 + 1)
    for tree in range(3):
        assert max(world.pay(tree, leaf) for leaf in leaves) == pytest.approx(world.optimal_BS[tree, 0])


def test_bench_help_loads_no_numpy() -> None:
    code = (
        "import sys; from colasearch.cli.main import main; main(['bench', '--help']); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
