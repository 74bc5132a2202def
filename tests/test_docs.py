"""The documentation names what there is: commands, tests, pages, headings, public names.

`make docs` builds the site, where every warning is an error; what people are told to type is run by
``cli/test_documents.py``.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source)[^>]*(?:src|srcset)=\"([^\"]+)\"")
TEST = re.compile(r"\btests/[\w/]+\.py(?:::\w+)?")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_pages_of_the_command_line_say_what_help_says():
    """In a process of its own: tasks that tests register are named in some of the helps."""
    script = ROOT / "scripts" / "cli_reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if TEST.search(d.read_text())], ids=name_of)
def test_tests_that_are_named_exist(document):
    for found in TEST.findall(document.read_text()):
        file, _, function = found.partition("::")
        assert (ROOT / file).is_file(), f"{document.name}: {found}"
        assert not function or function in functions(ROOT / file), f"{document.name}: {found}"


def test_the_fault_table_has_every_row_with_a_test_a_measurement_or_what_is_open():
    table = (ROOT / "docs" / "reliability.md").read_text().partition("\n## A thousand requests")[0]
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", table, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 34))
    for number, row in rows:
        *_, checked, still_open = (cell.strip() for cell in row.split("|"))
        assert TEST.search(checked) or re.search(r"2026-\d\d-\d\d", checked) or still_open, number


def slugs(document: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts and Sphinx make them."""
    text = FENCED.sub("", document.read_text())
    found: list[str] = []
    for heading in re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document):
    text = FENCED.sub("", document.read_text())
    targets = [*LINK.findall(text), *(a or b for a, b in IMAGE.findall(text))]
    for target in targets:
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        page = (document.parent / file).resolve() if file else document
        assert page.exists(), f"{document.name}: {target}"
        if anchor:
            assert anchor in slugs(page), f"{document.name}: {target}"


def test_every_page_stands_in_a_table_of_contents():
    listed = {ROOT / "docs" / "index.md"}
    for page in PAGES:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{name}.md") for name in names}
    assert listed == set(PAGES)


@pytest.mark.parametrize("package", ["colasearch", "colasearch.searchers", "colasearch.verifiers"])
def test_the_reference_has_every_public_name(package):
    reference = (ROOT / "docs" / "api.md").read_text()
    hidden = {"__version__"} | ({"Candidate"} if package == "colasearch.searchers" else set())
    for name in set(importlib.import_module(package).__all__) - hidden:
        assert re.search(rf"[.\s]{name}\b", reference), f"{package}.{name} is not in docs/api.md"
