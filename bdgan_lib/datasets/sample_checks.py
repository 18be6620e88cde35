"""The checks that every reader of a data set makes on a sample: validation, iteration, export, data card."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import decode_encoded
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import UNLABELLED, BdganError, Json
from bdgan_lib.datasets.tar_format import IMAGE, MASK, RECORD, StoredSample, how_to_remake


def decode_sample(stored: StoredSample, manifest: Json) -> tuple[LabelledSample, Json]:
    """A sample and its provenance, if its members are as `write_shard` writes them and fit each other.

    Args:
        stored: the bytes of its members.
        manifest: of its set, which the sample must fit; {} if there is none.

    Raises:
        BdganError: they do not; the message names the shard, the member and the remedy.
    """
    known: dict[str, Any] = manifest
    record = _record(stored)
    check_class(stored, record, manifest)
    image = _pixels(stored, stored.suffix, stored.image, 3)
    mask = _pixels(stored, MASK, stored.mask, 2)
    if mask.shape != image.shape[:2]:
        raise _bad(stored, MASK, f"is {list(mask.shape)}, its image {list(image.shape[:2])}")
    side = known.get("image_size")
    if side is not None and image.shape[:2] != (side, side):
        raise _bad(stored, stored.suffix, f"is {list(image.shape[:2])}; manifest.json says {side} × {side}")
    labels = len(known.get("labels") or range(UNLABELLED))
    unknown = np.flatnonzero(np.bincount(mask[(mask >= labels) & (mask != UNLABELLED)])).tolist()
    if unknown:
        raise _bad(stored, MASK, f"holds labels {unknown}, expected 0..{labels - 1} or 255")
    return LabelledSample(image, mask, record["class_id"], record["seed"], stored.id), record


def check_class(stored: StoredSample, record: Mapping[str, object], manifest: Json) -> None:
    """Check that the class of a record is one that the manifest names, if it names any, and has that name.

    Raises:
        BdganError: it is not.
    """
    known: dict[str, Any] = manifest
    class_id, classes = record["class_id"], known.get("classes") or []
    if type(class_id) is not int or not 0 <= class_id < (len(classes) or 2**31):
        why = f"has class_id {class_id!r:.20}; manifest.json names {len(classes)} classes"
    elif classes and record.get("class_name", classes[class_id]) != classes[class_id]:
        why = (
            f"says {record['class_name']!r:.100}; class {class_id} in manifest.json is {classes[class_id]!r}"
        )
    else:
        return
    raise _bad(stored, RECORD, why)


def _record(stored: StoredSample) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(stored.record)
        json.dumps(record, ensure_ascii=False).encode()  # fails for halves of characters
        id, seed, _ = record["id"], record["seed"], record["class_id"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        why = f"is not a record with id, class_id and seed ({error!r:.200})"
        raise _bad(stored, RECORD, why) from error
    if id != stored.id or type(seed) is not int or not 0 <= seed < 2**63:
        raise _bad(stored, RECORD, f"is the record of {id!r:.100}, seed {seed!r:.20}; expected {stored.id}")
    return record


def _pixels(stored: StoredSample, suffix: str, data: bytes, dimensions: int) -> NDArray[np.uint8]:
    try:
        array = decode_encoded(data, "PNG" if suffix in (IMAGE, MASK) else "JPEG")
    except BdganError as error:
        raise _bad(stored, suffix, f"is damaged: {error}") from error
    if array.ndim != dimensions:
        expected = "RGB" if dimensions == 3 else "grey"
        raise _bad(stored, suffix, f"has the wrong kind of pixels, expected {expected}")
    return array


def _bad(stored: StoredSample, suffix: str, why: str) -> BdganError:
    return BdganError(
        f"{stored.shard}: member {stored.id}{suffix} {why} (sample {stored.id} is damaged); "
        f"{how_to_remake(stored.shard)}"
    )
