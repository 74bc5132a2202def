"""Text from models, data sets and damaged files: shown as it is, never executed, in every place where text is shown."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from runs_made import made_run, made_trace

from colasearch.report import view_trace, write_report
from colasearch.report.embed import page, script_json
from colasearch.report.markdown import literal
from colasearch.storage.records import RECORDS_NAME, record_sum
from colasearch.storage.runs import SUMMARY_NAME

BAD = (
    "<script>window.pwned=1;alert(1)</script>",
    "</script><script>window.pwned=1</script>",
    '<img src=x onerror="window.pwned=1">',
    "<!--<script>",
    "]]><svg/onload=window.pwned=1>",
    "'\"><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "javascript:window.pwned=1//",
    "{{constructor.constructor('window.pwned=1')()}} ${window.pwned=1}",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "a\u2028b\u2029c\u0085d",
    "\u202egnp.exe\u202c \u05d0\u05d1\u05d2 123 \u0645\u0631\u062d\u0628\u0627",
    "nul\x00byte \x7f\x9b",
    "\ud800 lone surrogate",
    "x" * 100_000,
    "[bold red]rich[/bold red] | pipe | `code` **b** [l](javascript:1)",
    "@@DATA@@ @@SCRIPT@@",
    "__proto__",
)
EVERYTHING = " ".join(BAD[:12])  # without the surrogate, which UTF-8 has not


def seen(chrome) -> None:
    """Nothing ran, nothing was loaded, and no element came from a text."""
    assert chrome.run("window.pwned") is None
    assert chrome.problems() == []
    assert chrome.requests() == []
    assert chrome.run("document.querySelectorAll('img, iframe, object, embed, svg script, body > svg').length") == 0
    assert chrome.run("[...document.scripts].filter(s => !s.type).length") == 1
    attributes = "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
    assert chrome.run(f"{attributes}.filter(a => /^on|^srcdoc$/i.test(a.name)).length") == 0


def marked(text: str) -> str:
    """``text`` as the page ought to show it: what controls a terminal or the direction of text, as marks."""
    out = []
    for c in text:
        n = ord(c)
        if n < 32 and c not in "\t\n":
            out.append(chr(0x2400 + n))
        elif n == 127:
            out.append("\u2421")
        elif 0x80 <= n < 0xA0 or 0x200B <= n <= 0x200F or 0x2028 <= n <= 0x202E or 0x2060 <= n <= 0x206F:
            out.append(f"\u27e8U+{n:04X}\u27e9")
        else:
            out.append(c)
    return "".join(out)


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_trace_made_of_hostile_text_is_shown_literally(chrome, tmp_path: Path, bad: str) -> None:
    trace = made_trace("hostile", 12, text=bad, step=lambda rng: bad)
    nodes = tuple(dataclasses.replace(n, answer=bad if n.end == "answer" else None) for n in trace.nodes)
    texts = tuple(dataclasses.replace(t, answer=bad) for t in trace.texts)
    trace = dataclasses.replace(
        trace,
        problem_id=bad,
        searcher=bad[:50],
        model=bad,
        task=bad,
        answer=bad,
        stop=bad[:50],
        nodes=nodes,
        texts=texts,
        best_node=1,
    )
    path = tmp_path / "t.json.gz"
    path.write_bytes(_gzipped(trace.to_json()))
    view_trace(path, tmp_path / "t.html")
    chrome.open(tmp_path / "t.html")
    chrome.until("!!document.querySelector('.node .block')")
    seen(chrome)
    block = chrome.run("document.querySelector('.node .block').textContent")
    assert marked(bad).replace("\ud800", "\ufffd") in block.replace("\ud800", "\ufffd")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]", chrome.run("document.body.innerText"))
    if "\x1b" in bad:
        assert "␛[31mred" in block
    if "\u202e" in bad:
        assert "⟨U+202E⟩gnp.exe" in block
    # A long line does not make the page wide.
    assert chrome.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_run_made_of_hostile_text_is_shown_literally(chrome, tmp_path: Path) -> None:
    folder = made_run(
        tmp_path / "run", problems=4, sims=(4,), nodes=8, text="{i} " + EVERYTHING.replace("{", "{{").replace("}", "}}")
    )
    records = [json.loads(line) for line in (folder / RECORDS_NAME).read_text().splitlines()]
    names = {name: f"{name} {EVERYTHING}" for name in {r["problem_id"] for r in records}}
    for number, record in enumerate(records):
        record.update(
            problem_id=names[record["problem_id"]], subject=EVERYTHING, level="__proto__", gold=EVERYTHING,
            answer=EVERYTHING, text=EVERYTHING, stop=EVERYTHING,
            candidates=[{"answer": EVERYTHING, "weight": float("nan"), "count": 1}],
        )  # fmt: skip
        if number == 0:
            record.update(status="error", error={"kind": "InputError", "message": EVERYTHING})
        record.pop("sum")
        record["sum"] = record_sum(record)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / RECORDS_NAME).write_text(lines)
    summary = json.loads((folder / SUMMARY_NAME).read_text())
    summary.update(benchmark=EVERYTHING, model=EVERYTHING, verdict=EVERYTHING, data={"remarks": [EVERYTHING]})
    summary["curve"][0]["arms"][records[0]["arm"]]["errors"] += 1  # a summary that counts other records is made anew
    for point in summary["curve"]:
        for arm in point["arms"].values():
            arm["by"] = {"subject": {EVERYTHING: arm["by"]["subject"]["Algebra"]}}
    (folder / SUMMARY_NAME).write_text(json.dumps(summary))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.update(argv=["colasearch", EVERYTHING], git=EVERYTHING)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write_report(folder)
    chrome.open(folder / "report.html")
    assert "<script>window.pwned=1;alert(1)</script>" in chrome.run("document.querySelector('.verdict').textContent")
    assert chrome.run("document.querySelectorAll('table.problems tbody tr').length") == 4
    chrome.run("[...document.querySelectorAll('details')].forEach(d => { d.open = true; }); 0")
    seen(chrome)
    for index in range(4):
        chrome.go(f"p={index}")
        chrome.until("!document.querySelector('#problem').hidden")
        seen(chrome)
    markdown = (folder / "report.md").read_text()
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown


def _gzipped(data: object) -> bytes:
    import gzip

    return gzip.compress(json.dumps(data).encode())


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_json_in_the_page_is_ascii_without_markup_and_reads_back(bad: str) -> None:
    text = script_json({bad: [bad, {"k": bad}]})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {bad: [bad, {"k": bad}]}


def test_numbers_that_json_does_not_have_become_strings() -> None:
    assert json.loads(script_json([float("nan"), float("inf"), -float("inf"), 1.5])) == ["nan", "inf", "-inf", 1.5]


def test_the_title_and_the_stamp_cannot_leave_their_places() -> None:
    text = page('</title><script>alert(1)</script>"', {}, [], stamp='"><script>alert(2)</script>')
    assert "<script>alert" not in text
    assert text.count("<script>") == 1


def test_the_policy_forbids_everything_but_this_script_and_this_style(chrome, tmp_path: Path) -> None:
    (tmp_path / "p.html").write_text(page("t", {"kind": "trace", "problems": [], "units": [], "notes": []}, []))
    chrome.send("Page.navigate", url=(tmp_path / "p.html").as_uri())
    chrome.until("document.readyState === 'complete' && location.protocol === 'file:'")
    policy = chrome.run("document.querySelector('meta[http-equiv]').content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    inject = (
        "{ const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s);"
        " document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.pwned=2\" style=\"color:red\">x</b>');"
        " document.body.lastChild.click(); 0 }"
    )
    chrome.run(inject)
    assert chrome.run("window.pwned") is None
    assert chrome.run("getComputedStyle(document.body.lastChild).color") != "rgb(255, 0, 0)"
    assert chrome.run("fetch('https://example.com').then(() => 'loaded', () => 'refused')") == "refused"


def test_markdown_is_literal() -> None:
    for bad in BAD:
        shown = literal(bad)
        assert "\n" not in shown
        assert "<" not in shown
        assert not re.search(r"(?<!\\)[|`*\[\]]", shown)
        assert len(shown) < 2500
