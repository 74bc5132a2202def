"""Progress of a run: live table and plain lines, with text from elsewhere shown literally."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from colasearch.benchmarks.data_sets.base import make_item
from colasearch.benchmarks.data_sets.load import DataSet
from colasearch.benchmarks.harness.arms import ArmSettings
from colasearch.benchmarks.harness.runner import Plan
from colasearch.benchmarks.harness.summary import GREEDY_SIMS
from colasearch.cli.bench_display import Display, clock, pace

DATA = DataSet([make_item(str(i), "p", "1") for i in range(4)], 9, "d", "s", "x", None)
PLAN = Plan("svamp", "gumbel", ("gumbel", "greedy", "majority", "best_of_n"), (8,), ArmSettings())


def record(arm: str, sims: int, correct: bool = True, **more: Any) -> dict[str, Any]:
    return {"arm": arm, "sims": sims, "status": "ok", "correct": correct, "generated_tokens": 100, "sims_done": 8,
            "effective_branching": 0.5 if arm == "gumbel" else None, **more}  # fmt: skip


def display(terminal: bool) -> tuple[Display, io.StringIO]:
    out = io.StringIO()
    return Display(Console(file=out, force_terminal=terminal, width=100, color_system=None)), out


def shown(one: Display) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_table_shows_every_arm_with_its_accuracy():
    one, out = display(terminal=True)
    with one:
        one.start(PLAN, DATA, [])
        one.began("gumbel", 8)
        one.finished(record("gumbel", 8))
        one.finished(record("gumbel", 8, correct=False))
        one.working(250, 3)
        table = shown(one)
        for words in ("greedy", "0/4", "gumbel @8", "2/4", "50.0% [9.5, 90.5]", "sims/s", "tokens/s", "left"):
            assert words in table
    assert "svamp: 4 of 9 problems" in out.getvalue()


def test_tokens_are_counted_once():
    one, _ = display(terminal=True)
    with one:
        one.start(PLAN, DATA, [])
        one.began("gumbel", 8)
        one.working(80, 2)
        assert one.tokens + one.tokens_now == 80
        one.finished(record("gumbel", 8))  # of these 100, 80 had been seen
        assert one.tokens + one.tokens_now == 100
        one.working(130, 2)  # the counter includes the finished problem
        assert one.tokens + one.tokens_now == 130
        one.began("majority", 8)
        one.finished(record("majority", 8))
        one.finished(record("best_of_n", 8))  # the same texts
        assert one.tokens + one.tokens_now == 200


def test_the_time_left_counts_searches_in_progress_and_texts_that_are_shared_once(monkeypatch):
    from colasearch.cli import bench_display

    now = [0.0]
    monkeypatch.setattr(bench_display.time, "monotonic", lambda: now[0])
    one, _ = display(terminal=False)
    many = Plan("svamp", "gumbel", ("gumbel", "greedy", "majority", "best_of_n"), (8,), ArmSettings())
    one.start(many, DATA, [record("greedy", GREEDY_SIMS) for _ in range(4)])
    one.began("gumbel", 8)
    now[0] = 10.0
    one.working(100, 16)  # of the 64 simulations' worth that the search and the texts of two votes take
    assert one.rates().endswith("about 0:30 left")


def test_without_a_terminal_there_are_plain_lines():
    one, out = display(terminal=False)
    with one:
        one.start(PLAN, DATA, [])
        for arm, sims in PLAN.units():
            for _ in range(4):
                one.finished(record(arm, sims))
    lines = out.getvalue().splitlines()
    # What is run, how each arm ended, and the speed: nothing took ten seconds.
    assert len(lines) == 1 + len(PLAN.units()) + 1
    assert "gumbel @8 4/4 100.0%" in lines[2]
    assert all(len(line) < 120 for line in lines)
    assert "left" not in lines[-1]
    assert "\x1b" not in out.getvalue()


def test_a_resumed_run_counts_what_is_there_but_not_into_its_rates():
    one, _ = display(terminal=True)
    with one:
        one.start(PLAN, DATA, [record(arm, sims) for arm, sims in PLAN.units()])
        assert "1/4" in shown(one)
        assert one.tokens == 0
        assert "problem" not in one.rates(), "nothing has been done in this session, so there is no speed"


def test_a_line_is_of_the_arm_at_work_and_short(monkeypatch):
    from colasearch.cli import bench_display

    monkeypatch.setattr(bench_display, "PLAIN_EVERY_S", 0.0)
    one, out = display(terminal=False)
    many = Plan("svamp", "gumbel", ("gumbel", "greedy", "majority", "best_of_n"), (1, 4, 16, 64), ArmSettings())
    with one:
        one.start(many, DATA, [record(arm, sims) for arm, sims in many.units()])
        one.began("gumbel", 64)
        one.working(3, 2)
    last = out.getvalue().splitlines()[-1]
    assert last.startswith("gumbel @64 1/4, 100.0%")
    assert len(last) < 140


def test_slow_runs_show_seconds_a_problem():
    assert pace(30, 10.0) == "3.0 problems/s"
    assert pace(2, 90.0) == "45.0 s/problem"
    assert pace(1, 723.0) == "12:03 a problem"


@pytest.mark.parametrize("terminal", [True, False])
def test_errors_and_messages_are_shown_literally(terminal):
    one, out = display(terminal)
    nasty = "[bold]x[/bold] \x1b[31mred"
    with one:
        one.start(PLAN, DATA, [])
        one.say(nasty)
        one.finished({"arm": "gumbel", "sims": 8, "status": "error", "error": {"kind": "E", "message": nasty}})
        assert "1 errors" in shown(one)
    text = out.getvalue()
    assert text.count("[bold]x[/bold]") == 2
    assert "\x1b[31m" not in text


def test_a_failing_report_does_not_cost_the_run(tmp_path, monkeypatch):
    import sys
    import types

    broken = types.ModuleType("colasearch.report")

    def fail(folder: object) -> None:
        raise ZeroDivisionError("oops")

    broken.write_report = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "colasearch.report", broken)
    one, out = display(terminal=False)
    one.report(tmp_path)
    assert "could not be written: ZeroDivisionError: oops" in out.getvalue()


def test_clocks_are_readable():
    assert [clock(s) for s in (0, 61.9, 3723)] == ["0:00", "1:01", "1:02:03"]
