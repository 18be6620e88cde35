"""Pre-trained backbones on disk: weights as safetensors, and a JSON record of how they came about."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Backbone, build_backbone

_WEIGHTS, _RECORD = "backbone.safetensors", "pretraining.json"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A backbone's weights, and how they came about."""

    state: dict[str, Tensor]  # of the backbone alone, on the CPU
    record: dict[
        str, Any
    ]  # method, config, losses, images per second, deviation and rank of the features ...

    @property
    def collapsed(self) -> bool:
        """Whether the features vary in fewer than four directions: see the losses, change the settings."""
        return bool(self.record["collapsed"])

    def backbone(self) -> Backbone:
        """A fresh backbone with these weights; each call gives another copy."""
        network = build_backbone(self.record["config"]["backbone"])
        network.load_state_dict(self.state)
        return network

    def save(self, folder: str | Path) -> None:
        """Write the weights and, last, the record with their fingerprint."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = save({key: value.contiguous() for key, value in self.state.items()})
        write_atomic(folder / _WEIGHTS, data)
        record = {**self.record, "sha256": sha256(data).hexdigest()}
        write_atomic(folder / _RECORD, (json.dumps(record, indent=1) + "\n").encode())


def load_pretrained(folder: str | Path) -> Pretrained:
    """Read what `Pretrained.save` wrote; BdganError names a file that is missing, damaged or does not fit."""
    folder = Path(folder)
    for name in (_RECORD, _WEIGHTS):
        if not (folder / name).is_file():
            raise BdganError(f"{folder / name} is missing; pre-train a backbone first")
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        expected, data = record.pop("sha256"), (folder / _WEIGHTS).read_bytes()
        pretrained = Pretrained(load(data), record)
        pretrained.backbone()
    except Exception as error:  # safetensors, JSON and torch each raise their own
        raise BdganError(f"{folder}: no readable pre-training ({error})") from error
    if sha256(data).hexdigest() != expected:
        raise BdganError(f"{folder / _WEIGHTS} is damaged: its sha256 is not the record's; pre-train anew")
    return pretrained
