"""A headless Chromium, driven over the DevTools protocol through a pipe: no package, no port."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


def find_chrome() -> str | None:
    """The browser's program, or None."""
    return os.environ.get("COLASEARCH_CHROME") or next(filter(None, map(shutil.which, NAMES)), None)


class Chrome:
    """One browser with one page.

    Attributes:
        events: What the page's console, its log (policy violations among it), exceptions, dialogs and requests said.
    """

    def __init__(self, program: str, folder: Path) -> None:
        to_read, to_write = os.pipe(), os.pipe()
        # The browser reads commands from descriptor 3 and writes to 4; the shell puts them there.
        shell = f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "chrome", program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_read[0], to_write[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        self._out, self._in = to_read[1], os.fdopen(to_write[0], "rb", 0)
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        targets = self.send("Target.getTargets", session=False)["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", session=False, targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, session: bool = True, **params: Any) -> dict[str, Any]:
        """Call ``method`` and wait for its result; other messages become ``events``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
            if answer.get("method") == "Page.javascriptDialogOpening":
                self._number += 1
                close = {"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                os.write(self._out, json.dumps({**close, "sessionId": self._session}).encode() + b"\0")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._in.read(1 << 16)
            if not chunk:
                raise RuntimeError(f"Chromium has ended, code {self.process.poll()}")
            self._rest += chunk
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, awaited; raises what it throws."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"].get("exception", {}).get("description", "?"))
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise AssertionError(f"still not true after {seconds} s: {script}; events: {self.problems()}")
            time.sleep(0.03)
        return value

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a report and wait until it has drawn itself."""
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.until("document.documentElement?.dataset.ready === 'yes'")

    def go(self, fragment: str) -> None:
        """Follow a link within the report."""
        self.run(f"location.hash = {json.dumps(fragment)}; 0")

    def size(self, width: int, height: int, dark: bool = False, mobile: bool = False) -> None:
        """Set the window, and light or dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press a key in whatever has the focus."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}.get(key, 0)
        common = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """A mouse event: mousePressed, mouseMoved, mouseReleased, mouseWheel."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def shot(self, path: Path, full: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(picture["data"]))

    def requests(self) -> list[str]:
        """Addresses that the page asked for, beside its own file and data in it."""
        sent = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        own = {p["documentURL"].split("#")[0] for p in sent if p.get("type") == "Document"}
        urls = [p["request"]["url"] for p in sent]
        return [url for url in urls if url.split("#")[0] not in own and not url.startswith(("data:", "about:"))]

    def problems(self) -> list[str]:
        """Exceptions, console errors, policy violations and dialogs."""
        self.run("0")
        found = []
        for event in self.events:
            params = event.get("params", {})
            match event.get("method"):
                case "Runtime.exceptionThrown":
                    found.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
                case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                    found.append(params["entry"]["text"])
                case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                    found.append(str(params["args"]))
                case "Page.javascriptDialogOpening":
                    found.append(f"dialog: {params['message']}")
        return found

    def close(self) -> None:
        """End the browser and its children."""
        os.close(self._out)
        self._in.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
