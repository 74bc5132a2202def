"""Reward servers: OpenRLHF's remote reward model, and the pooling and score endpoints of vLLM's server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from colasearch.errors import PrerequisiteError
from colasearch.verifiers.rewards.base import Item, Score, checked, joined, plain
from colasearch.verifiers.rewards.spec import Spec
from colasearch.verifiers.rewards.steps import AGGREGATIONS, aggregate
from colasearch.verifiers.rewards.transport import Client, Refused

BATCH = 32
KINDS = ("openrlhf", "pooling", "score")


class ServerReward:
    """Asks a server, batch by batch; a batch that is refused is sent again text by text.

    - ``openrlhf``: ``POST {"query": [...]}`` -> ``{"rewards": [...]}``.
    - ``pooling``: ``POST {"model", "input": [...]}`` -> ``{"data": [{"index", "data": [x]}]}``; the last number of a
      text's ``data``, and where it is a list of pairs (a process reward model), the second of each, aggregated.
    - ``score``: ``POST {"model", "text_1": [...], "text_2": [...]}`` -> ``{"data": [{"index", "score"}]}``.

    One string, where one is asked for, is problem, line break and text. Without ``?model=`` the server's first model
    is taken (``GET /v1/models``).
    """

    def __init__(self, spec: Spec) -> None:
        self.name, self.spec = spec.text, spec
        self.kind = spec.one_of("kind", KINDS, "openrlhf")
        self.scale = spec.options.get("scale", "given")
        self.aggregation = spec.one_of("aggregation", AGGREGATIONS, "min")
        self.batch = int(spec.number("batch", BATCH, 1))
        self.client = Client(
            spec.number("timeout", 60.0, 0.001),
            int(spec.number("tries", 5, 1)),
            int(spec.number("concurrency", 8, 1)),
        )
        self.url = spec.name
        if self.kind != "openrlhf" and urlsplit(self.url).path in ("", "/"):
            self.url = _with_path(self.url, f"/{self.kind}")
        self._model: str | None = spec.options.get("model")

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text; see ``RewardSource``."""
        pairs = list(zip(problems, texts, strict=True))
        parts = [pairs[at : at + self.batch] for at in range(0, len(pairs), self.batch)]
        answers = self.client.post_all(self.url, [self._payload(part) for part in parts]) if parts else []
        scores: list[Score] = []
        for part, answer in zip(parts, answers, strict=True):
            found = self._read(answer, len(part))
            if isinstance(found, str) and len(part) > 1:
                alone = self.client.post_all(self.url, [self._payload([pair]) for pair in part])
                singles = [self._read(one, 1) for one in alone]
                scores += [Score(None, s, failed=True) if isinstance(s, str) else s[0] for s in singles]
            else:
                scores += [Score(None, found, failed=True)] if isinstance(found, str) else found
        return scores

    def _payload(self, pairs: Sequence[tuple[Item, str]]) -> dict[str, Any]:
        if self.kind == "openrlhf":
            return {"query": [joined(*pair) for pair in pairs]}
        if self.kind == "pooling":
            return {"model": self.model, "input": [joined(*pair) for pair in pairs]}
        return {"model": self.model, "text_1": [plain(item).text for item, _ in pairs], "text_2": [t for _, t in pairs]}

    @property
    def model(self) -> str:
        """The model to ask."""
        if self._model is None:
            url = _with_path(self.url, "/v1/models")
            try:
                self._model = str(self.client.request(url)["data"][0]["id"])
            except (Refused, KeyError, IndexError, TypeError) as error:
                raise PrerequisiteError(
                    f"{url} names no model ({type(error).__name__}: {error}); add &model=NAME to the spec"
                ) from None
        return self._model

    def _read(self, answer: Any, count: int) -> list[Score] | str:
        """Scores of a batch, or why there are none."""
        if isinstance(answer, Refused):
            return str(answer)
        try:
            values = _READERS[self.kind](answer, self.aggregation)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            return f"the answer is not that of ?kind={self.kind} ({type(error).__name__}: {str(error)[:100]})"
        if len(values) != count:
            return f"the server gave {len(values)} rewards for {count} texts"
        return [checked(value, self.scale) for value in values]


def _openrlhf(answer: Any, aggregation: str) -> list[Any]:
    return list(answer["rewards"])


def _pooling(answer: Any, aggregation: str) -> list[Any]:
    return [_pooled(row["data"], aggregation) for row in _in_order(answer["data"])]


def _pooled(data: Any, aggregation: str) -> Any:
    while isinstance(data, list):
        if data and all(isinstance(one, list) and len(one) == 2 for one in data):
            return aggregate([float(pair[1]) for pair in data], aggregation)
        data = data[-1]
    return data


def _score(answer: Any, aggregation: str) -> list[Any]:
    return [row["score"] for row in _in_order(answer["data"])]


def _in_order(rows: Sequence[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row["index"])


_READERS: dict[str, Callable[[Any, str], list[Any]]] = {"openrlhf": _openrlhf, "pooling": _pooling, "score": _score}


def _with_path(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
