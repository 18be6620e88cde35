"""Models on disk: tensors as safetensors, and a JSON record beside them, each written whole or not at all."""

from __future__ import annotations  # torch appears in types alone

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdgan_lib.core.io import read_plain, write_atomic
from bdgan_lib.core.types import BdganError, Json, JsonValue

if TYPE_CHECKING:
    from torch import Tensor


OTHER_FILE = "it is not written over; move it away or give another folder"


def write_json(path: Path, record: object, ascii_only: bool = True) -> None:
    """Write a record as JSON with one entry per line, whole or not at all."""
    write_atomic(path, (json.dumps(record, indent=1, ensure_ascii=ascii_only) + "\n").encode())


def read_json(path: Path, hint: str = "restore it") -> Json:
    """The JSON object in a file.

    Args:
        path: the file.
        hint: what the user should do if the file is missing or damaged.

    Raises:
        BdganError: the file is missing, no plain file, too large, not JSON, or not an object.
    """
    record = _parsed(path, hint)
    if not isinstance(record, dict):
        raise BdganError(f"{path}: expected a JSON object, got {type(record).__name__}; {hint}")
    return record


def read_json_list(path: Path, hint: str = "restore it") -> list[JsonValue]:
    """The JSON list in a file; else as `read_json`."""
    values = _parsed(path, hint)
    if not isinstance(values, list):
        raise BdganError(f"{path}: expected a JSON list, got {type(values).__name__}; {hint}")
    return values


def _parsed(path: Path, hint: str) -> object:
    try:
        return json.loads(read_plain(path))
    except FileNotFoundError as error:
        raise BdganError(f"{path} is missing; {hint}") from error
    except (ValueError, RecursionError) as error:
        raise BdganError(f"{path} is not JSON ({error}); {hint}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> bytes:
    """Write tensors as safetensors and return the file's bytes, of which a caller may take the sha256."""
    from safetensors.torch import save

    data = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
    write_atomic(path, data)
    return data


def read_tensors(path: Path, hint: str = "restore it") -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Args:
        path: the file.
        hint: what the user should do if the file is missing or damaged.

    Raises:
        BdganError: the file is missing or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise BdganError(f"{path} is missing; {hint}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BdganError(f"{path} is not a readable safetensors file ({error}); {hint}") from error
