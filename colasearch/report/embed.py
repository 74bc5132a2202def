"""Putting data that nobody vouches for into one HTML file: escaped JSON, compressed payloads, a strict policy.

Nothing in the page is executed but the one script whose SHA-256 stands in its Content-Security-Policy; nothing is
loaded. All data is JSON in ASCII in which ``<``, ``>`` and ``&`` are escaped, so no ``</script>`` or ``<!--`` can
occur, and the page's script puts text in through text nodes alone.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

SCRIPTS = (
    "base.js",
    "theme.js",
    "chart.js",
    "overview.js",
    "problems.js",
    "layout.js",
    "growth.js",
    "crowd.js",
    "tree.js",
    "details.js",
    "problem.js",
    "experiment.js",
    "main.js",
)
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def plain(value: Any) -> Any:
    """``value`` with numbers that JSON does not have (NaN, infinities) as strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def script_json(value: Any) -> str:
    """``value`` as JSON that can stand in a script element, whatever it holds (also lone surrogates and U+2028)."""
    return json.dumps(plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def packed(value: Any) -> str:
    """``value`` as JSON, gzipped, in base64; equal values give equal strings."""
    data = json.dumps(plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


@cache
def _asset(name: str) -> str:
    return resources.files("colasearch.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def assets() -> tuple[str, str, str]:
    """The page's skeleton, style and script."""
    script = '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();\n"
    return _asset("page.html"), _asset("style.css"), script


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page(title: str, data: Mapping[str, Any], payloads: Iterable[tuple[str, str]], stamp: str = "") -> str:
    """The whole HTML page.

    Args:
        title: Of the document; any text.
        data: What the page's script reads at the start.
        payloads: Element id and :func:`packed` value of what it reads when needed. Ids are our own.
        stamp: Kept in the page, to tell whether it is current.
    """
    skeleton, style, script = assets()
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    blocks = "\n".join(f'<script type="text/plain" id="{name}">{value}</script>' for name, value in payloads)
    parts = {
        "POLICY": html.escape(policy, quote=True).replace("&#x27;", "'"),
        "STAMP": html.escape(stamp, quote=True),
        "TITLE": html.escape(title.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")),
        "STYLE": style,
        "DATA": script_json(data),
        "PAYLOADS": blocks,
        "SCRIPT": script,
    }
    # One pass over the skeleton: nothing that is put in is looked at again.
    pieces = skeleton.split("@@")
    return "".join(piece if number % 2 == 0 else parts[piece] for number, piece in enumerate(pieces))
