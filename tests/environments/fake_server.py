"""An environment that hangs, dies and starts programs of its own; made in servers by tests."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path


class Fake:
    """Counts; ``child`` starts a program that outlives whoever does not kill it, as a JVM would."""

    tasks = ("count",)
    max_steps = 9

    def __init__(self):
        self.program = subprocess.Popen(["sleep", "600"])

    def variations(self, task, split):
        return range(20)

    def reset(self, task, variation):
        self.now = variation
        return f"{variation}"

    def step(self, text):
        notes = os.environ.get("FAKE_NOTES")
        if self.program.poll() is not None:
            raise OSError("the program is gone")
        if text == "fail":
            raise ValueError("cannot fail")
        if text in ("die", "hang") and notes and not Path(notes, f"{text}-{self.now}").exists():
            Path(notes, f"{text}-{self.now}").touch()
            if text == "die":
                os._exit(1)
            time.sleep(600)
        print("chatter on standard output")
        self.now += 1
        return f"{self.now}", 0.1, self.now >= 25

    def alive(self):
        return self.program.poll() is None

    def valid_actions(self):
        return ["more", "most"]


class Hopeless(Fake):
    def step(self, text):
        os._exit(1)


class Unstarted(Fake):
    def __init__(self):
        raise RuntimeError("no engine")
