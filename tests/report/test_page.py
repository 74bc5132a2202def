"""The page in a real browser: what is shown, filters, links between parts, nothing loaded, nothing executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs_made import made_run, made_trace

from colasearch.report import view_trace, write_html, write_report
from colasearch.storage.files import read_json

ROWS = "document.querySelectorAll('table.problems tbody tr').length"
TREE = "document.querySelector('.tree')"


def click(chrome, selector: str, text: str) -> None:
    found = chrome.run(
        f"(() => {{ const b = [...document.querySelectorAll({selector!r})].find(b => b.textContent.includes({text!r}));"
        " b?.click(); return !!b; })()"
    )
    assert found, f"nothing with {text!r} in {selector}"


def quiet(chrome) -> None:
    """Nothing was loaded, nothing failed, no policy was violated, no dialog came up."""
    assert chrome.problems() == []
    assert chrome.requests() == []


def open_tree(chrome) -> None:
    chrome.until(f"!!{TREE} && {TREE}.querySelectorAll('.card').length > 0 && !!document.querySelector('.node')")


def test_the_table_has_each_arm_and_keeps_oracle_apart(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html")
    arms = read_json(run_folder / "summary.json")["arms"]
    for name, arm in arms.items():
        cells = chrome.run(
            f"[...document.querySelectorAll('table.arms tr[data-arm=\"{name}\"] td')].map(c => c.textContent)"
        )
        assert f"{100 * arm['selected']['accuracy']:.1f}%" == cells[0]
        low, high = arm["selected"]["ci95"]
        assert cells[1] == f"{100 * low:.1f}–{100 * high:.1f}"
        assert cells[3] == f"{100 * arm['oracle']['accuracy']:.1f}%"
    head = chrome.run("document.querySelector('table.arms thead').textContent")
    assert "selected answer" in head
    assert "Oracle" in head
    quiet(chrome)


def test_an_interrupted_run_opens_where_something_was_measured(chrome, tmp_path) -> None:
    folder = made_run(tmp_path / "run", problems=4, sims=(4, 16), traces=False, finish=False)
    records = folder / "problems.jsonl"
    kept = [line for line in records.read_text().splitlines() if json.loads(line)["sims"] != 16]
    records.write_text("\n".join(kept) + "\n")
    write_html(folder, tmp_path / "page.html")
    chrome.open(tmp_path / "page.html")
    assert chrome.run("document.querySelector('.picker [aria-pressed=true]').textContent") == "4"
    quiet(chrome)


def test_charts_draw_selected_and_oracle_as_named_lines_of_their_own(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html")
    chrome.until("document.querySelectorAll('.chart svg[role=img]').length === 2")
    for name in ("accuracy-simulations", "accuracy-tokens"):
        legend = chrome.run(f"[...document.querySelectorAll('[data-chart={name}] .legend li')].map(l => l.textContent)")
        assert legend == [
            "gumbel: selected",
            "gumbel: oracle",
            "greedy: selected",
            "majority vote: selected",
            "best-of-N: selected",
        ]
        assert chrome.run(f"document.querySelectorAll('[data-chart={name}] .plot polyline.dashed').length") == 1
        points, bars = (
            chrome.run(f"document.querySelectorAll('[data-chart={name}] .plot {kind}').length")
            for kind in (":is(.solid, .hollow)", ".whisker")
        )
        assert bars == points > 4, "each point has its interval as a bar"
    assert "NaN" not in chrome.run("document.querySelector('.charts').innerHTML")
    quiet(chrome)


def test_problems_are_filtered_by_outcome_words_subject_and_simulations(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html")
    assert chrome.run(ROWS) == 12
    right = read_json(run_folder / "summary.json")["arms"]["gumbel"]["selected"]["correct"]
    click(chrome, ".filters button", "gumbel right")
    assert chrome.run(ROWS) == right
    click(chrome, ".filters button", "gumbel wrong")
    assert chrome.run(ROWS) == 12 - right
    click(chrome, ".filters button", "errors")
    assert chrome.run("[...document.querySelectorAll('table.problems tbody tr')].map(r => r.dataset.problem)") == [
        "chal-3"
    ]
    click(chrome, ".filters button", "all")
    typed = "const f = document.querySelector('.tools input'); f.value = {!r}; f.dispatchEvent(new Event('input')); 0"
    chrome.run("{" + typed.format("Sells 7 boxes") + "}")
    assert chrome.run("[...document.querySelectorAll('table.problems tbody tr')].map(r => r.dataset.problem)") == [
        "chal-7"
    ]
    chrome.run("{" + typed.format("no such words") + "}")
    assert chrome.run(ROWS) == 0
    chrome.run("{" + typed.format("") + "}")
    picked = (
        "{{const f = document.querySelector('.tools select'); f.value = '{}'; f.dispatchEvent(new Event('change'));}}"
    )
    chrome.run(picked.format("Algebra"))
    assert chrome.run(ROWS) == 6
    chrome.run(picked.format(""))
    before = chrome.run("document.querySelector('table.problems tbody').textContent")
    click(chrome, ".picker button", "4")
    assert chrome.run("document.querySelector('table.problems tbody').textContent") != before
    first = read_json(run_folder / "summary.json")["curve"][0]["arms"]["gumbel"]["selected"]["accuracy"]
    assert chrome.run("document.querySelector('tr[data-arm=gumbel] .big').textContent") == f"{100 * first:.1f}%"
    quiet(chrome)


def test_a_problem_opens_with_its_tree_and_the_way_back_works(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html")
    chrome.run("document.querySelector('tr[data-problem=\"chal-5\"] a').click(); 0")
    open_tree(chrome)
    assert chrome.run("document.querySelector('#problem h1').textContent") == "chal-5"
    assert "sells 5 boxes" in chrome.run("document.querySelector('.asked').textContent")
    assert chrome.run(f"{TREE}.dataset.nodes") == "20"
    click(chrome, ".tabs button", "majority")
    chrome.until("document.querySelector('.tabs [aria-selected=true]').dataset.unit === 'majority-16'")
    click(chrome, ".arms .picker button", "4")
    chrome.until("document.querySelector('.tabs [aria-selected=true]').dataset.unit === 'majority-4'")
    click(chrome, ".pager a", "Next")
    chrome.until("document.querySelector('#problem h1').textContent === 'chal-6'")
    chrome.run("document.querySelector('.crumbs a').click(); 0")
    chrome.until("!document.querySelector('#home').hidden && document.querySelector('#problem').hidden")
    quiet(chrome)


def test_leaving_a_problem_before_it_is_drawn_stays_left(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html")
    drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))"
    for turns in range(6):
        # Leave after so many turns of the event loop: before, while and after the problem is unpacked and drawn.
        waits = "await new Promise(done => setTimeout(done));" * turns
        chrome.run(f"(async () => {{ location.hash = 'p=1'; {waits} location.hash = ''; await {drawn}; }})()")
        assert chrome.run("[location.hash, document.querySelector('#home').hidden]") == ["", False]
        assert chrome.run("document.querySelector('#problem').hidden")


def test_a_link_to_a_node_opens_it(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html", "#p=2&u=best_of_n-4&n=7")
    open_tree(chrome)
    assert chrome.run("document.querySelector('.node').dataset.shown") == "7"
    assert chrome.run("document.querySelector('.tabs [aria-selected=true]').dataset.unit") == "best_of_n-4"
    for wrong in ("#p=99", "#p=__proto__", "#p=-1", "#p=1.5"):
        chrome.open(run_folder / "report.html", wrong)
        assert chrome.run("!document.querySelector('#home').hidden")
    chrome.open(run_folder / "report.html", "#p=0&u=nonsense&n=9999")
    open_tree(chrome)
    quiet(chrome)


def test_an_errored_problem_says_why(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html", "#p=3&u=gumbel-16")
    chrome.until("!document.querySelector('#problem').hidden")
    assert "the prompt has 600 tokens" in chrome.run("document.querySelector('#problem').textContent")
    quiet(chrome)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_the_window(chrome, run_folder: Path, width: int) -> None:
    chrome.size(width, 800, mobile=width < 500)
    for place in ("", "#p=1"):
        chrome.open(run_folder / "report.html", place)
        chrome.until(f"document.documentElement.scrollWidth <= {width} && innerWidth === {width}", seconds=3)


def test_traces_beyond_the_limit_are_left_out_and_it_is_said(chrome, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", problems=6, sims=(4,))
    report = write_html(folder, tmp_path / "small.html", max_bytes=12_000)
    assert report.traces + report.left_out == 24
    assert 0 < report.traces < 24
    chrome.open(tmp_path / "small.html")
    assert f"{report.left_out} of 24 traces are left out" in chrome.run("document.querySelector('.notes').textContent")
    # The search's own trees are the last to go, and a problem without a tree still has its wording.
    chrome.go("p=0&u=gumbel-4")
    open_tree(chrome)
    chrome.go("p=5&u=best_of_n-4")
    chrome.until("document.querySelector('#problem').textContent.includes('--all-traces')")
    assert "sells 5 boxes" in chrome.run("document.querySelector('.asked').textContent")
    whole = write_html(folder, tmp_path / "all.html", all_traces=True, max_bytes=12_000)
    assert (whole.traces, whole.left_out) == (24, 0)
    quiet(chrome)


def test_a_run_without_traces_and_with_one_number_of_simulations(chrome, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", problems=4, sims=(16,), traces=False)
    write_report(folder)
    chrome.open(folder / "report.html")
    assert chrome.run("document.querySelectorAll('.chart').length") == 1
    chrome.go("p=1")
    chrome.until("document.querySelector('#problem').textContent.includes('No trace was kept')")
    assert not (folder / "plots" / "accuracy-simulations.png").exists()
    quiet(chrome)


def test_hundreds_of_problems_come_in_portions(chrome, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", problems=170, sims=(4,), traces=False)
    write_html(folder, tmp_path / "page.html")
    chrome.open(tmp_path / "page.html")
    assert "170 of 170" in chrome.run("document.querySelector('.list .found').textContent")
    assert 100 <= chrome.run(ROWS) < 170
    chrome.until(f"(window.scrollTo(0, document.body.scrollHeight), {ROWS} === 170)")
    quiet(chrome)


def test_one_trace_alone_is_a_page(chrome, tmp_path: Path) -> None:
    made_trace("alone", 30).write(tmp_path / "alone.json.gz")
    view_trace(tmp_path / "alone.json.gz", tmp_path / "alone.html")
    chrome.open(tmp_path / "alone.html")
    open_tree(chrome)
    assert chrome.run("document.querySelector('h1').textContent") == "alone"
    assert chrome.run("document.title") == "alone: gumbel"
    quiet(chrome)


def test_a_mark_says_its_numbers_with_those_that_lie_on_it(chrome, run_folder: Path) -> None:
    chrome.size(1280, 1400)
    chrome.open(run_folder / "report.html")
    chrome.until("document.querySelectorAll('.plot circle.solid').length > 0")
    point = read_json(run_folder / "summary.json")["curve"][0]["arms"]["gumbel"]["selected"]
    middle = "(r => [r.left + r.width / 2, r.top + r.height / 2])"
    box = f"{middle}(document.querySelector('.plot circle.solid').getBoundingClientRect())"
    chrome.mouse("mouseMoved", *chrome.run(box))
    chrome.until("!document.querySelector('#tip').hidden")
    text = chrome.run("document.querySelector('#tip').innerText")
    low, high = (100 * bound for bound in point["ci95"])
    assert f"gumbel: selected {100 * point['accuracy']:.1f}% [{low:.1f}%, {high:.1f}%]" in text
    assert text.startswith("4 simulations a problem")


def test_two_searches_of_a_problem_stand_side_by_side_and_grow_together(chrome, run_folder: Path) -> None:
    chrome.open(run_folder / "report.html", "#p=2&u=gumbel-16")
    open_tree(chrome)
    chrome.run(
        "(() => { const s = document.querySelector('.second select'); s.value = 'best_of_n-16';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    chrome.until("document.querySelectorAll('.half .tree .card').length > 2 && !!document.querySelector('.node')")
    assert "v=best_of_n-16" in chrome.run("location.hash")
    names = chrome.run("[...document.querySelectorAll('.half h3')].map((h) => h.textContent)")
    assert ["gumbel" in names[0], "best-of-N" in names[1]] == [True, True]
    ids = chrome.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    chrome.run(
        "(() => { const r = document.querySelector('.growth input'); r.value = 3;"
        " r.dispatchEvent(new Event('input')); })()"
    )
    assert chrome.run("[...document.querySelectorAll('.tree')].map((t) => t.dataset.step)") == ["3", "3"]
    chrome.run("document.querySelector('.half:last-child .card').click(); 0")
    assert chrome.run("document.querySelectorAll('.node').length") == 1
    quiet(chrome)


def test_light_and_dark_follow_the_system_until_one_is_chosen(chrome, run_folder: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    chrome.open(run_folder / "report.html")
    chrome.run("localStorage.clear(); 0")
    light = chrome.run(ground)
    chrome.size(1280, 900, dark=True)
    chrome.until(f"{ground} !== '{light}'")
    chrome.run("document.querySelector('.theme').click(); 0")
    assert chrome.run(ground) == light
    chrome.open(run_folder / "report.html")
    assert chrome.run(ground) == light  # the choice is kept
    chrome.run("localStorage.clear(); 0")
    quiet(chrome)
