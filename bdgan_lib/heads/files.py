"""Label heads on disk: weights as safetensors, and a JSON record that describes them."""

import re
from pathlib import Path
from typing import Any, cast

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.io import flush_folder
from bdgan_lib.core.model_files import OTHER_FILE, read_json, read_tensors, write_json, write_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.base import Head, HeadConfig
from bdgan_lib.heads.label_head import build_head

RECORD, WEIGHTS = "head.json", "head.safetensors"


def save_head(head: Head, folder: str | Path) -> None:
    """Write `head.safetensors`, and `head.json` with the weights' sha256, in place of an older head's.

    The JSON is the commit point: until it is there, the weights wait as `head.<start of sha256>.safetensors`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    waiting = folder / f"head.{head.sha256[:12]}.safetensors"
    write_tensors(waiting, head.state_dict())
    write_json(folder / RECORD, {"sha256": head.sha256, "config": head.config.to_json()})
    waiting.replace(folder / WEIGHTS)
    for path in folder.glob("head.*.safetensors"):  # of saves that were cut off
        if re.fullmatch(r"head\.[0-9a-f]{12}\.safetensors", path.name):
            path.unlink()
    flush_folder(folder)


def check_head_folder(folder: Path) -> None:
    """Check that `save_head` would replace nothing but an earlier head.

    Raises:
        BdganError: it would; the file is named.
    """
    record, weights = folder / RECORD, folder / WEIGHTS
    if record.exists() and not {"sha256", "config"} <= read_json(record, OTHER_FILE).keys():
        raise BdganError(f"{record} describes no label head; {OTHER_FILE}")
    if weights.exists() and not record.exists():
        raise BdganError(f"{weights} has no head.json, so it may be no label head; {OTHER_FILE}")


def load_head(folder: str | Path) -> Head:
    """Read what `save_head` wrote.

    Raises:
        BdganError: a file is missing, damaged or does not fit the other; it is named.
    """
    path, weights = Path(folder) / RECORD, Path(folder) / WEIGHTS
    hint = "train a label head first (notebook 03)"
    record = cast(dict[str, Any], read_json(path, hint))
    if re.fullmatch("[0-9a-f]{64}", digest := str(record.get("sha256"))):
        waiting = weights.with_name(f"head.{digest[:12]}.safetensors")
        weights = waiting if waiting.exists() else weights  # the save was cut off before its last step
    tensors = read_tensors(weights, hint)
    try:
        expected = str(record["sha256"])
        head = build_head(HeadConfig.from_json(record["config"]))
    except Exception as error:  # a wrong size makes torch raise whatever it does
        raise BdganError(f"{path} describes no label head ({error!r}); {hint}") from error
    load_strict(head, tensors, f"{weights}, read as {path.name} says,")
    if head.sha256 != expected:
        raise BdganError(
            f"{weights} is damaged: expected sha256 {expected}, got {head.sha256}; train it again"
        )
    return head.eval()
