"""The endpoints of the Hugging Face hub that downloads and uploads use, over a local folder: ROOT/owner/model/files."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40


class Hub(http.server.BaseHTTPRequestHandler):
    """One request; ``root`` is set by ``serving``."""

    root: Path
    cards: list[str]

    def log_message(self, *args: object) -> None:
        return None

    def _send(self, code: int, body: bytes | object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for key, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self) -> None:
        self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        repo = self.root.joinpath(*(parts[2:4] if api else parts[:2]))
        if not repo.is_dir():
            return self._missing()
        files = sorted(path for path in repo.rglob("*") if path.is_file())
        names = [path.relative_to(repo).as_posix() for path in files]
        if api and "tree" in parts:
            sizes = [path.stat().st_size for path in files]
            return self._send(
                200,
                [{"type": "file", "path": name, "size": size, "oid": "0" * 40}
                 for name, size in zip(names, sizes, strict=True)],
            )  # fmt: skip
        if api:
            siblings = [{"rfilename": name} for name in names]
            return self._send(200, {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": siblings})
        name = "/".join(parts[4:])
        if parts[2:3] != ["resolve"] or name not in names:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = (repo / name).read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return self._send(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT, "X-Linked-Etag": etag})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self._all()
        address = f"http://{self.headers['Host']}"
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            (self.root / asked["organization"] / asked["name"]).mkdir(parents=True)
            return self._send(200, {"url": f"{address}/{asked['organization']}/{asked['name']}"})
        if parts == ["api", "validate-yaml"]:
            self.cards.append(json.loads(body)["content"])
            return self._send(200, {"errors": [], "warnings": []})
        if "preupload" in parts:
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for one in json.loads(body)["files"]]  # fmt: skip
            return self._send(200, {"files": files})
        repo = self.root.joinpath(*parts[2:4])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                path = repo / line["value"]["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(line["value"]["content"]))
        url = f"{address}/{'/'.join(parts[2:4])}/commit/{COMMIT}"
        return self._send(200, {"commitUrl": url, "commitOid": COMMIT})

    def _all(self) -> bytes:
        """A body that comes in chunks."""
        read = b""
        while size := int(self.rfile.readline(), 16):
            read += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return read


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub; its address, and the cards that it is asked to look at."""
    cards: list[str] = []
    handler: Any = type("Handler", (Hub,), {"root": root, "cards": cards})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", cards
    finally:
        server.shutdown()
        server.server_close()
