"""The shipped model ``countdown-tiny`` as a user has it: at work without any network."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from colasearch.cli.main import main
from colasearch.model.sources import pretrained_root
from colasearch.verifiers.countdown import evaluate_expression

ROOT = Path(__file__).resolve().parents[2]
FOLDER = pretrained_root() / "countdown-tiny"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "config.json").is_file(),
    reason=f"{FOLDER} is not there: countdown-tiny has not been trained and shipped yet (scripts/ship_model.py)",
)


@pytest.fixture
def offline(tmp_path, monkeypatch, capsys):
    """The command line with an empty cache and no network; gives standard output."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"network was used: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def run(*args: object) -> str:
        code = main([*map(str, args), "--threads", "1"])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return run


def test_it_solves_the_example_of_the_readme_without_network(offline):
    example = ROOT / "examples" / "countdown.json"
    out = offline("solve", example, "--model", "countdown-tiny", "--json")
    result = json.loads(out)
    assert (result["task"], result["model"], result["stop"]) == ("countdown", "countdown-tiny", "solved")
    given = json.loads(example.read_text())
    assert set(re.findall(r"\d+", result["answer"])) <= set(map(str, given["numbers"]))
    assert evaluate_expression(result["answer"])[0] == given["target"]
    shown = offline("solve", example, "--model", "countdown-tiny")
    assert f"Answer: {result['answer']}\n        to make 24 from 3, 5, 9\n        accepted by the verifier" in shown


def test_it_runs_a_benchmark_without_network(offline, tmp_path):
    offline("bench", "countdown", "--model", "countdown-tiny", "--limit", 2, "--sims", 8, "--output", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["n"], summary["complete"], summary["data"]["pinned"]) == (2, True, True)
    assert not any(arm["errors"] for arm in summary["arms"].values())
    assert summary["arms"]["gumbel"]["oracle"]["correct"] >= 1


def test_its_base_works_alone(offline):
    out = offline(
        "solve", ROOT / "examples" / "countdown.json", "--model", "countdown-tiny", "--actions", "sampled",
        "--sims", 8, "--json",
    )  # fmt: skip
    assert json.loads(out)["generated_tokens"] > 0
