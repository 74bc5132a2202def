"""Makes the pictures of README and documentation: docs/images/.

    python scripts/screenshots.py --run runs/countdown

``solve.svg`` is a real terminal run of ``colasearch solve``, drawn by rich; ``tree-*.png`` the tree viewer of a run of
``colasearch bench``, in a headless Chromium, light and dark. The pictures are to stay below a few hundred KB.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests" / "report"))
COMMAND = ("solve", "examples/countdown.json", "--searcher", "puct")
COLUMNS = 92


def terminal() -> None:
    """Run the command with the colours that a terminal gets, and draw what it printed."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "colasearch", *COMMAND],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ ", style="bold green") + Text(" ".join(("colasearch", *COMMAND)), style="bold"))
    console.print(Text.from_ansi(done.stdout.rstrip()))
    picture = console.export_svg(title="colasearch solve", theme=MONOKAI, unique_id="solve")
    # The fonts are the reader's: nothing is loaded when the picture is shown.
    lines = [line for line in picture.splitlines() if "cdnjs" not in line]
    (IMAGES / "solve.svg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def viewer(run: Path, problem: int, unit: str) -> None:
    """The page of one problem in both colours, and two searches side by side."""
    from chrome import Chrome, find_chrome

    from colasearch.report import write_html

    program = find_chrome()
    if program is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "report.html"
        write_html(run, page)
        chrome = Chrome(program, Path(name) / "profile")
        try:
            for dark in (False, True):
                chrome.size(1180, 860, dark=dark)
                chrome.open(page, f"#p={problem}&u={unit}")
                chrome.until("document.querySelectorAll('.tree .card').length > 2")
                press = "[...document.querySelectorAll('.toolbar button')].find((b) => b.textContent === '%s').click()"
                chrome.run(press % "Expand all")
                chrome.run(press % "Fit")
                for _ in range(8):
                    if chrome.run("document.querySelector('.plane').classList.contains('far')"):
                        chrome.run(press % "+")
                time.sleep(0.3)
                chrome.shot(IMAGES / f"tree-{'dark' if dark else 'light'}.png")
        finally:
            chrome.close()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="run folder of `colasearch bench` with traces")
    parser.add_argument("--problem", type=int, default=0, help="place of the problem whose tree is shown")
    parser.add_argument("--unit", default="puct-64", help="arm and simulations")
    given = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    terminal()
    viewer(given.run, given.problem, given.unit)
    for path in sorted(IMAGES.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
