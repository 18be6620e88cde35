"""Logs of a training in a folder, for TensorBoard or as a CSV file, which an interruption leaves whole.

They are what Fabric's loggers write, without the seconds that importing Fabric takes.
"""

from __future__ import annotations  # TensorBoard's writer appears in types alone

import csv
import io
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.io import check_output, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.training.logs import log_to

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class FileLog(ABC):
    """A log that opens at its first figures and drops what its folder holds of their step and later ones.

    So a training that goes on from a checkpoint leaves no step out and has none twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._is_open = folder, False

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep the figures of a step; None is step 0."""
        if not self._is_open:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open(step or 0)
            self._is_open = True
        self._write(metrics, step or 0)

    @abstractmethod
    def save(self) -> None:
        """Write what is in memory to the disk."""

    def __enter__(self) -> FileLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

    @abstractmethod
    def _open(self, step: int) -> None:
        """Open the log, without the step and later ones."""

    @abstractmethod
    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep the figures of a step in the open log."""


class TensorBoardLog(FileLog):
    """Events of TensorBoard in a folder.

    Raises:
        BdganError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if find_spec("tensorboard") is None:
            raise BdganError(
                "tensorboard is not installed; pip install 'bdgan-lib[loggers]', or --logger csv"
            )
        self._writer: SummaryWriter | None = None

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        while any(self.folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
            time.sleep(0.05)  # readers order the files of a folder by the second in their names
        self._writer = SummaryWriter(str(self.folder), purge_step=step)  # readers leave out what is later

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        assert self._writer
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Keep a picture [H, W, 3]."""
        if self._writer:
            self._writer.add_image(name, image, step, dataformats="HWC")

    def save(self) -> None:
        """Write what is in memory to the disk."""
        if self._writer:
            self._writer.flush()


class CSVLog(FileLog):
    """The file `metrics.csv` in a folder: a row for each step, a column for each figure."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "metrics.csv"
        self._columns, self._rows = ["step"], list[dict[str, float]]()  # of the file; not in it yet

    def _open(self, step: int) -> None:
        self._rewrite([row for row in self._read() if row["step"] < step])

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        self._rows.append({"step": step, **metrics})

    def save(self) -> None:
        """Write what is in memory to the disk."""
        if any(name not in self._columns for row in self._rows for name in row):
            self._rewrite([*self._read(), *self._rows])
        elif self._rows:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._text(self._rows))
        self._rows = []

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        """Write the whole file, with a column for each figure of these rows."""
        self._columns = [*dict.fromkeys(("step", *(name for row in rows for name in row)))]
        head = dict(zip(self._columns, self._columns, strict=True))
        write_atomic(self.path, self._text([head, *rows]).encode())

    def _text(self, rows: Iterable[Mapping[str, object]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _read(self) -> list[dict[str, float]]:
        """The rows of the file, without those that were cut off."""
        rows = list[dict[str, float]]()
        if self.path.exists():
            with self.path.open(encoding="utf-8", errors="replace", newline="") as file:
                for line in csv.DictReader(file):
                    try:
                        row = {name: float(value) for name, value in line.items() if value}
                        rows.append({**row, "step": int(row["step"])})
                    except (TypeError, ValueError, KeyError):
                        continue
        return rows


@dataclass(frozen=True)
class LogFolder:
    """A folder in which each of many trainings has a log of its own, in whichever process it runs.

    Raises:
        BdganError: as `open_log` does.
    """

    kind: str  # tensorboard or csv
    folder: Path

    def __post_init__(self) -> None:
        open_log(self.kind, self.folder)  # a log that cannot be is refused before the first training

    @contextmanager
    def log_to(self, *names: object) -> Iterator[None]:
        """The trainings inside log to the folder of these names; other names are another folder."""
        log = open_log(self.kind, self.folder.joinpath(*map(_folder_name, names)))
        with log or nullcontext(), log_to(log):
            yield


def _folder_name(name: object) -> str:
    """A name with what file systems do not take as its code, such as %2F for a slash."""
    coded = re.sub(r"[^\w .,+()'-]|^\.", lambda letter: f"%{ord(letter[0]):02X}", str(name)[:100])
    return coded or "%"


_LOGS: dict[str, type[FileLog]] = {"tensorboard": TensorBoardLog, "csv": CSVLog}


def open_log(kind: str, folder: Path) -> FileLog | None:
    """A log of the kind tensorboard or csv; None for "none".

    Raises:
        BdganError: the kind is unknown, its package is missing, or nothing can be written there.
    """
    if kind == "none":
        return None
    if kind not in _LOGS:
        raise BdganError(f"expected a logger of none, {', '.join(_LOGS)}, got {kind!r}")
    check_output(folder)
    return _LOGS[kind](folder)
