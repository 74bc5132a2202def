"""Where the metrics of a training run go beside ``metrics.jsonl``, which every run writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from colasearch.errors import PrerequisiteError

BOARDS = ("tensorboard", "wandb")
"""Names of boards, as in ``--log``."""
PROJECT = "colasearch"
"""Of Weights & Biases, unless ``WANDB_PROJECT`` says otherwise."""


class Board(Protocol):
    """Shows metrics as they come."""

    def add(self, record: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``: ``step``, and numbers by name."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files in the run's folder ``tensorboard/``."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise PrerequisiteError(
                "--log tensorboard needs the tensorboard package; install it with `pip install '.[tensorboard]'`, "
                "or leave the flag out: metrics.jsonl holds the same numbers"
            ) from None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]

    def add(self, record: Mapping[str, Any]) -> None:
        """See :class:`Board`."""
        for key, value in record.items():
            if key != "step":
                self._writer.add_scalar(key, value, record["step"])
        self._writer.flush()

    def close(self) -> None:
        """See :class:`Board`."""
        self._writer.close()


class Wandb:
    """A run of Weights & Biases, named as the folder. Its own environment variables say where it goes, and who asks."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise PrerequisiteError(
                "--log wandb needs the wandb package; install it with `pip install '.[wandb]'`, or leave the flag out: "
                "metrics.jsonl holds the same numbers"
            ) from None
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._run: Any = wandb.init(project=project, name=folder.name, dir=str(folder), config=dict(config))

    def add(self, record: Mapping[str, Any]) -> None:
        """See :class:`Board`."""
        self._run.log({key: value for key, value in record.items() if key != "step"}, step=record["step"])

    def close(self) -> None:
        """See :class:`Board`."""
        self._run.finish()


def board_of(name: str, folder: Path, config: Mapping[str, Any]) -> Board:
    """The board of a name.

    Args:
        name: One of ``BOARDS``.
        folder: Of the run.
        config: What the run was told.

    Raises:
        PrerequisiteError: Its package is not installed.
    """
    return TensorBoard(folder) if name == "tensorboard" else Wandb(folder, config)
