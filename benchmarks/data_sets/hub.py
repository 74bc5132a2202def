"""Rows from the Hugging Face hub, kept in the cache so that they are fetched once.

Failures that pass (429, 5xx, timeouts, a download that does not have the named hash) are tried again, at most five
times in all with growing, jittered waits. Failures that do not pass (no connection, no such data set, a login) are
explained at once: what is missing, and how to get it. With ``HF_HUB_OFFLINE=1`` nothing but the cache is looked at.

Recent versions of huggingface_hub repeat failed requests five times themselves; then only one more round is added.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, items_sha256, make_item
from colasearch.errors import ColasearchError, CorruptFileError, PrerequisiteError
from colasearch.storage.files import cache_dir, write_atomic

TRIES = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
Loader = Callable[[Hub, str | None, str, bool], Iterable[Mapping[str, Any]]]
"""Rows of one configuration and split; the last argument asks to download anew."""


def datasets_rows(hub: Hub, config: str | None, split: str, anew: bool) -> Iterable[Mapping[str, Any]]:
    """The loader that goes to the hub, through the library ``datasets``.

    Raises:
        PrerequisiteError: ``datasets`` is not installed.
        ConnectionError: The hub's name cannot be resolved.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise PrerequisiteError(
            f"data set {hub.repo} is read with the package datasets, which is not installed; "
            "run `pip install '.[data]'`, or give the problems as --data FILE.jsonl"
        ) from None
    if not Path(hub.repo).is_dir():
        _check_name()
    datasets.disable_progress_bars()
    mode = "force_redownload" if anew else "reuse_dataset_if_exists"
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it would log each of its own repeats
    try:
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(
            hub.repo, config, split=split, revision=hub.revision, download_mode=mode
        )
    finally:
        logger.setLevel(level)
    return rows


def _check_name() -> None:
    """Fail at once where there is no network, rather than after half a minute of the library's repeats.

    Raises:
        ConnectionError: The hub's name cannot be resolved, and no proxy is set that could.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname or "huggingface.co"
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise ConnectionError(f"{host} cannot be resolved ({error})") from None


def _rounds(loader: Loader) -> int:
    """How often to try in all."""
    if loader is not datasets_rows:
        return TRIES
    try:
        from huggingface_hub.utils._http import http_backoff

        repeats = "retry_on_status_codes" in inspect.signature(http_backoff).parameters
    except (ImportError, ValueError):
        repeats = False
    return 2 if repeats else TRIES


def cache_path(benchmark: Benchmark) -> Path:
    """Where a benchmark's rows are kept: a jsonl file whose first line holds its SHA-256."""
    assert isinstance(benchmark.source, Hub)
    return cache_dir() / "benchmarks" / f"{benchmark.name}-{benchmark.source.revision or 'newest'}.jsonl"


def fetch(
    benchmark: Benchmark,
    report: Callable[[str], None] = lambda text: None,
    *,
    loader: Loader | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Item]:
    """The rows of a benchmark that lives on the hub, from the cache if they are there.

    Args:
        benchmark: Whose rows.
        report: Told what is being done.
        loader: Reads the hub; ``datasets_rows`` unless another is given.
        sleep: Waits between tries.

    Raises:
        PrerequisiteError: They cannot be had; says how to get them.
        CorruptFileError: What the hub has is not what the benchmark names.
    """
    path = cache_path(benchmark)
    items = _read_cache(path)
    if items is not None and _mismatch(benchmark, items) is None:
        return items
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise PrerequisiteError(
            f"the rows of {benchmark.name} are not in the cache ({path.parent}) and HF_HUB_OFFLINE is set; "
            f"{_remedy(benchmark)}"
        )
    items = _download(benchmark, report, loader or datasets_rows, sleep)
    _write_cache(path, items)
    return items


