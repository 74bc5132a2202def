"""``compare --judge``: win rates of two runs' texts by a reward, and by a judge that sees each pair in both orders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reward_server import reward_server
from test_summary import IDS, folder, record

from colasearch.benchmarks.harness.contest import tally
from colasearch.cli.main import main
from colasearch.problem import Problem
from colasearch.rewards import chooser_of
from colasearch.verifiers.rewards.pairwise import Choice, winner


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A's first 30 texts are longer, the next 4 are B's own, the last 6 shorter."""

    def run(name: str, lengths: list[int]) -> Path:
        records = [
            record(p, "gumbel", True, problem=f"Write of {p}.", text="x" * n) for p, n in zip(IDS, lengths, strict=True)
        ]
        return folder(tmp_path / name, *records, arms=["gumbel"])

    return run("a", [9] * 30 + [5] * 4 + [1] * 6), run("b", [5] * 40)


def judged(capsys: pytest.CaptureFixture[str], *args: object) -> dict:
    assert main(["compare", *map(str, args), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["judge"]["rows"]
    return row


def test_a_reward_tells_which_texts_are_better(runs, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("def length(problems, texts):\n    return [len(t) if len(t) > 1 else None for t in texts]\n")
    row = judged(capsys, *runs, "--judge", f"{file}:length")
    assert (row["n"], row["wins"], row["losses"], row["ties"], row["unjudged"]) == (34, 30, 0, 4, 6)
    assert row["win_rate"] == pytest.approx(32 / 34, abs=1e-6)
    assert row["ci95"][0] < row["win_rate"] <= row["ci95"][1] <= 1
    assert row["separate"] is True
    assert row["position"] is None
    assert row["characters"] == [pytest.approx((270 + 20 + 6) / 40), 5.0]
    back = judged(capsys, *reversed(runs), "--judge", f"{file}:length")
    assert back["win_rate"] == pytest.approx(1 - row["win_rate"], abs=1e-6)
    assert main(["compare", *map(str, runs), "--judge", f"{file}:length"]) == 0
    shown = capsys.readouterr().out
    assert "94.1" in shown
    assert "6 pairs could not be judged" in shown


def longer(question: str) -> str:
    """A fair judge's reply: the longer answer wins."""
    a, b = (question.partition(f"[answer {name}]\n")[2].partition("\n")[0] for name in "AB")
    return "Winner: tie" if len(a) == len(b) else f"They differ.\nWinner: {'A' if len(a) > len(b) else 'B'}"


def test_a_judge_is_asked_about_both_orders_and_only_once(runs, tmp_path, capsys):
    with reward_server() as server:
        server.chat = longer
        spec = f"judge:big@{server.url}?cache={tmp_path / 'said.sqlite'}"
        row = judged(capsys, *runs, "--judge", spec)
        assert (row["wins"], row["losses"], row["ties"]) == (30, 6, 4)
        assert row["position"] == {
            "pairs": 36, "changed": 0, "shown_first": 0.5, "won_by_place": [0, 0], "first_of_those_ci95": [0, 1],
            "biased": False,
        }  # fmt: skip
        assert len(server.asked) == 72  # equal texts are not asked about
        assert judged(capsys, *runs, "--judge", spec) == row
        assert len(server.asked) == 72


def test_a_judge_that_goes_by_place_decides_nothing_and_is_told_of(runs, tmp_path, capsys):
    with reward_server() as server:
        server.chat = lambda question: "A"
        spec = f"judge:big@{server.url}?cache={tmp_path / 'said.sqlite'}"
        row = judged(capsys, *runs, "--judge", spec)
        assert (row["wins"], row["losses"], row["ties"], row["win_rate"]) == (0, 0, 40, 0.5)
        assert row["position"]["shown_first"] == 1.0
        assert row["position"]["biased"] is True
        assert main(["compare", *map(str, runs), "--judge", spec]) == 0
        assert "it goes by place" in capsys.readouterr().out


def test_a_judge_that_is_down_ends_the_command(runs, tmp_path, capsys):
    spec = f"judge:big@http://127.0.0.1:9?tries=1&cache={tmp_path / 'said.sqlite'}"
    assert main(["compare", *map(str, runs), "--judge", spec]) == 3
    assert "is down" in capsys.readouterr().err


def test_replies_are_read(tmp_path):
    for reply, share in (
        ("Winner: A", 1.0), ("**Winner:** Answer B.", 0.0), ("winner: Tie", 0.5), (" b. ", 0.0),
        ("Winner: A? No.\nWinner: B", 0.0), ("A better one is hard to find", None), ("Winner: Alice", None),
    ):  # fmt: skip
        assert winner(reply) == share, reply
    with reward_server() as server:
        server.chat = lambda question: "poison" if "poisoned" in question else "no idea"
        chooser = chooser_of(f"judge:big@{server.url}?cache={tmp_path / 'said.sqlite'}")
        problems = [Problem.from_text("p")] * 2
        refused, unclear = chooser.choose(problems, ["poison", "a"], ["b", "b"])
    assert (refused.share, unclear.share) == (None, None)
    assert "400" in refused.reason
    assert "named no winner" in unclear.reason


def test_ties_count_half_and_the_sign_test_leaves_them_out():
    choices = [Choice(1.0)] * 9 + [Choice(0.0)] + [Choice(0.5)] * 10 + [Choice(None, reason="refused")]
    found = tally(choices, seed=0)
    assert (found["n"], found["win_rate"], found["unjudged"], found["why"]) == (20, 0.7, 1, "refused")
    assert found["p_value"] == pytest.approx(2 * (1 + 10) / 2**10)
    assert found["ci95"][0] > 0.5
    assert found["separate"] is True
    assert tally([], seed=0)["ci95"] == [0.0, 1.0]
