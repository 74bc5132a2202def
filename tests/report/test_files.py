"""``report.md`` and plot files, and the chart as plain data."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from runs_made import made_run

from colasearch.report import Chart, Series, draw, write_report
from colasearch.report.charts import GREY
from colasearch.report.curves import charts_of, colors_of
from colasearch.storage.files import read_json


def rows_below(markdown: str, heading: str) -> dict[str, list[str]]:
    part = markdown.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return {line[0].strip("* "): line[1:] for line in lines[2:]}


def test_report_md_gives_the_summary_s_numbers(run_folder: Path) -> None:
    markdown = (run_folder / "report.md").read_text()
    summary = read_json(run_folder / "summary.json")
    arms = rows_below(markdown, "Arms")
    assert list(arms) == ["gumbel", "greedy", "majority vote", "best-of-N"]
    for name, arm in zip(arms, summary["arms"].values(), strict=True):
        low, high = arm["oracle"]["ci95"]
        assert arms[name][1] == f"{100 * arm['oracle']['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        assert arms[name][-1] == str(arm["errors"])
    curve = rows_below(markdown, "By simulations")
    assert list(curve) == ["4", "16"]
    assert summary["verdict"].split(".")[0] in markdown
    assert "600 tokens" in rows_below(markdown, "Errors")["chal-3"][1]
    assert set(rows_below(markdown, "By subject")) == {"Algebra", "Number Theory"}
    for plot in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        assert (run_folder / plot).read_bytes()[:4] == b"\x89PNG"


def test_disagreements_are_those_of_the_records(tmp_path: Path) -> None:
    from colasearch.storage.records import read_records

    folder = made_run(tmp_path / "run", problems=9, sims=(16,), traces=False)
    write_report(folder)
    right = {(r["arm"], r["problem_id"]) for r in read_records(folder) if r["correct"]}
    ids = [f"chal-{i}" for i in range(9)]
    alone = [i for i in ids if ("gumbel", i) in right and not {("majority", i), ("best_of_n", i)} & right]
    lost = [i for i in ids if ("gumbel", i) not in right and {("majority", i), ("best_of_n", i)} & right]
    markdown = (folder / "report.md").read_text()
    assert f"wrong ({len(alone)}): {', '.join(sorted(alone)) or 'none'}." in markdown
    assert f"right ({len(lost)}): {', '.join(sorted(lost)) or 'none'}." in markdown


def test_selected_and_oracle_are_series_of_their_own_with_their_bands(run_folder: Path) -> None:
    summary = read_json(run_folder / "summary.json")
    by_sims, by_tokens = charts_of(summary)
    assert [s.name.split(": ")[1] for s in by_sims.series] == ["selected", "oracle", "selected", "selected", "selected"]
    gumbel = by_sims.series[0]
    assert list(gumbel.x) == [4, 16]
    points = [p["arms"]["gumbel"] for p in summary["curve"]]
    assert list(gumbel.y) == [p["selected"]["accuracy"] for p in points]
    assert list(gumbel.low) == [p["selected"]["ci95"][0] for p in points]
    oracle = by_sims.series[1]
    assert (oracle.name, oracle.dashed, gumbel.dashed) == ("gumbel: oracle", True, False)
    assert list(oracle.y) == [p["oracle"]["accuracy"] for p in points] != list(gumbel.y)
    assert list(oracle.high) == [p["oracle"]["ci95"][1] for p in points]
    fine = [p["n"] - p["errors"] for p in points]
    assert list(by_tokens.series[0].x) == [p["generated_tokens"] / n for p, n in zip(points, fine, strict=True)]
    greedy = next(s for s in by_tokens.series if s.name.startswith("greedy"))
    assert len(greedy.x) == 1


def test_greedy_is_grey_and_the_others_differ() -> None:
    colors = colors_of(["puct", "greedy", "majority", "best_of_n", "gumbel"])
    assert colors["greedy"] == GREY
    assert len(set(colors.values())) == 5


CURVE = Chart(
    name="loss", title="Loss $x_1$ <b>", x_label="step", y_label="loss",
    series=(
        Series("train <&> $a$", [0, 1, 2, 3], [2.0, math.nan, 1.0, 0.5], [1.9, 0, 0.9, 0.4], [2.1, 1, 1.1, math.inf]),
        Series("held out", [1], [1.5], color=2, dashed=True),
        Series("nothing", [], []),
    ),
)  # fmt: skip


def test_draw_makes_svg_and_png_of_any_series(tmp_path: Path) -> None:
    paths = draw(CURVE, tmp_path / "plots")
    assert [p.name for p in paths] == ["loss.svg", "loss.png"]
    assert paths[1].read_bytes()[:4] == b"\x89PNG"
    ET.parse(paths[0])
    text = paths[0].read_text()
    first = paths[0].read_bytes()
    assert "<script" not in text
    assert draw(CURVE, tmp_path / "again")[0].read_bytes() == first


def test_points_that_cannot_be_drawn_are_left_out() -> None:
    chart = CURVE.to_json()
    assert [s["name"] for s in chart["series"]] == ["train <&> $a$", "held out"]
    assert chart["series"][0]["x"] == [0, 2]
    assert chart["series"][0]["high"] == [2.1, 1.1]
    logged = Chart("a", "a", "x", "y", (Series("s", [0, 1, 2], [1, 2, 3]),), log_x=True).to_json()
    assert logged["series"][0]["x"] == [1, 2]


@pytest.mark.parametrize("bad", [{"y": [1]}, {"low": [1, 1]}, {"low": [1], "high": [1, 2]}])
def test_a_series_of_unequal_lengths_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        Series(**{"name": "s", "x": [1, 2], "y": [1, 2], **bad})


def test_without_matplotlib_there_is_a_report_that_says_so(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", problems=3, sims=(4,), traces=False)
    # A real interpreter in which matplotlib cannot be found.
    code = (
        "import sys, importlib.machinery as m\n"
        "find = m.PathFinder.find_spec\n"
        "hidden = lambda c, n, *a: None if n.split('.')[0] == 'matplotlib' else find(n, *a)\n"
        "m.PathFinder.find_spec = classmethod(hidden)\n"
        "from pathlib import Path\nfrom colasearch.report import write_report\n"
        f"write_report(Path({str(folder)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert "pip install '.\\[viz\\]'" in (folder / "report.md").read_text()
    assert not (folder / "plots").exists()
    assert (folder / "report.html").is_file()


def test_importing_the_report_loads_nothing_heavy() -> None:
    code = (
        "import sys, colasearch.report, colasearch.cli.view\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
