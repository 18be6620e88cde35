"""Pickled checkpoints become safetensors, once: read by a restricted unpickler, in a process without network.

    python -m bdgan_lib.checkpoints.unpickle CHECKPOINT OUT.safetensors

A checkpoint that asks for more than tensors is refused.
"""

import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor

from bdgan_lib.core.io import atomic_file
from bdgan_lib.core.types import BdganError

# Training frameworks leave objects beside the weights; they are replaced by an object that does nothing.
_INERT = ("pytorch_lightning.", "lightning.", "omegaconf.", "argparse.Namespace", "typing.Any")

_WITHIN = ("state_dict", "model", "teacher")  # where a checkpoint has its weights, if not at the top


class Inert:
    """Takes the place of an object whose class we do not want: accepts anything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


def convert_checkpoint(checkpoint: Path, out: Path) -> None:
    """Write the tensors of a pickled checkpoint as safetensors, under the names they have there.

    Raises:
        BdganError: it is missing, damaged, holds no tensors, or asks for anything that could run.
    """
    if not checkpoint.is_file():
        raise BdganError(f"{checkpoint} is missing")
    command = [sys.executable, "-m", "bdgan_lib.checkpoints.unpickle", str(checkpoint), str(out)]
    process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["it died"]
        raise BdganError(f"{checkpoint} was not converted: {lines[-1].removeprefix('refused: ')}")


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint (of its `state_dict`, `model` or `teacher` if any) by name; nothing is run.

    Raises:
        BdganError: it is damaged, holds no tensors, or asks for anything that could run.
    """
    try:
        with torch.serialization.safe_globals(_stand_ins(checkpoint)):
            mapped = zipfile.is_zipfile(checkpoint)  # then read as needed: it may be larger than memory
            state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
    except BdganError:
        raise
    except Exception as error:  # torch, zipfile and pickle each raise their own
        reason = " ".join(str(error).split())
        raise BdganError(f"no checkpoint of tensors alone ({reason[:200]})") from error
    while isinstance(state, Mapping) and (inner := [k for k in _WITHIN if isinstance(state.get(k), Mapping)]):
        state = state[inner[0]]
    tensors = dict(_tensors(state)) if isinstance(state, Mapping) else {}
    if not tensors:
        raise BdganError("it holds no tensors by name")
    return tensors


def _stand_ins(checkpoint: Path) -> list[Any]:
    try:
        asked = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
    except (RuntimeError, ValueError):  # not a zip file: the older format, read without stand-ins
        return []
    refused = [name for name in asked if not name.startswith(_INERT)]
    if refused:
        raise BdganError(f"it asks for {', '.join(sorted(refused)[:5])}, which could run")
    return [(Inert, name) for name in asked]


def _tensors(state: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()  # storages; what lies in one of them with others is stored apart
    for name, value in state.items():
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            alone = storage.nbytes() == value.nbytes and storage.data_ptr() not in seen
            seen.add(storage.data_ptr())
            yield str(name), value.detach().contiguous() if alone else value.detach().clone().contiguous()


def _no_network(*_: object, **__: object) -> NoReturn:
    raise OSError("the converter has no network")


def main() -> None:
    """The separate process: cut off the network, read, write."""
    socket.socket = socket.create_connection = socket.getaddrinfo = _no_network  # type: ignore[assignment,misc]
    checkpoint, out = map(Path, sys.argv[1:])
    try:
        tensors = read_tensors(checkpoint)
        with atomic_file(out) as file:
            save_file(tensors, file.name)
    except (BdganError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
