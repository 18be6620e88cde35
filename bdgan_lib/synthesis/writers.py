"""Threads that encode samples and write shards beside the one that draws them. They change no byte."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Lock
from types import TracebackType
from typing import Generic, TypeVar

import psutil

from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.shards import ShardFile, encode_sample
from bdgan_lib.synthesis.spec import MOST_WRITERS

QUEUE = 1 << 26  # bytes of samples that wait, for each thread
_RECORD = 1 << 12  # bytes of a sample beside its pixels, about
Result = TypeVar("Result")


def writer_count(writers: int, processes: int = 1) -> int:
    """The number of writer threads in a process: as asked, else one per core, or one in each of several.

    Raises:
        BdganError: it is out of range.
    """
    if not 0 <= writers <= MOST_WRITERS:
        raise BdganError(
            f"expected 0 to {MOST_WRITERS} writers, got {writers}; give the number of cores, or 0 for that"
        )
    return writers or (1 if processes > 1 else min(os.cpu_count() or 1, MOST_WRITERS))


def queue_bytes(threads: int) -> int:
    """Bytes of samples that may wait for so many threads: at most an eighth of the free memory."""
    return int(min(threads * QUEUE, psutil.virtual_memory().available // 8))


class Writers(Generic[Result]):
    """A pool of writer threads for shards that are drawn one after the other.

    Samples are encoded side by side; whichever thread has the next one of its shard appends it. Samples wait
    in a queue of `limit` bytes. If it is full, the thread that draws waits. After an error no shard is
    finished any more; unfinished files are removed, and no thread is left.

    Args:
        threads: how many.
        limit: bytes of samples in the queue; one sample is always taken.
    """

    def __init__(self, threads: int, limit: int) -> None:
        self._pool, self._limit = ThreadPoolExecutor(threads, "writer"), limit
        self._changed, self._queued = Condition(), 0
        self._error: Exception | None = None
        self._open, self._finished = list[_Shard[Result]](), list[Result]()

    def __enter__(self) -> "Writers[Result]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what was drawn before an error of the generator is written; Ctrl-C waits for running threads alone
        self._pool.shutdown(cancel_futures=not isinstance(error, Exception))
        for shard in self._open:
            shard.abort()

    def new_shard(
        self, path: str | os.PathLike[str], jpeg: int, finish: Callable[[Json], Result]
    ) -> "_Shard[Result]":
        """Begin a shard; it is closed before the next one begins.

        Args:
            path: of the file.
            jpeg: as of `write_shard`.
            finish: called in a writer thread with the entry of the finished file; its result is in `results`.
        """
        self._open.append(_Shard(self, path, jpeg, finish))
        return self._open[-1]

    def results(self, wait: bool) -> Iterator[Result]:
        """Yield what `finish` returned for the shards finished since the last call; with `wait` for all.

        Raises:
            BdganError: a thread failed.
            OSError: the disk is full, for example.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._finished or self._error or not (wait and self._open))
                results, self._finished = self._finished, []
            yield from results
            if not results:
                self._raise()
                return

    def submit(self, size: int, task: Callable[..., object], *arguments: object) -> None:
        """Have a thread do something as soon as the queue has room for so many bytes."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._error or not self._queued or self._queued + size <= self._limit
            )
            self._queued += size
        self._raise()
        try:
            self._pool.submit(self._run, task, *arguments)
        except RuntimeError as error:
            raise BdganError(f"a writer thread cannot be started ({error}); use fewer writers") from error

    def release(self, size: int) -> None:
        """Take so many bytes out of the queue."""
        with self._changed:
            self._queued -= size
            self._changed.notify_all()

    def finish(self, shard: "_Shard[Result]", result: Result) -> None:
        """Note that a shard is finished."""
        with self._changed:
            self._open.remove(shard)
            self._finished.append(result)
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def _run(self, task: Callable[..., object], *arguments: object) -> None:
        try:
            if self._error is None:
                task(*arguments)
        except Exception as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()


class _Shard(Generic[Result]):
    """A shard whose samples are encoded in any order and appended in theirs."""

    def __init__(
        self,
        writers: Writers[Result],
        path: str | os.PathLike[str],
        jpeg: int,
        finish: Callable[[Json], Result],
    ) -> None:
        self._writers, self._path, self._jpeg, self._finish = writers, path, jpeg, finish
        self._file: ShardFile | None = None  # opened with its first sample: few are open at a time
        self._appending, self._encoded = Lock(), dict[int, tuple[str, bytes, int]]()
        self._added = self._appended = 0
        self._closed = False

    def add(self, sample: LabelledSample, provenance: Json) -> None:
        """Add the next sample, which nobody changes any more."""
        size = sample.image.nbytes + sample.mask.nbytes + _RECORD
        self._writers.submit(size, self._encode, self._added, sample, provenance, size)
        self._added += 1

    def close(self) -> None:
        """Say that all samples were added."""
        self._closed = True
        self._writers.submit(0, self._append)

    def abort(self) -> None:
        """Remove what was written."""
        if self._file:
            self._file.abort()

    def _encode(self, i: int, sample: LabelledSample, provenance: Json, size: int) -> None:
        self._encoded[i] = sample.id, encode_sample(sample, provenance, self._jpeg), size
        self._append()

    def _append(self) -> None:
        """Append what is encoded, as far as no sample is lacking; only one thread does at a time."""
        while self._has_next() and self._appending.acquire(blocking=False):
            while self._has_next():
                self._file = self._file or ShardFile(self._path)
                if encoded := self._encoded.pop(self._appended, None):
                    self._file.append(*encoded[:2])
                    self._writers.release(encoded[2])
                else:
                    self._writers.finish(self, self._complete(self._file))
                self._appended += 1
            self._appending.release()  # not after an error: nothing is appended to what is incomplete

    def _complete(self, file: ShardFile) -> Result:
        try:
            return self._finish(file.close())
        except (BdganError, OSError):
            raise
        except Exception as error:  # every store has errors of its own
            raise BdganError(
                f"{self._path} cannot be written ({error!r:.300}); run the same command again, which keeps "
                "finished shards"
            ) from error

    def _has_next(self) -> bool:
        """Whether there is a sample to append, or after the last one the file to close."""
        return self._appended in self._encoded or (self._closed and self._appended == self._added)
