"""Trained segmentation networks on disk: weights as safetensors, and a record from which they are built."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.io import atomic_folder, sha256_of
from bdgan_lib.core.model_files import read_json, read_tensors, write_json, write_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Trunk, build_backbone, checked_statistics
from bdgan_lib.downstream.segmentation import Segmenter, segmenter
from bdgan_lib.downstream.starts.timm_networks import TimmTrunk

_WEIGHTS, _RECORD = "network.safetensors", "network.json"
_HINT = "give a folder of `bdgan benchmark train`"


def save_network(
    network: Segmenter, decoder: str, labels: tuple[str, ...], folder: Path, **about: Any
) -> None:
    """Write a network to a new folder, whole or not at all.

    Args:
        network: a trained one.
        decoder: the head it was built with, as `segmenter` takes it.
        labels: names of its labels, from 0.
        folder: where nothing exists yet.
        about: more for the record, as JSON can hold it.

    Raises:
        BdganError: something exists there.
    """
    with atomic_folder(folder) as unfinished:
        data = write_tensors(unfinished / _WEIGHTS, network.state_dict())
        record = {"trunk": network.backbone.record(), "decoder": decoder, "labels": list(labels), **about}
        write_json(unfinished / _RECORD, {**record, "sha256": sha256(data).hexdigest()})


def load_network(folder: Path) -> tuple[Segmenter, dict[str, Any]]:
    """A network that `save_network` wrote, in eval mode, and its record.

    Raises:
        BdganError: a file is missing or damaged, or the weights do not fit the record.
    """
    record: dict[str, Any] = read_json(folder / _RECORD, _HINT)
    tensors = read_tensors(folder / _WEIGHTS, _HINT)
    if sha256_of(folder / _WEIGHTS) != record.get("sha256"):
        raise BdganError(f"{folder / _WEIGHTS} is damaged: its sha256 is not the record's; train again")
    labels, decoder = (record.get(key) for key in ("labels", "decoder"))
    if not (
        isinstance(labels, list) and all(isinstance(x, str) for x in labels) and isinstance(decoder, str)
    ):
        raise BdganError(
            f"{folder / _RECORD}: expected the names of labels and a decoder, got {labels!r:.100} and "
            f"{decoder!r:.100}; {_HINT}"
        )
    network = segmenter(_trunk(record.get("trunk"), folder / _RECORD), len(labels), decoder)
    load_strict(network, tensors, f"{folder / _WEIGHTS}")
    return network.eval(), record


def _trunk(record: object, path: Path) -> Trunk:
    """An untrained trunk, from its `record` in a file."""
    if not isinstance(record, dict) or not isinstance(name := record.get("name"), str):
        raise BdganError(f"{path}: expected a trunk with a name, got {record!r:.100}; {_HINT}")
    timm = record.get("kind") == TimmTrunk.kind
    trunk = TimmTrunk(name, settings=record.get("settings")) if timm else build_backbone(name)
    trunk.standardise_by(*checked_statistics(record.get("mean"), record.get("deviation"), f"{path}"))
    return trunk