def _download(
    benchmark: Benchmark, report: Callable[[str], None], loader: Loader, sleep: Callable[[float], None]
) -> list[Item]:
    hub = benchmark.source
    assert isinstance(hub, Hub)
    report(f"fetching {hub.repo} from the Hugging Face hub")
    anew, problem, asked = False, "", None
    kind: type[ColasearchError] = PrerequisiteError
    tries = _rounds(loader)
    for attempt in range(tries):
        if attempt:
            wait = _wait(attempt, asked)
            report(f"{problem}; trying again in {wait:.0f} s ({attempt + 1} of {tries})")
            sleep(wait)
        try:
            items = list(_items(hub, loader, anew))
        except ColasearchError:
            raise
        except Exception as error:
            reason, passes, asked = _explain(error)
            if not passes:
                raise PrerequisiteError(f"{hub.repo} cannot be read: {reason}; {_remedy(benchmark)}") from error
            problem, kind = f"{hub.repo} cannot be read: {reason}", PrerequisiteError
            continue
        wrong = _mismatch(benchmark, items)
        if wrong is None:
            return items
        problem, kind, anew, asked = wrong, CorruptFileError, True, None
    raise kind(f"{problem} (tried {tries} times); {_remedy(benchmark)}")


def _items(hub: Hub, loader: Loader, anew: bool) -> Iterator[Item]:
    number = 0
    for config in hub.configs:
        for split in hub.splits:
            for row in loader(hub, config, split, anew):
                item = hub.convert(row, number, config)
                number += 1
                if item is not None:
                    yield item


def _mismatch(benchmark: Benchmark, items: list[Item]) -> str | None:
    """Why the rows are not the benchmark's; None if they are, or if nothing binding is known of them."""
    if benchmark.rows is not None and len(items) != benchmark.rows:
        return f"{benchmark.name} has {len(items)} rows where {benchmark.rows} were expected"
    if benchmark.binding and (found := items_sha256(items, benchmark.loose)) != benchmark.sha256:
        return f"the rows of {benchmark.name} have SHA-256 {found}, they must have {benchmark.sha256}"
    return None


def _explain(error: BaseException) -> tuple[str, bool, float | None]:
    """What went wrong, whether it may pass, and how long the server asks to wait."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int):
            after = str(getattr(response, "headers", {}).get("Retry-After", ""))
            wait = float(after) if after.replace(".", "", 1).isdigit() else None
            reasons = {
                429: "the hub answers 429 (too many requests)",
                401: "the hub asks for a login (401); run `hf auth login`",
                403: "access is refused (403); accept the data set's terms on its page, then `hf auth login`",
                404: "the hub does not have it (404)",
            }
            return reasons.get(status, f"the hub answers {status}"), status == 429 or status >= 500, wait
        names = {kind.__name__ for kind in type(seen).__mro__}
        if any("Timeout" in name for name in names):
            return "the hub does not answer in time", True, None
        if any(name.startswith("Connect") or name == "TransportError" for name in names):
            return f"the hub cannot be reached: {str(seen).splitlines()[0][:160] or 'no details'}", False, None
        seen = seen.__cause__ or seen.__context__
    text = str(error).strip() or "no details"
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}", False, None


def _wait(attempt: int, asked: float | None) -> float:
    """Seconds before try number ``attempt``: doubling, with jitter, so that many clients do not come back at once."""
    wait = FIRST_WAIT_S * 2 ** (attempt - 1) if asked is None else asked
    return min(LONGEST_WAIT_S, wait * random.uniform(1.0, 1.5))


def _remedy(benchmark: Benchmark) -> str:
    hub = benchmark.source
    assert isinstance(hub, Hub)
    at = f" at revision {hub.revision}" if hub.revision else ""
    return (
        f"run `colasearch bench {benchmark.name}` once where huggingface.co can be reached (data set {hub.repo}{at}), "
        'or give the problems as --data FILE.jsonl, one object with "problem" and "answer" a line'
    )


def _write_cache(path: Path, items: list[Item]) -> None:
    lines = []
    for item in items:
        problem = asdict(item.problem)
        gold, subject, level = item.labelled.gold, item.subject, item.level
        lines.append(json.dumps({**problem, "gold": gold, "subject": subject, "level": level}, ensure_ascii=False))
    body = "\n".join(lines) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"schema": 1, "sha256": hashlib.sha256(body.encode()).hexdigest()}) + "\n" + body)


def _read_cache(path: Path) -> list[Item] | None:
    """Items of a cache file; None when there is none, or it is damaged."""
    try:
        head, _, body = path.read_text(encoding="utf-8").partition("\n")
        if json.loads(head)["sha256"] != hashlib.sha256(body.encode()).hexdigest():
            return None
        rows = [json.loads(line) for line in body.split("\n") if line]
        return [make_item(r["id"], r["text"], r["gold"], r["task"], r["data"], r["subject"], r["level"]) for r in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None
