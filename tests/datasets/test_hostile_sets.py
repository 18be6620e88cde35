"""Whoever seals a hostile set anew gets nothing through: every reader makes the same checks."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import write_card
from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.iterable import LabelledShards
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest
from bdgan_lib.datasets.validate import validate

from . import hostile, watched

KINDS = [*hostile.IMAGES, *hostile.RECORDS, *hostile.MASKS]
READERS = (
    "validate",
    "set",
    "arrays",
    "stream",
    "describe",
    "export to coco",
    "export to hf",
    "export to folder",
)


def refusal(reader: str, folder: Path, out: Path) -> str:
    """What a reader says of a set that it does not take."""
    read = watched.readers(out)[reader]
    if reader == "validate":
        findings = read(folder)
        assert findings, "taken"
        return "\n".join(findings)
    with pytest.raises(BdganError) as error:
        read(folder)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_good_set_is_taken_by_all_readers(suffix, tmp_path):
    image = hostile.PNG if suffix == ".png" else hostile.JPG
    folder = hostile.write_set(tmp_path / "set", hostile.members(suffix, image))
    for read in watched.readers(tmp_path / "out").values():
        assert not isinstance(got := read(folder), list) or len(got) == (read is not validate) or got == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_that_hides_something_is_refused_by_every_reader_with_shard_and_member(kind, tmp_path):
    folder = hostile.sets(tmp_path / "sets")[kind]
    for reader in READERS:
        said = refusal(reader, folder, tmp_path / "out")
        assert "shard_00000.tar: member robin_00000000" in said, reader
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


WRONG = {  # name -> entries of a manifest
    "negative image size": {"image_size": -16},
    "another image size": {"image_size": 32},
    "image size that is a text": {"image_size": "16"},
    "spec that is a list": {"spec": []},
    "counts that are a list": {"counts": [1]},
    "negative count": {"counts": {"kept": 1, "confidence": -5}},
    "another count": {"counts": {"kept": 2}},
    "endless count": {"counts": {"kept": 1, "confidence": 10**400}},
    "classes that are a text": {"classes": "robin"},
    "classes that are numbers": {"classes": [1, 2]},
    "labels that are an object": {"labels": {"background": 0}},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_manifest_of_wrong_kinds_or_counts_is_refused_by_every_reader(kind, tmp_path):
    folder = hostile.write_set(tmp_path / "set", hostile.members(), **WRONG[kind])
    for reader in READERS:
        assert "set" in refusal(reader, folder, tmp_path / "out"), reader


@pytest.mark.parametrize("counts", [[-1, 3], [2, 0], [0, 2], [True, 1], [10**15, 1], [1, 2**64]])
def test_counts_that_are_not_those_of_the_shards_are_found_by_every_reader(counts, tmp_path):
    other = [(name.replace("00000000", "00000001"), data) for name, data in hostile.members()]
    other[2] = (other[2][0], json.dumps(hostile.RECORD | {"id": "robin_00000001", "seed": 1}).encode())
    folder = hostile.write_set(tmp_path / "set", hostile.members(), other)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    shards = [shard | {"count": n} for shard, n in zip(manifest.pop("shards"), counts, strict=True)]
    write_manifest(
        folder / MANIFEST, shards, {k: v for k, v in manifest.items() if k not in ("sha256", "count")}
    )
    for reader in READERS:
        assert refusal(reader, folder, tmp_path / "out"), reader


def test_an_id_twice_is_refused_where_it_would_replace_a_file(tmp_path):
    twice = hostile.write_set(tmp_path / "one", hostile.members() * 2)
    for reader in READERS:
        assert "is there twice" in refusal(reader, twice, tmp_path / "out")
    shards = hostile.write_set(tmp_path / "two", hostile.members(), hostile.members())
    for reader in ("validate", "export to coco", "export to folder", "export to yolo-seg"):
        assert "robin_00000000" in refusal(reader, shards, tmp_path / "out")


@pytest.mark.parametrize("name", ["a\nb", "", "a\u2028b", "a\r", "a\x0bb"])
@pytest.mark.parametrize("key", ["classes", "labels"])
def test_a_name_that_would_become_two_lines_of_a_file_is_not_exported(key, name, tmp_path):
    names = ["robin", name] if key == "classes" else ["background", "foreground", name]
    folder = hostile.write_set(tmp_path / "set", hostile.members(), **{key: names})
    for format in ("voc", "coco", "yolo-seg"):
        with pytest.raises(BdganError, match="expected names of one line"):
            export_set(ShardedSet(folder), tmp_path / format, format, progress=False)


@pytest.mark.parametrize("depth", [300, 800, 950, 20_000])
def test_values_nested_however_deeply_are_read_or_refused_with_our_error(depth, tmp_path):
    licence = "[" * depth + "]" * depth
    record = json.dumps(hostile.RECORD)[:-1] + f', "licence": {licence}}}'
    files = hostile.members()
    for k, at in enumerate((2, 0)):
        files[2] = (files[2][0], record.encode() if at else files[2][1])
        folder = hostile.write_set(tmp_path / f"{k}", files)
        if not at:
            text = (folder / MANIFEST).read_text("utf-8").replace('"image_size": 16', f'"licence": {licence}')
            (folder / MANIFEST).write_text(text, "utf-8")
        for read in watched.readers(tmp_path / "out").values():
            with suppress(BdganError):
                read(folder)


def test_no_program_starts_and_nothing_outside_is_opened(tmp_path):
    """In a process of its own, since an audit hook stays. Pillow asks for Ghostscript to read PostScript."""
    hostile.sets(tmp_path / "sets")
    for k, (_, data) in enumerate(hostile.IMAGES.values()):
        (tmp_path / f"sets/{k}.picture").write_bytes(data)
    (tmp_path / "out").mkdir()
    command = [sys.executable, watched.__file__, str(tmp_path / "sets"), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["programs"] == [] and report["taken"] == []
    assert report["opened"] == [] and list((tmp_path / "out/here").iterdir()) == []
    assert set(report["plugins"]) <= {
        "BmpImagePlugin", "GifImagePlugin", "JpegImagePlugin", "MpoImagePlugin", "PngImagePlugin",
        "PpmImagePlugin", "TiffImagePlugin", "WebPImagePlugin",
    }  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """The bytes with some flipped, cut, doubled, replaced by an edge case, or joined with another's."""
    data, at = bytearray(data), int(rng.integers(len(data)))
    match rng.integers(6):
        case 0:
            for place in rng.integers(len(data), size=rng.integers(1, 8)):
                data[place] = rng.integers(256)
        case 1:
            del data[at:]
        case 2:
            data[at : at + int(rng.integers(1, 600))] = b""
        case 3:
            data[at:at] = data[at : at + int(rng.integers(1, 600))]
        case 4:
            edge = [
                b"\xff" * 4,
                bytes(4),
                b"\x7f\xff\xff\xff",
                b"[" * 99,
                b'"\\ud800"',
                b"-1",
                b"1e999",
                b"NaN",
            ]
            piece = edge[rng.integers(len(edge))]
            data[at : at + len(piece)] = piece
        case _:
            other = others[rng.integers(len(others))]
            data[at:] = other[int(rng.integers(len(other))) :]
    return bytes(data)


