"""Validation: is a data set complete and unchanged, and are its images, masks and records consistent?"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bdgan_lib.core.io import as_path, list_folder, read_plain, sha256_of
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import (
    CARD,
    CROISSANT,
    ShardStatistics,
    contradictions,
    edited,
    states_other_figures,
    trust_files,
)
from bdgan_lib.datasets.sample_checks import decode_sample
from bdgan_lib.datasets.shards import CALIBRATION, DROPPED, LOG, MANIFEST, ORIGIN, read_manifest
from bdgan_lib.datasets.tar_format import how_to_remake, stored_samples

_REASON = re.compile(rb'"dropped": "([^"]*)"')  # in a list of dropped samples
_ANEW = "make the data set again in another folder"


def validate(folder: str | Path, progress: bool = True, notes: list[str] | None = None) -> list[str]:
    """List everything that is wrong with a data set, a line each with file, member and remedy; [] = valid.

    Checks the sha256 of the manifest and of every shard, that there are no other files, headers of members
    (before their contents are read), pairs, sizes, labels, classes, counts, ids over all shards, and that the
    data card and the Croissant file, if there, do not contradict the manifest. Everything is counted again:
    the numbers in the manifest and in both files must be true. Of a sample the first error is listed. Nothing
    is unpacked to disk; one sample and all ids are in memory.

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
    lists = (_dropped(folder / shard["name"]).name for shard in shards if "dropped_sha256" in shard)
    expected = {*(shard["name"] for shard in shards), *lists}
    expected |= {MANIFEST, CARD, CROISSANT, LOG, CALIBRATION, ORIGIN}
    findings = [
        f"{path} is not part of the data set; move it elsewhere"
        for path in list_folder(folder)
        if path.name not in expected or not path.is_file()
    ]
    findings += _dropped_findings(folder, manifest)
    statistics, shard_of = ShardStatistics(), dict[str, str]()
    with tqdm(total=manifest["count"], unit="image", disable=not progress) as bar:
        for shard in shards:
            path, count, sums = folder / shard["name"], 0, ShardStatistics()
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
                        sums.add(sample.mask, record)
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
            statistics.merge(sums)
    findings += contradictions(folder, manifest)
    if not findings:  # only undamaged shards give the same files again
        for name, versions in trust_files(folder, manifest, statistics).items():
            path = folder / name
            if not path.exists() or (content := read_plain(path)) in versions:
                continue
            if states_other_figures(content, versions):
                findings.append(
                    f"{path} states other figures than the shards have; run `bdgan describe` to write it anew"
                )
            elif notes is not None:
                notes.append(edited(path))
    return findings


def _dropped_findings(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """A line for each list of dropped samples that is damaged or not of the manifest's counts."""
    findings, total = list[str](), Counter[str]()
    shards = [shard for shard in manifest["shards"] if "dropped_sha256" in shard]
    for shard in shards:
        path, digest = _dropped(folder / shard["name"]), shard["dropped_sha256"]
        if not path.is_file() or sha256_of(path) != digest:
            findings.append(
                f"{path} is missing or damaged: expected sha256 {digest}; remove it and run the same command"
            )
            continue
        reasons = Counter(reason.decode("utf-8", "replace") for reason in _REASON.findall(read_plain(path)))
        total += reasons
        if reasons != shard.get("dropped"):
            stated = f"{MANIFEST} says {shard.get('dropped')!r:.200}"
            findings.append(f"{path} lists {dict(reasons)} as dropped, {stated}; {_ANEW}")
    counts = {key: n for key, n in (manifest.get("counts") or {}).items() if key not in ("made", "kept")}
    if shards and not findings and counts != total:
        findings.append(f"{folder / MANIFEST}: expected {dict(total)} as dropped, got {counts}; {_ANEW}")
    return findings


def _dropped(shard: Path) -> Path:
    return shard.with_suffix(DROPPED)
