"""Pre-trained backbones on disk: weights as safetensors and a JSON record of the training."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_json, read_tensors, write_json, write_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Backbone, build_backbone

_WEIGHTS, RECORD = "backbone.safetensors", "pretraining.json"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pre-trained backbone's weights and the record of its training."""

    state: dict[str, Tensor]  # of the backbone alone, on the CPU
    record: dict[str, Any]  # method, config, losses, images per second, quality of the features

    @property
    def collapsed(self) -> bool:
        """Whether the features vary in fewer than four directions; if so, change the settings."""
        return bool(self.record["collapsed"])

    def backbone(self) -> Backbone:
        """A new backbone with a copy of these weights."""
        network = build_backbone(self.record["config"]["backbone"])
        load_strict(network, self.state, "the state dict")
        return network

    def save(self, folder: str | Path) -> None:
        """Write the weights and, last, the record with their sha256."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = write_tensors(folder / _WEIGHTS, self.state)
        write_json(folder / RECORD, {**self.record, "sha256": sha256(data).hexdigest()})


def load_pretrained(folder: str | Path) -> Pretrained:
    """Read what `Pretrained.save` wrote.

    Raises:
        BdganError: a file, which is named, is missing or damaged, or the weights do not fit the record.
    """
    weights, hint = Path(folder) / _WEIGHTS, "pre-train a backbone first"
    record: dict[str, Any] = read_json(Path(folder) / RECORD, hint)
    pretrained = Pretrained(read_tensors(weights, hint), record)
    if sha256_of(weights) != record.pop("sha256", None):
        raise BdganError(f"{weights} is damaged: its sha256 is not the record's; pre-train again")
    try:
        pretrained.backbone()
    except Exception as error:  # a record of another kind; torch raises several types
        raise BdganError(f"{folder}: the weights do not fit the record ({error}); pre-train again") from error
    return pretrained