def fuzz(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Read mutated sets; anything but a BdganError ends it. How many were refused and taken."""
    rng, outcomes = np.random.default_rng(seed), {"refused": 0, "taken": 0}
    record = json.dumps(hostile.RECORD, sort_keys=True).encode()
    seeds = [hostile.PNG, hostile.JPG, hostile.GREY, record, hostile.tar(hostile.members())]
    seeds += [data for _, data in hostile.IMAGES.values()]
    for n in range(count):
        files, kind = hostile.members(*[(".png", hostile.PNG), (".jpg", hostile.JPG)][n // 5 % 2]), n % 5
        if kind < 3:  # a member, in a tar and a manifest that fit
            files[kind] = (files[kind][0], mutated(files[kind][1], rng, seeds))
        data = hostile.write_set(folder / f"{n}", files)
        shard, manifest = data / "shard_00000.tar", data / MANIFEST
        if kind == 3:  # a tar in a manifest that fits
            shard.write_bytes(mutated(shard.read_bytes(), rng, seeds))
            entry = {"name": shard.name, "sha256": hostile.sha256_of(shard), "count": 1}
            write_manifest(manifest, [entry], {"classes": ["robin"], "image_size": 16})
        if kind == 4:  # a manifest, sealed again where it is JSON still
            text = mutated(manifest.read_bytes(), rng, seeds)
            try:
                about = json.loads(text)
                shards = about.pop("shards")
                write_manifest(
                    manifest, shards, {k: v for k, v in about.items() if k not in ("sha256", "count")}
                )
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                manifest.write_bytes(text)
        findings = validate(data, progress=False)
        for read in (
            lambda data=data: ShardedSet(data).arrays(),
            lambda data=data: list(LabelledShards(ShardedSet(data), seed=0)),
            lambda data=data, n=n: export_set(ShardedSet(data), folder / f"out{n}", "coco", progress=False),
            lambda data=data: write_card(data, progress=False),
        ):
            try:
                read()
                outcomes["taken"] += 1
                assert not findings, (n, findings)
            except BdganError:
                outcomes["refused"] += 1
    return outcomes


def test_mutated_sets_are_refused_with_our_error_or_taken_as_validation_says(tmp_path):
    count = int(os.environ.get("BDGAN_FUZZ", "100"))
    outcomes = fuzz(tmp_path, count, seed=count)
    print(count, outcomes)
    assert outcomes["refused"] > 2 * count and outcomes["taken"] > 0


@pytest.mark.parametrize("shards", [1, 2])
def test_ids_that_differ_in_case_alone_are_findings(tmp_path, shards):
    plain = hostile.members()
    upper = [(name.replace("robin", "ROBIN"), data.replace(b"robin_", b"ROBIN_")) for name, data in plain]
    parts = [[*upper, *plain]] if shards == 1 else [plain, upper]
    folder = hostile.write_set(tmp_path / "set", *parts)
    findings = validate(folder, progress=False)
    assert any("has an id that shard_00000.tar has as well" in finding for finding in findings)
