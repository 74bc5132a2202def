"""Summaries and verdicts from hand-made records; comparison and export of runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from colasearch.benchmarks.harness.summary import arm_summary, build, compare_arms, cut_said
from colasearch.cli.main import main
from colasearch.storage.runs import RunFolder, manifest_of

IDS = [f"p{i}" for i in range(40)]


def record(name: str, arm: str, correct: bool, *, sims: int = 8, tokens: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "schema": 1, "problem_id": name, "arm": arm, "sims": 0 if arm == "greedy" else sims, "status": "ok",
        "error": None, "subject": "s", "level": None, "gold": "1", "answer": "1" if correct else "2", "text": "t",
        "correct": correct, "oracle": correct, "texts": 4, "texts_correct": 2 * correct, "candidates": [],
        "stop": "budget", "sims_done": 4, "effective_branching": None, "token_budget": 100,
        "generated_tokens": tokens, "model_calls": 5, "seconds": 1.0, "wall_seconds": 0.5, "trace": None, **more,
    }  # fmt: skip


def error(name: str, arm: str) -> dict[str, Any]:
    return {
        "schema": 1, "problem_id": name, "arm": arm, "sims": 8, "status": "error",
        "error": {"kind": "InputError", "message": "m"}, "subject": "s", "level": None, "gold": "1",
        "wall_seconds": 0.25, "trace": None,
    }  # fmt: skip


def arm(name: str, right: int, **more: Any) -> list[dict[str, Any]]:
    return [record(p, name, i < right, **more) for i, p in enumerate(IDS)]


def summary(
    *records: dict[str, Any], searcher: str = "gumbel", arms: tuple[str, ...] = ("gumbel", "majority", "best_of_n")
):
    return build(
        records, benchmark="b", model="m", seed=0, searcher=searcher, arms=arms, sims=(8,), ids=IDS,
        groups={"subject": ["s"]}, data={"source": "x"},
    )  # fmt: skip


def test_errors_count_as_unsolved_and_cost_only_time():
    found = arm_summary([record("a", "gumbel", True), error("b", "gumbel")], "gumbel", {})
    assert found["selected"]["correct"] == 1
    assert found["selected"]["accuracy"] == 0.5
    assert found["errors"] == 1
    assert found["generated_tokens"] == 100
    assert found["seconds"] == 0.75


def test_cut_texts_are_counted_and_told_with_the_flag_to_raise():
    cut = [record("a", "greedy", False, answer=None, cut=1), record("b", "greedy", True, cut=2)]
    older = record("a", "gumbel", True)  # of a run from before texts were counted
    found = arm_summary([*cut, error("c", "greedy")], "greedy", {})
    assert (found["cut"], found["cut_unanswered"]) == (3, 1)
    assert arm_summary([older], "gumbel", {})["cut"] == 0
    told = {"arms": {"greedy": found, "gumbel": arm_summary([older], "gumbel", {})}, "max_tokens": 1024}
    assert cut_said(told) == [
        f"greedy: 3 texts were cut at 1,024 tokens and {found['texts']} came to an end; "
        "1 of 3 problems have no answer for that",
        "Cut texts count as no answer: raise --max-tokens.",
    ]
    assert cut_said({"arms": {"gumbel": told["arms"]["gumbel"]}}) == []


def test_selected_and_oracle_are_kept_apart():
    records = [record("a", "gumbel", False, oracle=True), record("b", "gumbel", True)]
    found = arm_summary(records, "gumbel", {})
    assert (found["selected"]["correct"], found["oracle"]["correct"]) == (1, 2)


def test_pass_at_k_is_for_independent_texts_up_to_the_fewest():
    records = [record("a", "majority", True, sims_done=4, texts_correct=1), record("b", "majority", False, sims_done=9)]
    found = arm_summary(records, "majority", {})["pass_at_k"]
    assert found == {"1": 0.125, "2": 0.25, "4": 0.5}
    assert arm_summary([record("a", "gumbel", True)], "gumbel", {})["pass_at_k"] is None


def test_comparisons_leave_out_what_errored_in_either_arm():
    first = [record("a", "gumbel", True), error("b", "gumbel"), record("c", "gumbel", True)]
    second = [record("a", "majority", False, tokens=110), record("b", "majority", True), error("c", "majority")]
    found = compare_arms(first, second, 0)
    assert (found["n"], found["difference"], found["only_first"], found["token_ratio"]) == (1, 1.0, 1, 1.1)


@pytest.mark.parametrize(
    ("search", "majority", "best", "says"),
    [
        (30, 10, 12, "the search is worth running here"),
        (10, 30, 10, "the search is not worth running here"),
        (20, 19, 10, "it is not shown that the search is worth running"),
        (20, 20, 20, "no problem tells them apart"),
    ],
)
def test_the_verdict_says_plainly_whether_search_won(search, majority, best, says):
    records = [*arm("gumbel", search), *arm("majority", majority), *arm("best_of_n", best)]
    found = summary(*records)
    assert says in found["verdict"]
    assert found["complete"]
    words = {30: "beats majority vote", 10: "loses to majority vote"}
    expected = {20: "ties with majority vote"} if majority == search else {20: "is ahead of majority vote"}
    assert {**words, **expected}[search] in found["verdict"]
    assert f"gumbel solves {100 * search / 40:.1f}%" in found["verdict"]


def test_three_of_six_problems_are_no_claim():
    records = [*arm("gumbel", 3)[:6], *arm("majority", 0)[:6], *arm("best_of_n", 0)[:6]]
    said = summary(*records)["verdict"]
    assert "beats" not in said
    assert "too few to tell, it takes 6" in said
    assert "it is not shown that the search is worth running" in said


def test_one_baseline_alone_gives_no_verdict_on_the_search():
    said = summary(*arm("gumbel", 30), *arm("majority", 10), arms=("gumbel", "majority"))["verdict"]
    assert "gumbel beats majority vote" in said
    assert "best-of-N was not run, so whether the search is worth its tokens is not known" in said
    assert "worth running" not in said


def test_a_win_over_a_baseline_with_fewer_tokens_is_none_at_equal_tokens():
    poor = [{**r, "generated_tokens": 50} for r in arm("majority", 10)]
    said = summary(*arm("gumbel", 30), *poor, *arm("best_of_n", 10))["verdict"]
    assert "Majority vote generated 0.50 times as many tokens as gumbel." in said
    assert "it is not shown" in said


def test_without_a_baseline_nothing_is_claimed():
    found = summary(*arm("gumbel", 30), *arm("greedy", 3), arms=("gumbel", "greedy"))
    assert "not known" in found["verdict"]
    assert found["comparisons"][0]["separate"] is True


def test_an_interrupted_run_is_not_complete():
    found = summary(*arm("gumbel", 30), *arm("majority", 10)[:7])
    assert found["complete"] is False
    assert found["arms"]["majority"]["n"] == 7
    assert found["comparisons"][0]["n"] == 7


def test_the_order_of_records_does_not_matter():
    records = [*arm("gumbel", 30), *arm("majority", 10), *arm("best_of_n", 12)]
    assert summary(*records) == summary(*reversed(records))


def folder(path: Path, *records: dict[str, Any], hashes: dict[str, Any] | None = None, **settings: Any) -> Path:
    given = {
        "benchmark": "b",
        "model": "m",
        "seed": 0,
        "searcher": "gumbel",
        "arms": ["gumbel", "majority"],
        "sims": [8],
        **settings,
    }
    with RunFolder(path, manifest_of("bench", given, hashes or {"data": "d", "base": "x"}, {})) as run:
        for one in records:
            run.append(one)
    return path


def test_compare_pairs_common_problems(tmp_path, capsys):
    first = folder(tmp_path / "a", *arm("gumbel", 30), *arm("majority", 10))
    second = folder(tmp_path / "b", *arm("gumbel", 10)[:20], *arm("majority", 10), error("p39", "gumbel"), seed=1)
    assert main(["compare", str(first), str(second), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == ["seed: 0 and 1"]
    gumbel, majority = found["rows"]
    assert (gumbel["n"], gumbel["first"]["correct"], gumbel["second"]["correct"]) == (20, 20, 10)
    assert gumbel["difference"] == 0.5
    assert gumbel["separate"] is True
    assert (majority["n"], majority["difference"], majority["only_first"]) == (40, 0.0, 0)
    assert main(["compare", str(first), str(second)]) == 0
    shown = capsys.readouterr().out
    assert "+50.0" in shown
    assert "differs in seed" in shown


def test_compare_pairs_the_searchers_of_both_runs(tmp_path, capsys):
    first = folder(tmp_path / "a", *arm("gumbel", 30))
    second = folder(tmp_path / "b", *arm("puct", 10), searcher="puct", arms=["puct", "majority"])
    assert main(["compare", str(first), str(second), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert (row["first_arm"], row["second_arm"], row["difference"]) == ("gumbel", "puct", 0.5)


def test_compare_refuses_other_problems(tmp_path, capsys):
    first = folder(tmp_path / "a", *arm("gumbel", 30))
    for name, says, second in (
        ("b", "compare runs of one benchmark", folder(tmp_path / "b", *arm("gumbel", 3), benchmark="c")),
        ("c", "different problems", folder(tmp_path / "c", *arm("gumbel", 3), hashes={"data": "e"})),
        ("d", "no problem in common", folder(tmp_path / "d", record("other", "gumbel", True))),
        ("e", "no run folder", tmp_path),
    ):
        assert main(["compare", str(first), str(second)]) == 2, name
        assert says in capsys.readouterr().err


def test_export_writes_every_record_with_typed_columns(tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install '.[parquet]'")
    run = folder(tmp_path / "a", *arm("gumbel", 30), error("p1", "majority"))
    assert main(["export", str(run), "--parquet"]) == 0
    assert "41 rows" in capsys.readouterr().out
    table = parquet.read_table(run / "problems.parquet")
    assert table.column("correct").to_pylist().count(True) == 30
    assert table.column("error_message").to_pylist()[-1] == "m"
    assert table.column("benchmark").to_pylist()[0] == "b"
    empty = folder(tmp_path / "b")
    assert main(["export", str(empty), "--parquet", "--output", str(tmp_path / "x.parquet")]) == 0
    assert parquet.read_table(tmp_path / "x.parquet").schema == table.schema
    capsys.readouterr()
    assert main(["export", str(run)]) == 0
    assert main(["export", str(run), "--format", "xlsx"]) == 2
    assert "'parquet'" in capsys.readouterr().err


def test_export_without_pyarrow_names_the_extra(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(folder(tmp_path / "a")), "--parquet"]) == 3
    assert "'.[parquet]'" in capsys.readouterr().err


def test_tensorboard_logs_accuracy_as_problems_come_in(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install '.[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from colasearch.cli.bench_tensorboard import BoardListener

    class Silent:
        def __init__(self) -> None:
            self.seen: list[dict[str, Any]] = []

        def began(self, arm: str, sims: int) -> None: ...

        def working(self, tokens: int, sims: int) -> None: ...

        def finished(self, record: dict[str, Any]) -> None:
            self.seen.append(record)

    inner = Silent()
    with BoardListener(tmp_path, inner, arm("gumbel", 1)[:1]) as listener:
        for one in arm("gumbel", 1)[1:3]:
            listener.finished(one)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("accuracy/gumbel@8")] == [(2, 0.5), (3, 1 / 3)]
    assert len(inner.seen) == 2


def test_summaries_are_made_without_torch():
    code = "import sys; from colasearch.benchmarks.harness import summary; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
