"""``colasearch bench NAME`` as a user runs it, on a tiny real model."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from summaries import summary_of, timeless

from colasearch.cli import bench_run
from colasearch.cli.main import main
from colasearch.storage.records import read_records
from colasearch.storage.runs import read_manifest
from colasearch.storage.traces import Trace

ARMS = ["gumbel", "greedy", "majority", "best_of_n"]


def test_the_summary_has_the_contract_s_fields(bench, tmp_path, talker_folder):
    code, out, err = bench("--json")
    assert code == 0, err
    summary = json.loads(out)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert {"schema", "benchmark", "n", "model", "sims", "seed", "arms"} <= set(summary)
    assert (summary["schema"], summary["benchmark"], summary["n"], summary["sims"], summary["seed"]) == (
        1,
        "svamp",
        8,
        6,
        0,
    )
    assert summary["model"] == str(talker_folder)
    assert list(summary["arms"]) == ARMS
    for arm in summary["arms"].values():
        for part in ("selected", "oracle"):
            assert set(arm[part]) == {"correct", "accuracy", "ci95"}
            assert arm[part]["accuracy"] == pytest.approx(arm[part]["correct"] / 8)
            assert arm[part]["ci95"][0] <= arm[part]["accuracy"] <= arm[part]["ci95"][1]
        assert arm["oracle"]["correct"] >= arm["selected"]["correct"]
        for number in ("generated_tokens", "model_calls", "seconds"):
            assert arm[number] > 0
        assert arm["errors"] == 0
    tokens = {name: arm["generated_tokens"] for name, arm in summary["arms"].items()}
    for name in ("majority", "best_of_n"):
        assert tokens["gumbel"] <= tokens[name] < tokens["gumbel"] + 8 * 12
    assert [c["second"] for c in summary["comparisons"]] == ["greedy", "majority", "best_of_n"]
    assert "majority vote" in summary["verdict"]
    assert set(summary["arms"]["gumbel"]["by"]) == {"subject", "level"}
    assert sum(p["n"] for p in summary["arms"]["gumbel"]["by"]["subject"].values()) == 8


def test_the_folder_holds_manifest_records_and_traces(bench, tmp_path):
    assert bench()[0] == 0
    folder = tmp_path / "run"
    manifest = read_manifest(folder)
    assert manifest["settings"]["max_tokens"] == 12
    assert len(manifest["hashes"]["base"]) == 64
    assert manifest["runtime"]["origins"]["data"] == "commandline"
    records = read_records(folder)
    assert len(records) == 4 * 8
    assert {(r["arm"], r["sims"]) for r in records} == {("greedy", 0), ("gumbel", 6), ("majority", 6), ("best_of_n", 6)}
    for record in records:
        trace = Trace.read(folder / record["trace"])
        assert trace.problem_id == record["problem_id"]
        assert trace.answer == record["answer"]
        assert trace.generated_tokens == record["generated_tokens"]
        assert len(trace.texts) == record["texts"] >= record["texts_correct"]
        assert record["correct"] <= record["oracle"]
        assert record["correct"] == (record["answer"] == record["gold"])
        right = sum(t.answer == record["gold"] for t in trace.texts)
        assert record["texts_correct"] == right
        assert record["oracle"] == (right > 0)
    assert any(r["correct"] for r in records)
    assert not all(r["correct"] for r in records)


def test_texts_that_are_cut_are_counted_and_told_everywhere(bench, tmp_path):
    code, out, err = bench("--max-tokens", 1, "--searcher", "weighted_vote", "--arms", "greedy,majority", "--sims", 3)
    assert code == 0, err
    summary = summary_of(tmp_path / "run")
    assert summary["max_tokens"] == 1
    assert {name: (arm["texts"], arm["cut"], arm["cut_unanswered"]) for name, arm in summary["arms"].items()} == {
        "weighted_vote": (0, 24, 8),
        "greedy": (0, 8, 8),
        "majority": (0, 24, 8),
    }
    assert sum(record["cut"] for record in read_records(tmp_path / "run")) == 56
    told = "greedy: 8 texts were cut at 1 tokens and 0 came to an end; 8 of 8 problems have no answer for that"
    for text in (" ".join(out.split()), (tmp_path / "run" / "report.md").read_text()):
        assert told in text
        assert "raise --max-tokens" in text
    assert "greedy 8/8 0.0% [0.0, 32.4]  8 texts cut" in err


def test_gold_answers_change_no_answer(bench, tmp_path, sums):
    """The scorer alone sees them: with other gold answers, every arm does the same."""
    assert bench()[0] == 0
    rows = [json.loads(line) for line in sums.read_text().splitlines()]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({**row, "answer": "99"}) + "\n" for row in rows))
    assert bench(output="other", data=other)[0] == 0
    strip = ("gold", "correct", "oracle", "texts_correct", "seconds", "wall_seconds", "sum")
    plain = [
        [{k: v for k, v in r.items() if k not in strip} for r in sorted(read_records(tmp_path / name), key=str_key)]
        for name in ("run", "other")
    ]
    assert plain[0] == plain[1]
    assert not any(r["correct"] for r in read_records(tmp_path / "other"))


def str_key(record: dict[str, Any]) -> tuple[str, str]:
    return record["arm"], record["problem_id"]


def test_results_do_not_depend_on_the_batch(bench, tmp_path):
    assert bench("--batch-size", 1)[0] == 0
    assert bench("--batch-size", 5, output="five")[0] == 0
    assert summary_of(tmp_path / "run") == summary_of(tmp_path / "five")


def test_a_curve_has_a_point_for_each_number_of_simulations(bench, tmp_path):
    code, out, _ = bench("--sims", "6,1,3")
    assert code == 0
    assert "simulations" in out
    summary = summary_of(tmp_path / "run")
    assert [point["sims"] for point in summary["curve"]] == [1, 3, 6]
    assert summary["sims"] == 6
    assert summary["arms"] == summary["curve"][-1]["arms"]
    tokens = [point["arms"]["gumbel"]["generated_tokens"] for point in summary["curve"]]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[-1]
    greedy = [point["arms"]["greedy"] for point in summary["curve"]]
    assert greedy[0] == greedy[1] == greedy[2]
    # The largest point is what a run with that number alone gives.
    assert bench("--sims", 6, output="six")[0] == 0
    assert summary_of(tmp_path / "six")["arms"] == summary["arms"]


def test_a_run_cut_off_after_any_record_resumes_to_the_same_summary(bench, tmp_path):
    assert bench("--sims", "2,6")[0] == 0
    whole = tmp_path / "run"
    lines = (whole / "problems.jsonl").read_bytes().splitlines(keepends=True)
    for kept in (0, 9, len(lines) - 1, len(lines)):
        part = tmp_path / f"part{kept}"
        part.mkdir()
        (part / "traces").mkdir()
        (part / "manifest.json").write_bytes((whole / "manifest.json").read_bytes())
        torn = lines[kept][:30] if kept < len(lines) else b""
        (part / "problems.jsonl").write_bytes(b"".join(lines[:kept]) + torn)
        code, _, err = bench("--sims", "2,6", "--resume", output=part.name)
        assert code == 0, err
        assert ("is torn" in err) == (kept < len(lines))
        assert summary_of(part) == summary_of(whole)
        assert len(read_records(part)) == len(lines)
        assert (part / "problems.jsonl").read_bytes().startswith(b"".join(lines[:kept]))


def test_resume_with_other_settings_names_them(bench):
    assert bench()[0] == 0
    code, _, err = bench("--resume", "--seed", 3, "--max-tokens", 13)
    assert code == 2
    assert "max-tokens was 12 and is now 13" in err
    assert "seed was 0 and is now 3" in err
    code, _, err = bench()
    assert code == 2
    assert "--resume" in err


def test_damaged_records_are_exit_4(bench, tmp_path):
    assert bench()[0] == 0
    path = tmp_path / "run" / "problems.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"correct": false', b'"correct": true', 1))
    code, _, err = bench("--resume")
    assert code == 4
    assert "is damaged" in err


def test_a_problem_that_errors_is_recorded_and_the_rest_is_run(bench, tmp_path, sums):
    rows = sums.read_text().splitlines()
    rows.insert(2, json.dumps({"id": "long", "problem": "word " * 300, "answer": "1"}))
    rows.insert(4, json.dumps({"id": "odd", "problem": "What is 1+2?", "answer": "\\frac{1}{"}))
    path = tmp_path / "with-errors.jsonl"
    path.write_text("\n".join(rows))
    code, out, err = bench("--json", data=path)
    assert code == 1
    summary = json.loads(out)
    assert {name: arm["errors"] for name, arm in summary["arms"].items()} == dict.fromkeys(ARMS, 2)
    assert summary["n"] == 10
    errors = [r for r in read_records(tmp_path / "run") if r["status"] == "error"]
    assert {r["problem_id"] for r in errors} == {"long", "odd"}
    assert "holds 512" in err
    assert all(c["n"] == 8 for c in summary["comparisons"])
    code, out, _ = bench("--json", "--resume", data=path)
    assert (code, timeless(json.loads(out))) == (1, timeless(summary))


def test_other_searchers_and_baselines_can_be_arms(bench, tmp_path):
    code, _, err = bench("--searcher", "puct", "--arms", "beam,best-of-n", "--limit", 3)
    assert code == 0, err
    summary = summary_of(tmp_path / "run")
    assert list(summary["arms"]) == ["puct", "beam", "best_of_n"]
    assert summary["searcher"] == "puct"
    records = read_records(tmp_path / "run")
    spent = {r["problem_id"]: r["generated_tokens"] for r in records if r["arm"] == "puct"}
    assert all(r["token_budget"] == spent[r["problem_id"]] for r in records if r["arm"] != "puct")
    code, _, err = bench("--searcher", "majority", "--sims", 5, output="votes")
    assert code == 0, err
    assert all(r["sims_done"] == 5 for r in read_records(tmp_path / "votes") if r["arm"] == "majority")
    assert "baseline majority itself" in summary_of(tmp_path / "votes")["verdict"]


def test_countdown_is_made_and_checked(bench, tmp_path):
    code, _, err = bench("--limit", 2, "--sims", 2, name="countdown", data=None)
    assert code == 0, err
    summary = summary_of(tmp_path / "run")
    assert summary["data"]["pinned"] is True
    assert summary["data"]["rows"] == 500
    assert set(summary["arms"]["gumbel"]["by"]["level"]) == {"3 numbers", "4 numbers"}


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--sims", "4,x"), 2, "1,4,16,64"),
        (("--sims", "0"), 2, "above 0"),
        (("--searcher", "chess"), 2, "'chess' is not a searcher"),
        (("--searcher", "gumbel,puct"), 2, "give one name"),
        (("--arms", "gumbel,dice"), 2, "'dice' is not a searcher"),
        (("--limit", "9"), 2, "has 8 problems"),
        (("--data", "absent.jsonl"), 2, "does not exist"),
        (("--model", "no-such-model"), 3, "no-such-model"),
        (("--actions", "latent"), 3, "--actions sampled"),
    ],
)
def test_bad_options_have_their_exit_codes(bench, tmp_path, args, code, says):
    found, _, err = bench(*args)
    assert found == code, err
    assert says in err
    assert not (tmp_path / "run").exists()


def test_missing_rows_of_a_benchmark_say_how_to_get_them(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("COLASEARCH_CACHE", str(tmp_path / "cache"))
    code, _, err = bench(name="math500", data=None)
    assert code == 3
    assert "HuggingFaceH4/MATH-500" in err
    assert "--data FILE.jsonl" in err


def test_resume_needs_a_folder(bench):
    code, _, err = bench("--resume", output=None)
    assert code == 2
    assert "--output" in err


def test_options_come_from_file_and_environment(bench, tmp_path, monkeypatch):
    config = tmp_path / "c.yaml"
    config.write_text("limit: 2\nsims: [1, 2]\narms: majority\nseed: 5\n")
    monkeypatch.setenv("COLASEARCH_SEED", "6")
    monkeypatch.setenv("COLASEARCH_SIMS", "3")
    code, _, err = bench("--config", config)
    assert code == 0, err
    settings = read_manifest(tmp_path / "run")["settings"]
    # --sims is on the command line, the seed in both others.
    assert (settings["limit"], settings["sims"], settings["arms"], settings["seed"]) == (
        2,
        [6],
        ["gumbel", "majority"],
        6,
    )
    assert read_manifest(tmp_path / "run")["runtime"]["origins"]["seed"] == "environment"


def test_without_traces_none_are_written(bench, tmp_path):
    assert bench("--no-traces", "--limit", 2)[0] == 0
    assert list((tmp_path / "run" / "traces").rglob("*.gz")) == []
    assert all(r["trace"] is None for r in read_records(tmp_path / "run"))


def test_people_see_tables_and_a_plain_word(bench):
    code, out, err = bench()
    assert code == 0
    for word in (
        "solved %",
        "any text %",
        "gumbel - majority",
        "95% bootstrap",
        "exact p",
        "times as many tokens",
        "subject",
        "level",
    ):
        assert word in out
    assert "\x1b" not in out + err
    assert "problems/s" in err or "s/problem" in err
    assert "tokens/s" in err
    assert "Run folder:" in err


def test_runs_begun_in_the_same_second_have_a_folder_each(tmp_path, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_run, "datetime", Stopped)
    names = [bench_run.new_folder("file:sums").name for _ in range(3)]
    assert names == [f"file-sums-20260102-030405{more}" for more in ("", "-2", "-3")]


def test_bench_help_is_quick_and_names_everything(capsys):
    code = (
        "import sys; from colasearch.cli.main import main; main(['bench', '--help']); "
        "sys.exit('numpy' in sys.modules or 'rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for word in ("math500", "countdown-hard", "gym:TASK", "throughput", "searchers"):
        assert word in done.stdout
    assert main(["bench", "svamp", "--help"]) == 0
    assert "--shuffle-seed" in capsys.readouterr().out
    assert main(["bench", "no-such-benchmark"]) == 2
