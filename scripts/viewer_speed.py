"""How smoothly the tree viewer moves: frame times of a large tree in a headless Chromium.

    python scripts/viewer_speed.py --nodes 5000

The tree is made up (``tests/report/runs_made.py``). Times are between two animation frames while the tree is unfolded,
moved, zoomed, and grown by the slider; a frame of a 60 Hz screen is 16.7 ms. Beside them stands the processor time of
the page's thread for a frame, which other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))

MEASURE = """
(async () => {
  const frame = () => new Promise(requestAnimationFrame), times = [], act = %s;
  let last = await frame();
  for (let i = 0; i < %d; i++) { act(i); const now = await frame(); times.push(now - last); last = now; }
  times.sort((a, b) => a - b);
  const at = (q) => times[Math.min(times.length - 1, Math.floor(q * times.length))];
  return [at(0.5), at(0.95), times[times.length - 1]];
})()
"""
FRAMES = 61
TREE = "document.querySelector('.tree')"
WHEEL = f"(i) => {TREE}.dispatchEvent(new WheelEvent('wheel', {{deltaY: %s, ctrlKey: %s, clientX: 500, clientY: 600}}))"
SLIDE = """(i) => { const r = document.querySelector('.growth input');
r.value = Math.round(r.max * i / 60); r.dispatchEvent(new Event('input')); }"""
PRESS = "[...document.querySelectorAll('.toolbar button')].find((b) => b.textContent === '%s').click(); 0"


def main() -> None:
    """Measure, and print a line for each movement."""
    from chrome import Chrome, find_chrome
    from runs_made import made_trace

    from colasearch.report import view_trace

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5000)
    nodes = parser.parse_args().nodes
    program = find_chrome()
    if program is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_trace("large", nodes, 1).write(folder / "large.json.gz")
        view_trace(folder / "large.json.gz", folder / "large.html")
        chrome = Chrome(program, folder / "profile")
        try:
            chrome.size(1280, 900)
            chrome.open(folder / "large.html")
            chrome.send("Performance.enable", timeDomain="threadTicks")

            def busy() -> float:
                found = chrome.send("Performance.getMetrics")["metrics"]
                return next(metric["value"] for metric in found if metric["name"] == "TaskDuration")

            print(f"{nodes} nodes; ms between frames: median, 95th of 100, longest; processor time a frame")
            chrome.run(PRESS % "Expand all")
            print(f"layout and drawing when unfolded: {chrome.run(f'{TREE}.dataset.layoutMs')} ms")
            chrome.run(f"{TREE}.focus(); 0")
            for what, act, before in (
                ("near, moving", WHEEL % ("i % 20 < 10 ? 60 : -50", "false"), None),
                ("zooming out and in", WHEEL % ("i % 40 < 20 ? 30 : -30", "true"), None),
                ("all in view, moving", WHEEL % ("i % 20 < 10 ? 60 : -60", "false"), "Fit"),
                ("all in view, slider", SLIDE, "Fit"),
            ):
                if before:
                    chrome.run(PRESS % before)
                before_it = busy()
                times = chrome.run(MEASURE % (act, FRAMES))
                used = 1000 * (busy() - before_it) / FRAMES
                print(f"{what}:", ", ".join(f"{ms:.1f}" for ms in times), f"; {used:.1f}")
        finally:
            chrome.close()


if __name__ == "__main__":
    main()
