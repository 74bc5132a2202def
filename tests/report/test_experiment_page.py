"""The page of an experiment in a real browser: aims, tables, charts, and text that nobody vouches for."""

from __future__ import annotations

from colasearch.report.charts import Chart, Series
from colasearch.report.embed import page

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def made() -> dict:
    chart = Chart("c", f"Chart {HOSTILE}", "rounds", "share", (Series("a", [0, 1, 2], [0.1, 0.2, 0.3]),), percent=True)
    return {
        "kind": "experiment",
        "title": f"Title {HOSTILE}",
        "facts": ["size full", HOSTILE],
        "lead": f"1 of 3 aims is met. {HOSTILE}",
        "aims": [
            {"aim": f"aim {met} {HOSTILE}", "met": met, "verdict": word, "measured": "1.2 times", "detail": HOSTILE}
            for met, word in ((True, "met"), (False, "not met"), (None, "not measured"))
        ],
        "sections": [
            {
                "title": "Part",
                "text": HOSTILE,
                "tables": [
                    {"head": ["arm", "why", "solved"], "rows": [[HOSTILE, "x", "1.0%"]], "words": [1]},
                    {"head": ["n", "m"], "rows": [[str(i), "1"] for i in range(40)], "words": []},
                ],
                "charts": [chart.to_json()],
            }
        ],
        "commands": [["01-rows", HOSTILE, f"colasearch train --x {HOSTILE}"]],
        "run": [["recipe", HOSTILE]],
        "problems": [],
        "units": [],
    }


def test_an_experiment_is_drawn_and_its_text_is_text(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(f"Title {HOSTILE}", made(), []))
    for width in (1200, 400):
        browser.size(width, 900)
        browser.open(path)
        assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.problems() == []
    assert browser.requests() == []
    assert browser.run("document.querySelectorAll('#home img').length") == 0
    assert browser.run("[...document.querySelectorAll('.aims tbody tr')].map(r => r.dataset.met)") == [
        "true",
        "false",
        "null",
    ]
    assert HOSTILE in browser.run("document.querySelector('.aims tbody th').textContent")
    assert browser.run("document.querySelectorAll('.plain tbody tr').length") == 41
    assert browser.run("[...document.querySelectorAll('.plain td')].slice(0, 2).map(c => c.className)") == ["", "num"]
    # The long table is folded away.
    assert browser.run("document.querySelectorAll('.part details:not([open]) table').length") == 1
    assert browser.run("document.querySelectorAll('figure svg[role=img] polyline').length") == 1
    assert f"--x {HOSTILE}" in browser.run("document.querySelector('.commands dd').textContent")
