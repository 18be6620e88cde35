"""Shards: labelled samples in plain tar files, the same bytes whoever writes them, under one manifest."""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import encode_jpeg, encode_png
from bdgan_lib.core.io import as_path, atomic_file, sha256_of, sha256_of_open, write_atomic
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.tar_format import (
    IMAGE,
    JPEG,
    MASK,
    RECORD,
    how_to_remake,
    plain_header,
    stored_samples,
)

MANIFEST = "manifest.json"
DROPPED = ".dropped.jsonl"  # in place of .tar: what filters left out of a shard
LOG, CALIBRATION = "log.jsonl", "calibration.json"  # of the making; no part of the set's bytes
_AGAIN = "make the data set again, finished shards are kept"
_REMAKE = "remove it and run the same command, which makes the same bytes"
_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.tar")

Labelled = tuple[LabelledSample, dict[str, Any]]  # a sample and its provenance


def write_shard(path: str | os.PathLike[str], samples: Iterable[Labelled], jpeg: int = 0) -> dict[str, Any]:
    """Write samples and their provenance to a tar file, whole or not at all: {"name", "sha256", "count"}.

    Members, in the samples' order: `<id>.png` (RGB; with a quality `jpeg` from 1 to 100 it is `<id>.jpg`),
    `<id>.mask.png` (grey, label ids) and `<id>.json` (the provenance with id, class_id and seed). No times,
    owners or compression: equal samples make equal bytes. Memory is that of one sample. BdganError for an
    unsafe or repeated id, or a mask of another size.
    """
    path = as_path(path)
    ids: set[str] = set()
    with atomic_file(path) as file:
        for sample, provenance in samples:
            if checked_id(sample.id) in ids:
                raise BdganError(f"id {sample.id} came twice for {path}; each sample needs its own")
            ids.add(sample.id)
            for suffix, data in _encode(sample, provenance, jpeg):
                file.write(plain_header(sample.id + suffix, len(data)))
                file.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        end = file.tell() + 2 * tarfile.BLOCKSIZE
        file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        entry = {"name": path.name, "sha256": sha256_of_open(file), "count": len(ids)}
    return entry


def read_shard(path: str | os.PathLike[str]) -> Iterator[Labelled]:
    """The samples of a shard and their provenance, one at a time, in the order they were written.

    Nothing is unpacked to the disk. BdganError naming the file and the member when one is missing, surplus,
    unsafe or damaged, and when the file ends too early.
    """
    path = as_path(path)
    for stored in stored_samples(path):
        try:
            image, (mask, provenance) = stored.pixels(), stored.labels()
            _check_pair(stored.id, image, mask)
            if provenance["id"] != stored.id:
                raise BdganError(f"its record is that of {provenance['id']}")
            sample = LabelledSample(image, mask, provenance["class_id"], provenance["seed"], stored.id)
        except (ValueError, KeyError) as error:
            raise BdganError(
                f"{path}: sample {stored.id} is damaged ({error}); {how_to_remake(path)}"
            ) from error
        yield sample, provenance


