"""Shards: labelled samples in plain tar files under one manifest; equal samples make equal bytes."""

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.ids import new_id
from bdgan_lib.core.image_codecs import encode_jpeg, encode_png
from bdgan_lib.core.io import (
    as_path,
    atomic_file,
    list_folder,
    read_plain,
    sha256_of,
    write_atomic,
)
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.sample_checks import decode_sample
from bdgan_lib.datasets.tar_format import (
    IMAGE,
    JPEG,
    MASK,
    RECORD,
    StoredSample,
    plain_header,
    stored_samples,
)

MANIFEST = "manifest.json"
DROPPED = ".dropped.jsonl"  # suffix of the list of samples that filters dropped from a shard
LOG, CALIBRATION = "log.jsonl", "calibration.json"  # about the synthesis; not part of the set's bytes
ORIGIN = "hub.json"  # in a folder from the Hub: its repository and commit
_AGAIN = "make the data set again; finished shards are kept"
_REMAKE = "remove it and run the same command, which makes the same bytes"
_SEAL, _END = b',\n "sha256": "', b"\n}\n"  # how the last entry of a manifest begins, and how that ends
_SHARD_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LEAST = 6 * tarfile.BLOCKSIZE  # bytes of a sample in a shard: three headers, three contents

Labelled = tuple[LabelledSample, Json]  # a sample and its provenance


def write_shard(path: str | os.PathLike[str], samples: Iterable[Labelled], jpeg: int = 0) -> Json:
    """Write samples to a tar file, whole or not at all, and return its {"name", "sha256", "count"}.

    Members, in the samples' order: `<id>.png` (RGB) or `<id>.jpg`, `<id>.mask.png` (grey, label ids) and
    `<id>.json` (the provenance with id, class_id and seed). Without times, owners or compression, equal
    samples make equal bytes. One sample is in memory at a time.

    Args:
        path: of the file.
        samples: the samples and their provenance.
        jpeg: JPEG quality of the images, from 1 to 100; 0 = PNG.

    Raises:
        BdganError: an id is unsafe or repeated, or a mask has another size than its image.
    """
    with ShardFile(path) as shard:
        for sample, provenance in samples:
            shard.append(sample.id, encode_sample(sample, provenance, jpeg))
        return shard.close()


