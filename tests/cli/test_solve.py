"""``colasearch solve`` as a user runs it, on a tiny real model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

FIELDS = {
    "schema", "problem_id", "task", "model", "searcher", "seed", "answer", "text", "candidates", "stop", "sims",
    "effective_branching", "generated_tokens", "model_calls", "seconds", "verdict", "cut", "why",
}  # fmt: skip


@pytest.fixture
def problem(tmp_path) -> Path:
    path = tmp_path / "problem.txt"
    path.write_text("What is 2 + 2?\n")
    return path


@pytest.fixture
def solve(colasearch, problem, model_folder):
    def run(*args: object, **settings):
        given = args if args and str(args[0])[:2] != "--" else (problem, *args)
        common = ("--model", model_folder, "--sims", 6, "--max-tokens", 12, "--threads", 1)
        # What the test gives comes last, and so wins.
        return colasearch("solve", given[0], *common, *given[1:], **settings)

    return run


@pytest.mark.parametrize("searcher", ["gumbel", "puct"])
def test_json_has_the_contract_s_fields(solve, searcher, model_folder):
    done = solve("--json", "--searcher", searcher, "--seed", 7)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result = json.loads(done.stdout)
    assert set(result) == FIELDS
    assert (result["schema"], result["searcher"], result["seed"]) == (1, searcher, 7)
    assert (result["task"], result["model"], result["sims"], result["stop"]) == ("math", str(model_folder), 6, "budget")
    assert 0 < result["effective_branching"] <= 1
    assert result["generated_tokens"] > 0
    assert result["model_calls"] > 0
    for candidate in result["candidates"]:
        assert set(candidate) == {"answer", "weight", "count"}
    assert result["verdict"] is None
    assert (result["why"] is None) == (result["answer"] is not None)
    if result["candidates"]:
        assert sum(c["weight"] for c in result["candidates"]) == pytest.approx(1)
        assert result["answer"] == result["candidates"][0]["answer"]


def test_same_seed_same_output_other_seed_other_output(solve):
    def facts(*args: object) -> dict[str, object]:
        # Steps that are lines: within one that ends at an open choice nothing is drawn.
        result = json.loads(solve("--json", "--max-tokens", 40, "--branch-below", 0, *args).stdout)
        result.pop("seconds")
        return result

    one = facts("--seed", 1)
    assert facts("--seed", 1) == one
    other = facts("--seed", 2)
    other["seed"] = 1
    assert other != one


def test_the_problem_can_come_from_stdin(solve):
    quick = ("--json", "--sims", 1, "--max-tokens", 2)
    done = solve("-", *quick, stdin=b"\xef\xbb\xbfWhat is 2 + 2?\r\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problem_id"] == json.loads(solve(*quick).stdout)["problem_id"]


def test_people_see_answer_table_and_cost(solve):
    done = solve()
    assert done.returncode == 0
    assert done.stdout.startswith("Answer: ")
    assert "6 simulations" in done.stdout
    assert "effective branching" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_model_without_codes_is_searched_over_sampled_actions(solve, base_folder):
    """Unless codes are asked for: then it is an error."""
    done = solve("--json", "--model", base_folder)
    assert done.returncode == 0, done.stderr
    assert "no latent actions" in done.stderr
    asked = solve("--json", "--model", base_folder, "--actions", "sampled")
    assert json.loads(asked.stdout)["text"] == json.loads(done.stdout)["text"]
    assert "no latent actions" not in asked.stderr
    refused = solve("--json", "--model", base_folder, "--actions", "latent")
    assert refused.returncode == 3
    assert "--actions sampled" in refused.stderr


def test_countdown_stops_at_a_proven_answer(solve, tmp_path):
    path = tmp_path / "c.txt"
    path.write_text('{"numbers": [4, 6], "target": 24}')
    done = solve(path, "--task", "countdown", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == "countdown"


def test_people_see_what_the_verifier_says_of_countdown(solve, tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"numbers": [4, 6], "target": 24}')
    done = solve(path)
    assert done.returncode == 0, done.stderr
    assert "        to make 24 from 4, 6\n" in done.stdout
    assert ("by the verifier: " in done.stdout) == ("Answer: none found" not in done.stdout)


def test_countdown_goes_to_its_own_model_unless_one_is_named(colasearch, model_folder):
    given = ("solve", "-", "--searcher", "puct", "--threads", 1, "--json")
    done = colasearch(*given, stdin=b"Make 52 from 4, 7, 8.")
    result = json.loads(done.stdout)
    assert (result["model"], result["stop"], result["verdict"]) == ("countdown-tiny", "solved", True)
    assert "model countdown-tiny, made for countdown; --model takes another" in done.stderr
    named = {"COLASEARCH_MODEL": str(model_folder)}
    done = colasearch(*given, "--sims", 2, "--max-tokens", 8, stdin=b"Make 52 from 4, 7, 8.", env=named)
    assert json.loads(done.stdout)["model"] == str(model_folder)
    assert "made for" not in done.stderr


def test_people_read_why_there_is_no_answer_and_what_a_share_is_not(capsys):
    from colasearch.cli.solve import show_result
    from colasearch.problem import Candidate, Problem, SolveResult, StopReason

    result = SolveResult("p", "math", "m", "gumbel", 0, None, "", (), StopReason.BUDGET, 4, None, 9, 9, 1.0, None, 3)
    show_result(replace(result, why="3 texts were cut: raise --max-tokens"), Problem("p", "?"))
    out = capsys.readouterr().out
    assert "Answer: none found\n        3 texts were cut: raise --max-tokens\n" in out
    assert "effective branching" not in out
    show_result(replace(result, answer="7", candidates=(Candidate("7", 1.0, 4),)), Problem("p", "?"))
    out = capsys.readouterr().out
    assert "share of vote" in out
    assert "not the chance that an answer is right" in out
    assert "3 other texts cut at --max-tokens" in out


def test_a_verdict_is_shown_for_the_answer_and_each_candidate(capsys):
    from colasearch.cli.solve import show_result
    from colasearch.problem import Candidate, Problem, SolveResult, StopReason

    problem = Problem("p", "", "countdown", {"numbers": [4, 6], "target": 24})
    found = (Candidate("4*6", 0.75, 3), Candidate("4+6", 0.25, 1))
    for best, verdict in (("4*6", "accepted by the verifier: reaches the target"), ("4+6", "rejected by the verifier")):
        show_result(
            SolveResult("p", "countdown", "m", "puct", 0, best, "", found, StopReason.SOLVED, 4, 0.5, 9, 9, 1.0),
            problem,
        )
        out = capsys.readouterr().out
        assert f"Answer: {best}\n        to make 24 from 4, 6\n        {verdict}" in out
        assert "gives 10, not 24" in out.split("candidate")[1]


def test_a_short_context_needs_no_token_limit_from_the_user(colasearch, tmp_path):
    from tiny import make_base

    folder = make_base(tmp_path / "short", context=200)
    (tmp_path / "p.txt").write_text("2 + 2?")
    done = colasearch(
        "solve", tmp_path / "p.txt", "--model", folder, "--actions", "sampled", "--sims", 2, "--json", "--threads", 1
    )
    assert done.returncode == 0, done.stderr


def test_flag_beats_environment_beats_file_beats_default(solve, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("seed: 3\nbatch-size: 2\n")

    def seed(*args: object, env: dict[str, str] | None = None) -> int:
        return json.loads(solve("--json", "--sims", 1, "--max-tokens", 2, *args, env=env).stdout)["seed"]

    assert seed() == 0
    assert seed("--config", config) == 3
    assert seed("--config", config, env={"COLASEARCH_SEED": "4"}) == 4
    assert seed("--config", config, "--seed", 5, env={"COLASEARCH_SEED": "4"}) == 5
    config.write_text("sedd: 3\n")
    done = solve("--config", config)
    assert done.returncode == 3
    assert "sedd" in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"  \r\n\t", "empty"),
        (b"2 + \xff2", "not UTF-8: byte 0xff at offset 4"),
        (b"2 + \0 2", "NUL byte at offset 4"),
    ],
)
def test_unreadable_content_is_refused(solve, tmp_path, content, says):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    for done in (solve(path), solve("-", stdin=content)):
        assert done.returncode == 2
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_what_is_no_file_is_refused_without_waiting(solve, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(100_000_000)
    for name, says in {
        "absent": "does not exist",
        ".": "is a directory",
        "pipe": "no regular file",
        "huge": "100,000,000 bytes",
        "x" * 5000: "cannot be opened",
    }.items():
        done = solve(tmp_path / name)
        assert done.returncode == 2, name
        assert says in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--sims", 0), 2, "--sims"),
        (("--sims", "many"), 2, "--sims"),
        (("--max-seconds", 0), 2, "--max-seconds"),
        (("--searcher", "no-such"), 2, "no-such"),
        (("--task", "chess"), 2, "chess"),
        (("--model", "no-such-model"), 3, "unknown model 'no-such-model'"),
        (("--device", "toaster"), 3, "toaster"),
        (("--dtype", "float3"), 3, "float3"),
        (("--config", "/absent.yaml"), 3, "/absent.yaml"),
    ],
)
def test_bad_options_have_their_exit_codes(solve, args, code, says):
    done = solve(*args)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prompt_longer_than_the_context_names_both_lengths(solve, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("word " * 300)
    done = solve(path)
    assert done.returncode == 2
    assert "holds 512" in done.stderr


def test_a_damaged_model_is_exit_4(solve, model_folder, tmp_path):
    import shutil

    folder = Path(shutil.copytree(model_folder, tmp_path / "m"))
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    done = solve("--model", folder)
    assert done.returncode == 4
    assert str(folder) in done.stderr


def test_the_time_limit_ends_the_search_with_what_it_has(solve):
    done = solve("--json", "--sims", 100000, "--max-seconds", 1, "--max-tokens", 200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["stop"] == "max_seconds"
    assert result["seconds"] < 20


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _interrupt(model_folder: Path, problem: Path, number: signal.Signals) -> tuple[int, str, str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "colasearch.cli.main", "solve", str(problem), "--model", str(model_folder), "--json",
         "--sims", "1000000", "--max-tokens", "200", "--threads", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("searching"):
            break
    begun = _cpu_seconds(process.pid)
    while _cpu_seconds(process.pid) < begun + 0.3:  # on a busy machine a pause says nothing
        time.sleep(0.02)
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def test_ctrl_c_prints_what_was_found_and_exits_130(model_folder, problem):
    code, out, err = _interrupt(model_folder, problem, signal.SIGINT)
    assert code == 130, err
    assert json.loads(out)["stop"] == "interrupted"


def test_sigterm_exits_143(model_folder, problem):
    code, _, err = _interrupt(model_folder, problem, signal.SIGTERM)
    assert code == 143
    assert "Traceback" not in err


def test_text_from_a_model_is_shown_literally(capsys):
    from colasearch.cli.solve import show_result
    from colasearch.problem import Candidate, Problem, SolveResult, StopReason

    nasty = "[bold]x[/bold] \x1b[31mred\x07 <script>"
    show_result(
        SolveResult(
            "id", "math", "m", "gumbel", 0, nasty, nasty, (Candidate(nasty, 1.0, 1),), StopReason.BUDGET, 1, 1.0, 1, 1,
            1.0,
        ),
        Problem("id", ""),
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert shown.count("[bold]x[/bold]") == 3
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.fixture(scope="module")
def solved(colasearch, model_folder, tmp_path_factory):
    """A run folder of three problems (the last has no answer in its row either), and what was printed."""
    home = tmp_path_factory.mktemp("solved")
    rows = [{"question": "What is 2 + 2?"}, {"id": "c", "numbers": [4, 6], "target": 24}, {"problem": "What is 3 * 3?"}]
    (home / "p.json").write_text(json.dumps(rows))
    args = ("solve", home / "p.json", "--model", model_folder, "--sims", 4, "--max-tokens", 8, "--threads", 1, "--json")
    done = colasearch(*args, "--output", home / "run")
    assert done.returncode == 0, done.stderr
    return home / "run", done, args


def test_many_problems_give_one_line_each_in_order(solved):
    run, done, _ = solved
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["task"] for line in lines] == ["math", "countdown", "math"]
    assert lines[1]["problem_id"] == "c"
    assert all(set(line) == FIELDS for line in lines)
    assert str(run) in done.stderr
    records = [json.loads(line) for line in (run / "problems.jsonl").read_text().splitlines()]
    assert {r["problem"] for r in records} == {"What is 2 + 2?", "Make 24 from 4, 6.", "What is 3 * 3?"}
    assert all((run / r["trace"]).is_file() for r in records)


def test_a_solved_problem_does_not_depend_on_those_beside_it(solved, colasearch):
    _, done, args = solved
    alone = colasearch("solve", "-", *args[2:], stdin=b"What is 3 * 3?")
    mine, beside = json.loads(alone.stdout), json.loads(done.stdout.splitlines()[2])
    for one in (mine, beside):
        one.pop("seconds")
        one.pop("model_calls")  # passes of the model are shared
    assert mine == beside


def test_a_run_of_solve_resumes_and_is_viewed(solved, colasearch, tmp_path):
    run, done, args = solved
    again = colasearch(*args, "--output", run)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    resumed = colasearch(*args, "--output", run, "--resume")
    assert (resumed.returncode, resumed.stdout) == (0, done.stdout)
    page = tmp_path / "page.html"
    viewed = colasearch("view", run, "--output", page, "--json")
    assert viewed.returncode == 0, viewed.stderr
    assert json.loads(viewed.stdout)["written"]["traces"] == 3
    assert "What is 3 * 3?" in page.read_text()


def test_people_see_a_block_a_problem(solve, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"problem": "What is 2 + 2?"}\n{"problem": "What is 3 * 3?"}\n')
    done = solve(tmp_path / "p.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Answer: ") == 2
    assert done.stdout.index("What is 2 + 2?") < done.stdout.index("What is 3 * 3?")
