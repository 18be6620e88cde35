"""Validation: is a data set complete and unchanged, and are its images, masks and records consistent?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bdgan_lib.core.image_codecs import decode_png
from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT, SetStatistics, trust_files
from bdgan_lib.datasets.shards import CALIBRATION, DROPPED, LOG, MANIFEST, read_manifest
from bdgan_lib.datasets.tar_format import MASK, RECORD, StoredSample, how_to_remake, stored_samples


def validate(folder: Path, progress: bool = True) -> list[str]:
    """List everything that is wrong with a data set, a line each with file, member and remedy; [] = valid.

    Checks the sha256 of the manifest and of every shard, that there are no other files, headers of members
    (before their contents are read), pairs, sizes, labels, classes, counts, ids over all shards, and that the
    data card and the Croissant file, if there, are those of this set. Nothing is unpacked to disk; one sample
    and all ids are in memory.
    """
    try:
        manifest: dict[str, Any] = read_manifest(folder / MANIFEST)
    except (BdganError, OSError) as error:
        return [str(error)]
    shards: list[dict[str, Any]] = manifest["shards"]
    of_bytes = {shard["sha256"]: shard["name"] for shard in shards}
    lists = {_dropped(folder / s["name"]): s["dropped_sha256"] for s in shards if "dropped_sha256" in s}
    expected = {*(shard["name"] for shard in shards), *(path.name for path in lists)}
    expected |= {MANIFEST, CARD, CROISSANT, LOG, CALIBRATION}
    findings = [
        f"{path} is not part of the data set; move it elsewhere"
        for path in sorted(folder.iterdir())
        if path.name not in expected or not path.is_file()
    ]
    findings += [
        f"{path} is missing or damaged: expected sha256 {digest}; remove it and run the same command"
        for path, digest in lists.items()
        if not path.is_file() or sha256_of(path) != digest
    ]
    statistics, shard_of = SetStatistics(), dict[str, str]()
    with tqdm(total=manifest["count"], unit="image", disable=not progress, mininterval=1.0) as bar:
        for shard in shards:
            path, count = folder / shard["name"], 0
            if not path.is_file():
                findings.append(f"{path} is missing; run the same command: only it is made again")
                continue
            if (actual := sha256_of(path)) != shard["sha256"]:
                actual += f", which is {of_bytes[actual]}'s" if actual in of_bytes else ""
                difference = f"expected sha256 {shard['sha256']}, actual {actual}"
                findings.append(f"{path} is damaged: {difference}; {how_to_remake(path)}")
            try:
                for stored in stored_samples(path):
                    count += 1
                    for member, why in _errors(stored, manifest, path.name, shard_of, statistics):
                        findings.append(f"{path}: member {stored.id}{member} {why}; {how_to_remake(path)}")
                    bar.update()
            except BdganError as error:
                findings.append(str(error))
            else:
                if count != shard["count"]:
                    findings.append(
                        f"{path} holds {count} samples, {MANIFEST} says {shard['count']}; "
                        f"{how_to_remake(path)}"
                    )
    if not findings:  # only undamaged shards give the same files again
        for name, data in trust_files(folder, manifest, statistics).items():
            if (folder / name).exists() and (folder / name).read_bytes() != data:
                findings.append(
                    f"{folder / name} is not of this data set, or was changed; run `bdgan describe`"
                )
    return findings


def _dropped(shard: Path) -> Path:
    return shard.with_suffix(DROPPED)


def _errors(
    stored: StoredSample,
    manifest: Mapping[str, Any],
    shard: str,
    shard_of: dict[str, str],
    statistics: SetStatistics,
) -> Iterator[tuple[str, str]]:
    """Yield (suffix of a member, what is wrong with it) of one sample, and count the sample."""
    if stored.id in shard_of:
        yield stored.suffix, f"has an id that {shard_of[stored.id]} has as well"
    shard_of[stored.id] = shard
    try:
        record = json.loads(stored.record)
        if record["id"] != stored.id or type(record["seed"]) is not int:
            yield RECORD, f"is the record of {record['id']!r:.100}, seed {record['seed']!r:.20}"
        yield from ((RECORD, why) for why in _class_errors(record, manifest))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        yield RECORD, f"is not a record with id, class_id and seed ({error!r:.200})"
        return
    arrays = []
    for suffix, decoded, dimensions in (
        (stored.suffix, stored.pixels, 3), (MASK, lambda: decode_png(stored.mask), 2)
    ):  # fmt: skip
        try:
            arrays.append(decoded())
        except BdganError as error:
            yield suffix, f"is damaged: {error}"
            return
        if arrays[-1].ndim != dimensions:
            yield suffix, f"has the wrong kind of pixels, expected {'RGB' if dimensions == 3 else 'grey'}"
            return
    image, mask = arrays
    if mask.shape != image.shape[:2]:
        yield MASK, f"is {list(mask.shape)}, its image {list(image.shape[:2])}"
    declared = manifest.get("image_size")
    if declared is not None and image.shape[:2] != (declared, declared):
        yield stored.suffix, f"is {list(image.shape[:2])}; {MANIFEST} says {declared} × {declared}"
    labels = len(manifest.get("labels") or range(UNLABELLED))
    unknown = np.unique(mask[(mask >= labels) & (mask != UNLABELLED)]).tolist()
    if unknown:
        yield MASK, f"holds labels {unknown}, expected 0..{labels - 1} or 255"
    statistics.add(mask, record)


def _class_errors(record: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    class_id, classes = record["class_id"], manifest.get("classes") or []
    if type(class_id) is not int or class_id < 0 or (classes and class_id >= len(classes)):
        yield f"has class_id {class_id!r:.20}; {MANIFEST} names {len(classes)} classes"
    elif classes and record.get("class_name", classes[class_id]) != classes[class_id]:
        yield f"says {record['class_name']!r:.100}; class {class_id} in {MANIFEST} is {classes[class_id]!r}"
