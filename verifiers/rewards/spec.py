"""The strings that name rewards and values: ``KIND:NAME?option=value*WEIGHT``."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from colasearch.errors import InputError
from colasearch.verifiers.rewards.base import check_scale

INSIDE = ("head", "rollouts", "q")
"""Values that a search has in itself; no reward of a text."""
NAMED = ("rm", "prm", "judge", "verifier")
EXAMPLES = (
    "PATH.py:FUNCTION, http://HOST:PORT/PATH, rm:NAME, prm:NAME, judge:MODEL@URL, verifier:NAME, "
    "or for values head, q and rollouts"
)
SERVER_OPTIONS = ("kind", "model", "batch", "concurrency", "timeout", "tries", "scale", "aggregation")
OPTIONS: Mapping[str, Collection[str]] = {
    "file": ("scale",),
    "entry": ("scale",),
    "http": SERVER_OPTIONS,
    "judge": ("batch", "concurrency", "timeout", "tries", "cache"),
    "rm": ("scale", "device", "dtype", "batch", "length"),
    "prm": ("kind", "separator", "aggregation", "device", "dtype", "batch", "length", "memory"),
    "verifier": (),
    **dict.fromkeys(INSIDE, ()),
}
"""Options after the question mark, by kind. Those of a URL that are not ours stay in the URL."""
_WEIGHT = re.compile(r"(?P<rest>.+)\*(?P<weight>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", re.DOTALL)
_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>\w+))?", re.DOTALL)
_ENTRY = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec, taken apart.

    Attributes:
        text: As it was written, without the weight; names the reward in records.
        kind: ``file``, ``http``, ``rm``, ``prm``, ``judge``, ``verifier``, ``entry``, ``head``, ``rollouts`` or ``q``.
        name: Path, URL, model, verifier or entry point.
        part: The function of a file; the URL of a judge.
        weight: Its share among several, up to a factor.
        options: What stands after the question mark.
    """

    text: str
    kind: str
    name: str
    part: str = ""
    weight: float = 1.0
    options: Mapping[str, str] = field(default_factory=dict)

    def number(self, option: str, default: float, at_least: float = 0) -> float:
        """An option that is a number.

        Raises:
            InputError: It is none, or too small.
        """
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not value >= at_least:
            raise InputError(f"{option}={text} in {self.text!r} must be a number of at least {at_least:g}")
        return value

    def one_of(self, option: str, choices: Collection[str], default: str) -> str:
        """An option that is one of some words.

        Raises:
            InputError: It is none of them.
        """
        value = self.options.get(option, default)
        if value not in choices:
            raise InputError(f"{option}={value} in {self.text!r} must be one of {', '.join(choices)}")
        return value


def parse_spec(text: str) -> Spec:
    """Take a spec apart; nothing is loaded or asked.

    Raises:
        InputError: It names no reward, or has an option that its kind does not know.
    """
    whole = text.strip()
    weight = 1.0
    if (match := _WEIGHT.fullmatch(whole)) is not None:
        whole, weight = match["rest"].strip(), float(match["weight"])
        if not (weight > 0 and math.isfinite(weight)):
            raise InputError(f"the weight in {text!r} is {match['weight']}; it must be above 0")
    kind, colon, name = whole.partition(":")
    if kind in ("http", "https") and name.startswith("//"):
        return _server(whole, weight)
    if kind == "judge" and colon:
        return _judge(whole, name, weight)
    name, _, query = whole.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    return _checked(_plain(text, whole, name, weight, options))


def _plain(text: str, whole: str, name: str, weight: float, options: dict[str, str]) -> Spec:
    kind, colon, rest = name.partition(":")
    if kind in NAMED and colon and rest:
        return Spec(whole, kind, rest, "", weight, options)
    if name in INSIDE:
        return Spec(whole, name, name, "", weight, options)
    if (match := _FILE.fullmatch(name)) is not None:
        return Spec(whole, "file", match["path"], match["name"] or "reward", weight, options)
    if _ENTRY.fullmatch(name) and kind not in NAMED:
        return Spec(whole, "entry", name, "", weight, options)
    raise InputError(f"{text!r} names no reward; write one of {EXAMPLES}")


def _url(whole: str, url: str, kind: str) -> tuple[str, dict[str, str]]:
    """A URL without our options, and these."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{whole!r} has no URL; write one as http://127.0.0.1:8000")
    query = parse_qsl(parts.query, keep_blank_values=True)
    ours = {key: value for key, value in query if key in OPTIONS[kind]}
    theirs = urlencode([(key, value) for key, value in query if key not in OPTIONS[kind]])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, theirs, "")), ours


def _server(whole: str, weight: float) -> Spec:
    url, options = _url(whole, whole, "http")
    return _checked(Spec(whole, "http", url, "", weight, options))


def _judge(whole: str, name: str, weight: float) -> Spec:
    model, at, url = name.partition("@http")
    if not model or not at:
        raise InputError(f"{whole!r} is no judge; write judge:MODEL@URL, as judge:qwen@http://127.0.0.1:8000")
    url, options = _url(whole, f"http{url}", "judge")
    return _checked(Spec(whole, "judge", model, url, weight, options))


def _checked(spec: Spec) -> Spec:
    for option in spec.options:
        if option not in OPTIONS[spec.kind]:
            known = ", ".join(OPTIONS[spec.kind]) or "none"
            raise InputError(f"{spec.text!r} has the option {option!r}; options there: {known}")
    check_scale(spec.options.get("scale", "given"))
    return spec
