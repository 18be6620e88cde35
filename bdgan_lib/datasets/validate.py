"""Validation: is a data set complete and unchanged, and are its images, masks and records consistent?"""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from bdgan_lib.core.io import as_path, list_folder, read_plain, sha256_of
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT, SetStatistics, contradictions, edited, trust_files
from bdgan_lib.datasets.sample_checks import decode_sample
from bdgan_lib.datasets.shards import CALIBRATION, DROPPED, LOG, MANIFEST, read_manifest
from bdgan_lib.datasets.tar_format import how_to_remake, stored_samples


def validate(folder: str | Path, progress: bool = True, notes: list[str] | None = None) -> list[str]:
    """List everything that is wrong with a data set, a line each with file, member and remedy; [] = valid.

    Checks the sha256 of the manifest and of every shard, that there are no other files, headers of members
    (before their contents are read), pairs, sizes, labels, classes, counts, ids over all shards, and that the
    data card and the Croissant file, if there, do not contradict the manifest. Of a sample the first error is
    listed. Nothing is unpacked to disk; one sample and all ids are in memory.

    Args:
        folder: of the data set, or an address.
        progress: show a bar.
        notes: receives a line for a data card or a Croissant file that was edited, which is nothing wrong.
    """
    folder = as_path(folder)
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
        for path in list_folder(folder)
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
                    if other := shard_of.get(key := stored.id.lower()):  # case is not told apart everywhere
                        findings.append(
                            f"{path}: member {stored.image_name} has an id that {other} has as well; "
                            f"{how_to_remake(path)}"
                        )
                    shard_of.setdefault(key, path.name)
                    try:
                        sample, record = decode_sample(stored, manifest)
                        statistics.add(sample.mask, record)
                    except BdganError as error:
                        findings.append(str(error))
                    bar.update()
            except BdganError as error:
                findings.append(str(error))
            else:
                if count != shard["count"]:
                    findings.append(
                        f"{path} holds {count} samples, {MANIFEST} says {shard['count']}; "
                        f"{how_to_remake(path)}"
                    )
    findings += contradictions(folder, manifest)
    if not findings:  # only undamaged shards give the same files again
        for name, versions in trust_files(folder, manifest, statistics).items():
            path = folder / name
            if notes is not None and path.exists() and read_plain(path) not in versions:
                notes.append(edited(path))
    return findings


def _dropped(shard: Path) -> Path:
    return shard.with_suffix(DROPPED)
