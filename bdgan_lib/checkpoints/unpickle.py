"""Pickled checkpoints become safetensors, once: read by a restricted unpickler, in a process without network.

    python -m bdgan_lib.checkpoints.unpickle CHECKPOINT OUT.safetensors

A checkpoint that asks for more than tensors is refused, and so is one that takes more time or memory than its
size explains: the process has limits of its own.
"""

import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bdgan_lib.core.io import atomic_file
from bdgan_lib.core.types import BdganError

# Training frameworks leave objects beside the weights; they are replaced by an object that does nothing.
_INERT = ("pytorch_lightning.", "lightning.", "omegaconf.", "argparse.Namespace", "typing.Any")

_WITHIN = (  # where a checkpoint has its weights, if not at the top: first choice first, in any case
    "g_ema", "state_dict_ema", "ema_state_dict", "params_ema", "model_ema", "ema_model", "generator_ema",
    "ema", "shadow", "state_dict", "model_state_dict", "model", "teacher", "student", "params", "generator",
    "g", "net", "module",
)  # fmt: skip
_DEPTH = 8  # dictionaries within one another
_SPARE = 1 << 30  # bytes of memory beside what the tensors take
_SLOW = "reading it took longer than a file of its size should"


class Inert:
    """Takes the place of an object whose class we do not want: accepts anything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


def convert_checkpoint(checkpoint: Path, out: Path) -> str:
    """Write the tensors of a pickled checkpoint as safetensors, under the names they have there.

    Of several state dicts in one file, averaged weights (EMA) are taken first. The folder of `out` is made.

    Returns:
        Which weights were taken and which were not, "" if the file holds one state dict.

    Raises:
        BdganError: it is missing, damaged, holds no tensors, asks for anything that could run, or takes too
            long (a minute for a small file) or too much memory to read.
    """
    if not checkpoint.is_file():
        raise BdganError(f"{checkpoint} is missing")
    command = [sys.executable, "-m", "bdgan_lib.checkpoints.unpickle", str(checkpoint), str(out)]
    limit = None if hasattr(signal, "alarm") else 2 * _seconds(checkpoint.stat().st_size)
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise BdganError(f"{checkpoint} was not converted: {_SLOW}") from error
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        slow = -process.returncode in (getattr(signal, "SIGALRM", 0), getattr(signal, "SIGXCPU", 0))
        reason = _SLOW if slow else lines[-1].removeprefix("refused: ") if lines else "reading it crashed"
        raise BdganError(f"{checkpoint} was not converted: {reason}")
    return process.stdout.strip()


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """As `read_weights`, the tensors alone."""
    return read_weights(checkpoint)[0]


def read_weights(checkpoint: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a checkpoint by name, and which state dict they are if it holds several; nothing is run.

    A hostile file can take any time and memory: call `convert_checkpoint` for files of others.

    Raises:
        BdganError: it is damaged, holds no tensors, or asks for anything that could run.
    """
    try:
        with torch.serialization.safe_globals(_stand_ins(checkpoint)):
            mapped = _stored(checkpoint)  # then read as needed: it may be larger than memory
            state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
        places = list(_places(state, (), set()))
        if not places:
            raise BdganError(
                f"it holds no tensors by name, neither at its top nor under {', '.join(_WITHIN)}"
            )
        counts = [sum(isinstance(value, Tensor) for value in state_dict.values()) for _, state_dict in places]
        first = next(k for k, n in enumerate(counts) if 2 * n >= max(counts))  # not a counter or a decay
        places.insert(0, places.pop(first))
        tensors = dict(_tensors(places[0][1], checkpoint.stat().st_size))
    except BdganError:
        raise
    except Exception as error:  # torch, zipfile and pickle each raise their own
        raise BdganError(f"no checkpoint of tensors alone ({_line(error)})") from error
    names = [name for name, _ in places]
    return tensors, f"took {names[0]}, not {', '.join(names[1:])}" if names[1:] else ""


def _stand_ins(checkpoint: Path) -> list[Any]:
    try:
        asked = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
    except (RuntimeError, ValueError):  # not a zip file: the older format, read without stand-ins
        return []
    refused = [name for name in asked if not name.startswith(_INERT)]
    if refused:
        raise BdganError(f"it asks for {', '.join(sorted(refused)[:5])}, which could run")
    return [(Inert, name) for name in asked]


def _stored(checkpoint: Path) -> bool:
    """Whether it is a zip file whose members lie in it as they are; torch maps packed ones all the same."""
    if not zipfile.is_zipfile(checkpoint):
        return False
    with zipfile.ZipFile(checkpoint) as members:
        return all(member.compress_type == zipfile.ZIP_STORED for member in members.infolist())


def _places(
    state: object, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Where tensors lie by name, as (path, dictionary): known names first, in their order, the top last."""
    if not isinstance(state, Mapping) or id(state) in seen or len(path) > _DEPTH:
        return
    seen.add(id(state))
    known = [key for key in state if isinstance(key, str) and key.lower() in _WITHIN]
    for key in sorted(known, key=lambda key: _WITHIN.index(key.lower())):
        yield from _places(state[key], (*path, key), seen)
    if any(isinstance(value, Tensor) for value in state.values()):
        yield ".".join(path) or "the top", state


def _tensors(state: Mapping[object, object], file_size: int) -> Iterator[tuple[str, Tensor]]:
    tensors = {str(k): x for k, x in state.items() if isinstance(x, Tensor) and isinstance(k, str | int)}
    size = sum(x.nbytes for x in tensors.values())
    if size > 4 * file_size + _SPARE // 4:  # views of one storage, repeated rows, packed zeros
        raise BdganError(f"its tensors take {size:,} bytes, the file {file_size:,}")
    seen: set[int] = set()  # storages; what lies in one of them with others is stored apart
    for name, value in tensors.items():
        if value.device.type != "cpu" or value.layout != torch.strided or value.is_quantized:
            raise BdganError(f"{name}: expected a plain tensor, got {value.layout} on {value.device}")
        storage = value.untyped_storage()
        alone = storage.nbytes() == value.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        yield name, value.detach().contiguous() if alone else value.detach().clone().contiguous()


def _seconds(size: int) -> int:
    return 30 + size // 10**7


def _limit(size: int) -> None:
    """Limit this process by the size of its file, where the system can: seconds, CPU seconds, memory."""
    if hasattr(signal, "alarm"):
        signal.alarm(_seconds(size))
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (ImportError, OSError):  # Windows, macOS
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 5 + size // (2 * 10**7)
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, pages * resource.getpagesize() + 6 * size + _SPARE),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _no_network(*_: object, **__: object) -> NoReturn:
    raise OSError("the converter has no network")


def main() -> None:
    """The separate process: cut off the network, set limits, read, write."""
    socket.socket = socket.create_connection = socket.getaddrinfo = _no_network  # type: ignore[assignment,misc]
    checkpoint, out = map(Path, sys.argv[1:])
    try:
        _limit(checkpoint.stat().st_size)
        tensors, note = read_weights(checkpoint)
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as file:
            saved = Path(file.name)
            save_file(tensors, saved)  # puts another file in its place, for this user alone
            saved.chmod(os.fstat(file.fileno()).st_mode)
            with saved.open("r+b") as again:
                os.fsync(again.fileno())
            with safe_open(saved, "pt"):  # refuses what cannot be read back, such as "__metadata__"
                pass
        print(note)
    except Exception as error:  # whatever such a file leads to is told in one line
        print(f"refused: {_line(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
