"""Where the figures of a training go: a log in a folder, Fabric's loggers, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.types import BdganError


@runtime_checkable
class MetricLogger(Protocol):
    """A logger of Lightning or Fabric, or a `FileLog`."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep the figures of a step."""


@runtime_checkable
class DictLogger(Protocol):
    """Fabric itself, which passes figures on to its loggers."""

    def log_dict(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep the figures of a step."""


@dataclass(frozen=True)
class TrainingLog:
    """A logger, and where a training stands among those that log to it.

    Steps count on from one stage to the next, because most loggers want them to rise.
    """

    logger: MetricLogger | DictLogger | Callable[[dict[str, float], int], object]
    stage: str = ""  # before the names of figures
    first: int = 0  # steps of the stages before

    @classmethod
    def of(cls, logger: Logger | None) -> TrainingLog | None:
        """The log of a logger, None for none.

        Raises:
            BdganError: it is no logger.
        """
        if logger is None or isinstance(logger, TrainingLog):
            return logger
        if not (isinstance(logger, MetricLogger | DictLogger) or callable(logger)):
            raise BdganError(
                f"expected a logger with log_metrics or log_dict, or a function of figures and step, got "
                f"{type(logger).__name__}"
            )
        return cls(logger)

    @classmethod
    def of_training(cls, logger: Logger | None, steps: int) -> TrainingLog | None:
        """The log of a training of so many steps: of its logger, or else of the `log_to` around it."""
        if logger is None and (around := _around.get()):
            log = around[-1]
            around.append(log.at("", log.first + steps))
            return log
        return cls.of(logger)

    def at(self, stage: str, first: int) -> TrainingLog:
        """The log of a stage, `first` steps after the beginning."""
        return replace(self, stage=f"{stage}/" if stage else "", first=first)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a step of this stage, 0 for the first."""
        metrics, step = {self.stage + name: value for name, value in figures.items()}, self.first + step
        if isinstance(self.logger, MetricLogger):
            self.logger.log_metrics(metrics, step)
        elif isinstance(self.logger, DictLogger):
            self.logger.log_dict(metrics, step)
        else:
            self.logger(metrics, step)

    def image(self, name: str, step: int, image: NDArray[np.uint8]) -> None:
        """Log a picture [H, W, 3], if the logger takes pictures."""
        if log_image := getattr(self.logger, "log_image", None):
            log_image(self.stage + name, image, self.first + step)
        elif add := getattr(getattr(self.logger, "experiment", None), "add_image", None):  # TensorBoardLogger
            add(self.stage + name, image, self.first + step, dataformats="HWC")

    def save(self) -> None:
        """Have the logger write what it holds in memory, if it can."""
        if isinstance(self.logger, MetricLogger) and (save := getattr(self.logger, "save", None)):
            save()


Logger: TypeAlias = MetricLogger | DictLogger | Callable[[dict[str, float], int], object] | TrainingLog
# Of each training so far the log, and that of the next one:
_around: ContextVar[list[TrainingLog] | None] = ContextVar("around", default=None)


@contextmanager
def log_to(logger: Logger | None) -> Iterator[None]:
    """Trainings inside log here, unless they are given a logger: one after the other, as their steps go on.

    Raises:
        BdganError: it is no logger.
    """
    log = TrainingLog.of(logger)
    before = _around.set([log] if log else [])
    try:
        yield
    finally:
        _around.reset(before)