def write_manifest(
    path: str | os.PathLike[str], shards: Iterable[Mapping[str, Any]], about: Mapping[str, Any]
) -> None:
    """Commit a set: what `write_shard` returned for each shard, and what the set is (settings ...).

    It ends in the sha256 of all the rest, so that `read_manifest` knows it whole.
    """
    shards = [dict(shard) for shard in shards]
    record = {**about, "count": sum(shard["count"] for shard in shards), "shards": shards}
    write_atomic(path, _sealed(record))


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_manifest` wrote; BdganError when it is missing, damaged or names an unsafe file."""
    path = as_path(path)
    try:
        data = path.read_bytes()
        record = json.loads(data)
        shards = record["shards"]
        sealed = data == _sealed(record)  # another order, space or spelling is a change as well
        whole = (
            all(isinstance(shard["sha256"], str) and isinstance(shard["count"], int) for shard in shards)
            and all(_SHARD_NAME.fullmatch(shard["name"]) for shard in shards)
            and len({shard["name"] for shard in shards}) == len(shards)
            and record["count"] == sum(shard["count"] for shard in shards)
        )
    except FileNotFoundError as error:
        raise BdganError(f"{path} is missing: no data set here, or not finished; finish it first") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BdganError(f"{path} is damaged ({error!r}); {_REMAKE}") from error
    if not sealed:
        raise BdganError(f"{path} is damaged: its sha256 is not that of its content; {_REMAKE}")
    if not whole:
        raise BdganError(f"{path} is damaged: unsafe or repeated names, or wrong counts; {_REMAKE}")
    return record


def _sealed(record: Mapping[str, Any]) -> bytes:
    """A manifest's text: its entries, then the sha256 of the text without that."""
    text = lambda record: (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return text({**rest, "sha256": sha256(text(rest)).hexdigest()})


class ShardedSet:
    """A finished data set: a folder with `manifest.json` and the shards it names.

    Every shard is held against its sha256 as it is read; `verify()` does so without reading images.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """BdganError when the manifest or a shard is missing, or a shard is there that it does not name."""
        self.folder = as_path(folder)
        self.manifest = read_manifest(self.folder / MANIFEST)
        self.shards: list[dict[str, Any]] = self.manifest["shards"]
        named, found = {s["name"] for s in self.shards}, {p.name for p in self.folder.glob("*.tar")}
        if named - found:
            raise BdganError(f"{self.folder / min(named - found)} is missing; {_AGAIN}")
        if found - named:
            raise BdganError(f"{self.folder / min(found - named)} is not in the manifest; move it elsewhere")

    def __len__(self) -> int:
        return self.manifest["count"]

    def __iter__(self) -> Iterator[Labelled]:
        """All samples and their provenance, in order, one in memory at a time."""
        for shard in self.shards:
            count = 0
            for labelled in read_shard(self.verified(shard)):
                count += 1
                yield labelled
            if count != shard["count"]:
                raise BdganError(
                    f"{self.folder / shard['name']} holds {count} samples, "
                    f"the manifest says {shard['count']}; {_AGAIN}"
                )

    def verify(self) -> None:
        """BdganError naming the first shard whose bytes are not the manifest's, with both sha256."""
        for shard in self.shards:
            self.verified(shard)

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [N, H, W, 3], masks uint8 [N, H, W], class_ids int64 [N]), in the shards' order.

        All in memory: N * H * W * 4 bytes. BdganError when the set is empty or its images differ in size.
        """
        images = masks = None
        class_ids = np.empty(len(self), np.int64)
        for i, (sample, _) in enumerate(self):
            if images is None or masks is None:
                images = np.empty((len(self), *sample.image.shape), np.uint8)
                masks = np.empty((len(self), *sample.mask.shape), np.uint8)
            if sample.image.shape != images.shape[1:]:
                raise BdganError(
                    f"{sample.id} in {self.folder} is {list(sample.image.shape)}, "
                    f"those before it are {list(images.shape[1:])}; "
                    "iterate over the set instead of asking for arrays"
                )
            images[i], masks[i], class_ids[i] = sample.image, sample.mask, sample.class_id
        if images is None or masks is None:
            raise BdganError(f"{self.folder} holds no sample; wanted one or more")
        return images, masks, class_ids

    def verified(self, shard: Mapping[str, Any]) -> Path:
        """The path of one of `shards`; BdganError when it is missing or its bytes are not the manifest's."""
        path, expected = self.folder / shard["name"], shard["sha256"]
        if not path.is_file():
            raise BdganError(f"{path} is missing; {_AGAIN}")
        if (actual := sha256_of(path)) != expected:
            raise BdganError(f"{path} is damaged: expected sha256 {expected}, actual {actual}; {_AGAIN}")
        return path


def _encode(sample: LabelledSample, provenance: Mapping[str, Any], jpeg: int) -> Iterator[tuple[str, bytes]]:
    """Suffix and bytes of each member."""
    _check_pair(sample.id, sample.image, sample.mask)
    own = {"id": sample.id, "class_id": int(sample.class_id), "seed": int(sample.seed)}
    for key, value in own.items():
        if provenance.get(key, value) != value:
            raise BdganError(f"sample {sample.id} has {key} {value}, its provenance says {provenance[key]}")
    yield (JPEG, encode_jpeg(sample.image, jpeg)) if jpeg else (IMAGE, encode_png(sample.image))
    yield MASK, encode_png(sample.mask)
    yield RECORD, json.dumps({**provenance, **own}, sort_keys=True, ensure_ascii=False).encode()


def _check_pair(id: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or mask.ndim != 2 or image.shape[:2] != mask.shape:
        raise BdganError(
            f"sample {id}: image {list(image.shape)} and mask {list(mask.shape)}; wanted [H, W, 3] and [H, W]"
        )
