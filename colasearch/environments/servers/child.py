"""The process of a server: makes an environment and does what the lines on its standard input say.

A line is ``{"call": NAME, "given": [...]}``; the answer is ``{"value": ...}``, or ``{"error": "...", "kind": "..."}``
where the environment raised. What the environment prints goes to standard error. Where it raised and has a
method ``alive`` that says no, the process ends. ``healthy`` asks that method alone.

Whatever ends the process ends all programs that it has started, also those that hang: a guardian, forked before
anything else, kills their group.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from colasearch.environments.registry import find
from colasearch.verifiers.worker import die_with_parent

READY = "ready"
GUARD_SECONDS = 0.5
"""Between two looks of the guardian."""
ATTRIBUTES = ("tasks", "instruction", "max_steps")
"""What is asked of an environment that is no method."""
METHODS = ("valid_actions", "gold", "success", "variations")
"""Methods that it may lack."""


def make(spec: str) -> Any:
    """The environment of ``MODULE:CLASS`` of ours, or of a user's ``FILE.py:CLASS``."""
    if ".py" in spec:
        return find(spec)[0].make()
    module, _, name = spec.partition(":")
    return getattr(importlib.import_module(module), name)()


def describe(environment: Any) -> dict[str, Any]:
    """What an environment has."""
    found: dict[str, Any] = {"methods": [m for m in METHODS if callable(getattr(environment, m, None))]}
    for name in ATTRIBUTES:
        value = getattr(environment, name, None)
        value = value() if callable(value) else value
        if value is not None:
            found[name] = value if isinstance(value, str | int) else list(value)
    return found


def healthy(environment: Any) -> bool:
    """Whether the environment, which may need other programs, can be used."""
    return not hasattr(environment, "alive") or bool(environment.alive())


def answer(environment: Any, line: str) -> dict[str, Any]:
    """Do what a line says."""
    asked = json.loads(line)
    name, given = asked["call"], asked["given"]
    try:
        if name == "describe":
            return {"value": describe(environment)}
        if name == "healthy":
            return {"value": healthy(environment)}
        value = getattr(environment, name)(*given)
        if isinstance(value, set | frozenset | range):
            value = sorted(value)
        return {"value": value}
    except Exception as error:  # the environment's own
        if not healthy(environment):
            os._exit(1)  # a program that it needs is gone: whoever asked must take another server
        return {"error": " ".join(str(error).split())[:500], "kind": type(error).__name__}


def guard() -> None:
    """Fork a process that kills this one's group when this one is gone.

    A program whose input ends with this process usually ends by itself; one that hangs or is stopped does not.
    """
    guarded = os.getpid()
    if os.fork():
        return
    os.closerange(0, 3)  # or whoever reads from us would wait for it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.getppid() == guarded:
        time.sleep(GUARD_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Serve until standard input ends, or the parent does."""
    spec, parent = sys.argv[1], int(sys.argv[2])
    if os.getpgrp() == os.getpid():  # else others are in the group
        guard()
    die_with_parent(parent)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the environment prints must not get between the answers

    def reply(said: dict[str, Any]) -> None:
        try:
            text = json.dumps(said)
        except (TypeError, ValueError) as error:
            text = json.dumps({"error": f"its answer is no plain data: {error}", "kind": "TypeError"})
        replies.write(text + "\n")
        replies.flush()

    try:
        environment = make(spec)
    except Exception as error:  # the environment's own
        reply({"error": " ".join(str(error).split())[:500], "kind": type(error).__name__})
        return 1
    reply({"value": READY})
    for line in sys.stdin:
        reply(answer(environment, line))
    if callable(getattr(environment, "close", None)):
        environment.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
