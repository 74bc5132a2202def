"""TensorBoard logs of a benchmark run (extra ``[tensorboard]``): accuracy of each arm as problems come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from colasearch.benchmarks.harness.runner import Listener
from colasearch.errors import PrerequisiteError


class BoardListener:
    """Passes everything on to another listener, and logs each record.

    Scalars: ``accuracy/ARM@SIMS``, ``oracle/ARM@SIMS`` and ``tokens_a_problem/ARM@SIMS`` over the number of problems.

    Raises:
        PrerequisiteError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, listener: Listener, records: Iterable[Mapping[str, Any]]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise PrerequisiteError(
                "--tensorboard needs the package tensorboard, which is not installed; "
                "run `pip install '.[tensorboard]'`"
            ) from None
        self.listener = listener
        self.totals: dict[str, list[int]] = {}
        self.writer = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
        for record in records:
            self._add(record)

    def __enter__(self) -> BoardListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()  # type: ignore[no-untyped-call]

    def began(self, arm: str, sims: int) -> None:
        """Pass on."""
        self.listener.began(arm, sims)

    def working(self, tokens: int, sims: int) -> None:
        """Pass on."""
        self.listener.working(tokens, sims)

    def finished(self, record: dict[str, Any]) -> None:
        """Log the record, and pass it on."""
        name, (done, right, oracle, tokens) = self._add(record)
        for tag, value in (("accuracy", right), ("oracle", oracle), ("tokens_a_problem", tokens)):
            self.writer.add_scalar(f"{tag}/{name}", value / done, done)  # type: ignore[no-untyped-call]
        self.listener.finished(record)

    def _add(self, record: Mapping[str, Any]) -> tuple[str, list[int]]:
        name = f"{record['arm']}@{record['sims']}"
        total = self.totals.setdefault(name, [0, 0, 0, 0])
        fine = record["status"] == "ok"
        new = (1, fine and record["correct"], fine and record["oracle"], record["generated_tokens"] if fine else 0)
        for place, value in enumerate(new):
            total[place] += int(value)
        return name, total