class ShardFile:
    """A shard being written: samples are appended encoded, and `close` makes the file appear.

    As a context manager it leaves no file behind unless it was closed.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self._context = as_path(path), ExitStack()
        self._file = self._context.enter_context(atomic_file(self.path))
        self._ids, self._digest = set[str](), sha256()

    def append(self, id: str, members: bytes) -> None:
        """Append a sample, given its `encode_sample`.

        Raises:
            BdganError: its id is repeated.
        """
        if id in self._ids:
            raise BdganError(f"id {id} is repeated in {self.path}; give each sample another id")
        self._ids.add(id)
        self._write(members)

    def close(self) -> Json:
        """Complete the file, and return its {"name", "sha256", "count"}."""
        end = self._file.tell() + 2 * tarfile.BLOCKSIZE
        self._write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self._context.close()
        return {"name": self.path.name, "sha256": self._digest.hexdigest(), "count": len(self._ids)}

    def abort(self) -> None:
        """Remove what was written, unless the file was closed."""
        self._context.__exit__(BdganError, BdganError(f"{self.path} was aborted"), None)

    def __enter__(self) -> "ShardFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)


def encode_sample(sample: LabelledSample, provenance: Json, jpeg: int = 0) -> bytes:
    """The bytes of a sample in a shard: its three members with their tar headers.

    Args:
        sample: image, mask and identity.
        provenance: what its record says further.
        jpeg: as of `write_shard`.

    Raises:
        BdganError: its provenance names another sample, or its mask has another size than its image.
    """
    new_id(sample.id)
    _check_pair(sample.id, sample.image, sample.mask)
    identity = {"id": sample.id, "class_id": int(sample.class_id), "seed": int(sample.seed)}
    for key, value in identity.items():
        if provenance.get(key, value) != value:
            raise BdganError(f"sample {sample.id} has {key} {value}, its provenance says {provenance[key]}")
    record = json.dumps({**provenance, **identity}, sort_keys=True, ensure_ascii=False).encode()
    members = {
        JPEG if jpeg else IMAGE: encode_jpeg(sample.image, jpeg) if jpeg else encode_png(sample.image),
        MASK: encode_png(sample.mask),
        RECORD: record,
    }
    return b"".join(
        plain_header(sample.id + suffix, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
        for suffix, data in members.items()
    )


def read_shard(path: str | os.PathLike[str]) -> Iterator[Labelled]:
    """Yield the samples of a shard and their provenance, in the order they were written.

    Nothing is unpacked to disk.

    Raises:
        BdganError: a member is missing, surplus, unsafe or damaged, or the file ends too early.
    """
    for stored in stored_samples(as_path(path)):
        yield decode_sample(stored, {})


def write_manifest(
    path: str | os.PathLike[str], shards: Iterable[Mapping[str, object]], about: Mapping[str, object]
) -> None:
    """Write the manifest of a set, which commits it. Its last entry is the sha256 of all the others.

    Args:
        path: of the file.
        shards: what `write_shard` returned for each shard, and further entries.
        about: the other entries, such as the settings.
    """
    entries: list[dict[str, Any]] = [dict(shard) for shard in shards]
    record = {**about, "count": sum(e["count"] for e in entries), "shards": entries}
    record.pop("sha256", None)
    write_atomic(path, _with_seal(json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"))


def read_manifest(path: str | os.PathLike[str]) -> Json:
    """Read the manifest that `write_manifest` wrote.

    Raises:
        BdganError: it is missing, damaged or names an unsafe file.
    """
    path = as_path(path)
    if not path.is_file():
        raise BdganError(
            f"{path} is missing: there is no data set here, or it is not finished; finish it first"
        )
    try:
        data = read_plain(path)
        record: dict[str, Any] = json.loads(data)
        sealed = data == _with_seal(data.rpartition(_SEAL)[0] + _END)
        whole = _is_consistent(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BdganError(f"{path} is damaged ({error!r:.300}); {_REMAKE}") from error
    if not sealed:
        raise BdganError(f"{path} is damaged: its sha256 is not that of its content; {_REMAKE}")
    if not whole:
        raise BdganError(
            f"{path} is damaged: unsafe or repeated names, wrong counts or kinds of entries; {_REMAKE}"
        )
    return record


def _is_consistent(record: dict[str, Any]) -> bool:
    shards, counts = record["shards"], record.get("counts") or {}
    names = {shard["name"].lower() for shard in shards}  # not told apart on every system
    lists = [record.get(key) or [] for key in ("classes", "labels")]
    return (
        all(_SHARD_NAME.fullmatch(name) for name in names)
        and len(names) == len(shards)
        and all(_is_count(shard["count"]) and _SHA256.fullmatch(shard["sha256"]) for shard in shards)
        and all(_SHA256.fullmatch(shard.get("dropped_sha256", "0" * 64)) for shard in shards)
        and record["count"] == sum(shard["count"] for shard in shards)
        and all(isinstance(part, dict) for part in (record.get("spec", {}), counts))
        and all(map(_is_count, counts.values()))
        and counts.get("kept", record["count"]) == record["count"]
        and all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
        and _is_count(record.get("image_size") or 0)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**50


def _with_seal(text: bytes) -> bytes:
    """The text of a manifest with the sha256 of the text as its last entry."""
    return text.removesuffix(_END) + _SEAL + sha256(text).hexdigest().encode() + b'"' + _END


class ShardedSet:
    """A finished data set: a folder with `manifest.json` and the shards it names.

    The sha256 of every shard is checked before it is read; `verify()` checks all without decoding images.

    Raises:
        BdganError: the manifest or a shard is missing, or there is a shard that it does not name.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = as_path(folder)
        manifest: dict[str, Any] = read_manifest(self.folder / MANIFEST)
        self.manifest, self.shards = manifest, list[dict[str, Any]](manifest["shards"])
        listed = {s["name"] for s in self.shards}
        files = {path.name: path for path in list_folder(self.folder, "*.tar")}
        present = files.keys()
        if listed - present:
            raise BdganError(f"{self.folder / min(listed - present)} is missing; {_AGAIN}")
        if present - listed:
            raise BdganError(
                f"{self.folder / min(present - listed)} is not in the manifest; move it elsewhere"
            )
        if hasattr(self.folder, "fs"):
            return  # a store would be asked for each size
        for shard in self.shards:  # before memory is allocated for so many
            if (size := files[shard["name"]].stat().st_size) < shard["count"] * _LEAST:
                raise BdganError(
                    f"{files[shard['name']]}: expected {shard['count']} samples, got {size} bytes; {_AGAIN}"
                )

    def __len__(self) -> int:
        return int(self.manifest["count"])

    def __iter__(self) -> Iterator[Labelled]:
        """Iterate over all samples and their provenance, in order, with one in memory at a time."""
        for shard in self.shards:
            for stored in self.stored(shard):
                yield decode_sample(stored, self.manifest)

    def stored(self, shard: Mapping[str, object]) -> Iterator[StoredSample]:
        """Yield the samples of one of `shards`, undecoded; its sha256 is checked before, its count after.

        Raises:
            BdganError: it is missing or damaged, or the manifest gives another count.
        """
        path, count = self.verified(shard), 0
        for stored in stored_samples(path):
            count += 1
            yield stored
        if count != shard["count"]:
            raise BdganError(f"{path} holds {count} samples, the manifest says {shard['count']}; {_AGAIN}")

    def verify(self) -> None:
        """Check every shard's sha256.

        Raises:
            BdganError: a shard is missing or differs from the manifest.
        """
        for shard in self.shards:
            self.verified(shard)

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [N, H, W, 3], masks uint8 [N, H, W], class_ids int64 [N]), in the shards' order.

        All are in memory at once: N * H * W * 4 bytes.

        Raises:
            BdganError: the set is empty, does not fit into memory, or its images differ in size.
        """
        images = masks = None
        class_ids = np.empty(len(self), np.int64)
        for i, (sample, _) in enumerate(self):
            if images is None or masks is None:
                try:
                    images = np.empty((len(self), *sample.image.shape), np.uint8)
                    masks = np.empty((len(self), *sample.mask.shape), np.uint8)
                except MemoryError as error:
                    raise BdganError(f"{error}; iterate over {self.folder} instead") from error
            if sample.image.shape != images.shape[1:]:
                raise BdganError(
                    f"{sample.id} in {self.folder}: expected {list(images.shape[1:])} as before, "
                    f"got {list(sample.image.shape)}; iterate over the set instead of asking for arrays"
                )
            images[i], masks[i], class_ids[i] = sample.image, sample.mask, sample.class_id
        if images is None or masks is None:
            raise BdganError(
                f"expected one or more samples in {self.folder}, got none; iterate over the set instead"
            )
        return images, masks, class_ids

    def verified(self, shard: Mapping[str, object]) -> Path:
        """The path of one of `shards`, whose sha256 was checked.

        Raises:
            BdganError: it is missing or differs from the manifest.
        """
        path, expected = self.folder / str(shard["name"]), shard["sha256"]
        if not path.is_file():
            raise BdganError(f"{path} is missing; {_AGAIN}")
        if (actual := sha256_of(path)) != expected:
            raise BdganError(f"{path} is damaged: expected sha256 {expected}, actual {actual}; {_AGAIN}")
        return path


def _check_pair(id: str, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or mask.ndim != 2 or image.shape[:2] != mask.shape:
        raise BdganError(
            f"sample {id}: expected [H, W, 3] and [H, W], "
            f"got image {list(image.shape)} and mask {list(mask.shape)}"
        )
