"""Label heads on disk: weights as safetensors, and a JSON record that says what they are."""

import json
from pathlib import Path

from safetensors.torch import load_file, save

from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.base import Head, HeadConfig
from bdgan_lib.heads.label_head import build_head


def save_head(head: Head, folder: str | Path) -> None:
    """Write `head.safetensors` and, last, `head.json`, which holds the weights' fingerprint."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(
        folder / "head.safetensors", save({k: v.contiguous().cpu() for k, v in head.state_dict().items()})
    )
    record = {"sha256": head.sha256, "config": head.config.to_json()}
    write_atomic(folder / "head.json", (json.dumps(record, indent=1) + "\n").encode())


def load_head(folder: str | Path) -> Head:
    """Read what `save_head` wrote; BdganError names a file that is missing, damaged or does not fit."""
    folder = Path(folder)
    for name in ("head.json", "head.safetensors"):
        if not (folder / name).is_file():
            raise BdganError(f"{folder / name} is missing; train a label head first (notebook 03)")
    try:
        record = json.loads((folder / "head.json").read_text("utf-8"))
        expected = str(record["sha256"])
        head = build_head(HeadConfig.from_json(record["config"]))
        head.load_state_dict(load_file(folder / "head.safetensors"))
    except Exception as error:  # safetensors, JSON and torch each raise their own
        raise BdganError(f"{folder}: no readable label head ({error})") from error
    if head.sha256 != expected:
        weights = folder / "head.safetensors"
        raise BdganError(
            f"{weights} is damaged: expected sha256 {expected}, actual {head.sha256}; train anew"
        )
    return head.eval()
