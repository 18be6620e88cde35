"""The law of validation: whatever befalls a data set is found, and the file is named."""

import io
import json
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import sha256_of
from bdgan_lib.datasets.card import CARD, CROISSANT, write_card
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest
from bdgan_lib.datasets.validate import validate


@pytest.fixture
def folder(make_set) -> Path:
    data = make_set(4, labels=["background", "beak", "wing", "tail"])
    write_card(data.folder, progress=False)
    return data.folder


def reseal(folder: Path, **about) -> None:
    """Commit what lies there, as somebody would who knows how: nothing but meaning can give it away."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    shards = [s | {"sha256": sha256_of(folder / s["name"])} for s in manifest.pop("shards")]
    write_manifest(folder / MANIFEST, shards, {**manifest, **about})
    for name in (CARD, CROISSANT):
        (folder / name).unlink(missing_ok=True)


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def write(path: Path, found: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.USTAR_FORMAT) -> None:
    with tarfile.open(path, "w", format=format) as tar:
        for member, data in found:
            if member.isreg() and data:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_whole_set_is_whole(folder, make_set):
    assert validate(str(folder), progress=False) == []
    for name in (CARD, CROISSANT):
        (folder / name).unlink()
    assert validate(folder, progress=False) == []


def damage(folder: Path, kind: str, rng: np.random.Generator) -> str:
    """Do one thing to the set; the name of the file that must be named."""
    files = sorted(folder.iterdir())
    shards = [path for path in files if path.suffix == ".tar"]
    path = files[rng.integers(len(files))]
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
    elif kind == "cut":
        path.write_bytes(data[: rng.integers(len(data))])
    elif kind == "grow":
        path.write_bytes(data + bytes(int(rng.integers(1, 20_000))))
    elif kind == "swap shards":
        path, other = rng.choice(np.array(shards), 2, replace=False)
        data, more = path.read_bytes(), other.read_bytes()
        path.write_bytes(more)
        other.write_bytes(data)
    elif kind == "remove shard":
        path = shards[rng.integers(len(shards))]
        path.unlink()
    elif kind == "stranger":
        path = folder / f"{rng.integers(10**6)}.tar"
        path.write_bytes(shards[0].read_bytes())
    elif kind == "manifest":
        path = folder / MANIFEST
        manifest = json.loads(data := path.read_bytes())
        shard = manifest["shards"][rng.integers(3)]
        key = str(rng.choice(["count", "sha256", "name", "classes", "labels", "spec"]))
        if key in shard:
            shard[key] = shard[key] + 1 if key == "count" else str(shard[key])[::-1]
        else:
            manifest[key] = {"spec": {"first_seed": 1}}.get(key, list(manifest[key])[::-1])
        path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        assert path.read_bytes() != data
    else:
        path = shards[rng.integers(len(shards))]
        found = members(path)
        a, b = rng.choice(len(found), 2, replace=False)
        if kind == "remove member":
            del found[a]
        elif kind == "swap members":
            found[a], found[b] = found[b], found[a]
        else:  # swap contents
            if found[a][1] == found[b][1]:
                found[a] = (found[a][0], found[a][1] + b" ")
            found[a], found[b] = (found[a][0], found[b][1]), (found[b][0], found[a][1])
        write(path, found)
    return path.name


# how many of each are tried
KINDS = {
    "flip": 160, "cut": 60, "grow": 20, "swap shards": 6, "remove shard": 6, "stranger": 6, "manifest": 24,
    "remove member": 30, "swap members": 30, "swap contents": 30,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_befalls_a_set_is_found_and_the_file_named(folder, tmp_path, kind):
    rng = np.random.default_rng(list(KINDS).index(kind))
    assert sum(KINDS.values()) >= 300
    for _ in range(KINDS[kind]):
        other = tmp_path / "other"
        shutil.copytree(folder, other)
        name, notes = damage(other, kind, rng), list[str]()
        findings = validate(other, progress=False, notes=notes)
        findings += [note for note in notes if name in (CARD, CROISSANT)]  # they may be edited
        assert any(name in finding for finding in findings), (kind, name, findings)
        shutil.rmtree(other)


def test_a_set_without_its_manifest_is_none(folder):
    (folder / MANIFEST).unlink()
    assert "manifest.json is missing" in validate(folder, progress=False)[0]
    assert "is missing" in validate(folder / "nowhere", progress=False)[0]


def test_a_damaged_shard_is_named_with_its_twin_its_member_and_the_mending(folder):
    first, second = folder / "shard_00000.tar", folder / "shard_00001.tar"
    good = first.read_bytes()
    first.write_bytes(second.read_bytes())
    findings = validate(folder, progress=False)
    assert "which is shard_00001.tar's" in findings[0]
    assert "remove shard_00000.tar and run the same command: only it is made again" in findings[0]
    first.write_bytes(good)
    found = members(first)
    del found[4]
    write(first, found)
    assert "'blue_jay_00000001.mask.png' is missing" in validate(folder, progress=False)[1]


def record(**entries) -> bytes:
    return json.dumps({"id": "blue_jay_00000001", "class_id": 1, "seed": 1, **entries}).encode()


BLANK = np.zeros((21, 26), np.uint8)
MEANINGS = {
    "a label nobody named": (4, encode_png(BLANK + 4), "mask.png holds labels [4], expected 0..3 or 255"),
    "another size": (4, encode_png(BLANK[:5]), "mask.png is [5, 26], its image [21, 26]"),
    "a coloured mask": (4, encode_png(np.dstack([BLANK] * 3)), "mask.png has the wrong kind of pixels"),
    "no PNG": (3, b"GIF89a", "blue_jay_00000001.png is damaged: not a readable PNG"),
    "no record": (5, b"[]", "blue_jay_00000001.json is not a record"),
    "no end of brackets": (5, b"[" * 100_000, "blue_jay_00000001.json is not a record"),
    "another's record": (5, record(id="robin_00000000"), "is the record of 'robin_00000000'"),
    "an unknown class": (5, record(class_id=3), "has class_id 3; manifest.json names 3 classes"),
    "two names": (5, record(class_name="robin"), "says 'robin'; class 1 in manifest.json is 'blue jay'"),
}  # fmt: skip


@pytest.mark.parametrize("case", MEANINGS)
def test_a_set_whose_sums_fit_must_mean_what_it_says(folder, case):
    position, data, told = MEANINGS[case]
    found = members(folder / "shard_00000.tar")
    found[position] = (found[position][0], data)
    write(folder / "shard_00000.tar", found)
    reseal(folder)
    findings = validate(folder, progress=False)
    assert len(findings) == 1 and "shard_00000.tar: member blue_jay_00000001" in findings[0]
    assert told in findings[0]


def test_an_id_in_two_shards_a_wrong_count_and_a_declared_size_are_found(folder):
    shutil.copy(folder / "shard_00000.tar", folder / "shard_00001.tar")
    reseal(folder, image_size=26)
    findings = validate(folder, progress=False)
    assert any("robin_00000000.png has an id that shard_00000.tar has as well" in f for f in findings)
    assert any("manifest.json says 26 × 26" in f for f in findings)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["shards"][2]["count"] += 1
    write_manifest(folder / MANIFEST, manifest["shards"], {"classes": manifest["classes"]})
    assert any("shard_00002.tar holds 3 samples, manifest.json says 4" in f for f in validate(folder, False))


def test_trust_files_of_another_set_are_found(folder):
    card = (folder / CARD).read_bytes(), (folder / CROISSANT).read_bytes()
    reseal(folder, licence="CC0")
    (folder / CARD).write_bytes(card[0])
    (folder / CROISSANT).write_bytes(card[1])
    findings = validate(folder, progress=False)
    assert [name in finding for name, finding in zip((CARD, CROISSANT), findings, strict=True)] == [
        True,
        True,
    ]
    write_card(folder, progress=False)
    assert validate(folder, progress=False) == []


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""
    chunk = lambda kind, data: (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def info(name: str, kind: bytes = tarfile.REGTYPE, **entries) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in entries.items():
        setattr(member, key, value)
    return member


HOSTILE = {
    "../../robin.png": info("../../robin.png"),
    "/etc/robin.png": info("/etc/robin.png"),
    "robin.png is a symbolic link": info("robin.png", tarfile.SYMTYPE, linkname="/etc/passwd"),
    "robin.png is a hard link": info("robin.png", tarfile.LNKTYPE, linkname="robin_00000000.png"),
    "robin.png is a device": info("robin.png", tarfile.CHRTYPE, devmajor=1),
    "robin.png is a pipe": info("robin.png", tarfile.FIFOTYPE),
    "robin.png is a folder": info("robin.png", tarfile.DIRTYPE),
    "robin.png is a sparse file": info("robin.png", tarfile.GNUTYPE_SPARSE),
    "robin.png claims 9,000,000,000 bytes": info("robin.png", size=9_000_000_000),
    "robin.json claims 2,000,000 bytes": info("robin.json", size=2_000_000),
    "robin.png is cut off": info("robin.png", size=200_000_000),
    "README.txt is surplus": info("README.txt"),
    "robin.png has a header that is not plain": info("robin.png", uname="root"),
    "is a long name": info("a" * 200 + ".png"),
    "is an extended header": info("ü.png", pax_headers={"path": "../x.png"}),
}


@pytest.mark.parametrize("told", HOSTILE)
@pytest.mark.parametrize("place", [0, 3])
def test_a_hostile_member_is_refused_by_name_before_it_is_read(folder, told, place, tmp_path):
    path, member = folder / "shard_00001.tar", HOSTILE[told]
    small = len(member.name) < 100 and member.size < 8**11
    format = (
        tarfile.PAX_FORMAT if member.pax_headers else tarfile.USTAR_FORMAT if small else tarfile.GNU_FORMAT
    )
    found, header = members(path), member.tobuf(format)
    write(path, found[:place])
    start = sum(512 + -(-len(data) // 512) * 512 for _, data in found[:place])
    path.write_bytes(path.read_bytes()[:start] + header + bytes(10240))
    reseal(folder)
    findings = validate(folder, progress=False)
    assert (
        len(findings) == 1
        and "shard_00001.tar: member" in findings[0]
        and told in findings[0].replace("'", "")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"] and len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("side", [9_000, 30_000])
def test_a_picture_that_claims_to_be_huge_is_refused_by_name(folder, side):
    found = members(folder / "shard_00001.tar")
    found[0] = (found[0][0], bomb(side))
    write(folder / "shard_00001.tar", found)
    reseal(folder)
    findings = validate(folder, progress=False)
    assert len(findings) == 1 and "member " + found[0][0].name in findings[0]
    assert f"claims {side} x {side} pixels, above 67,108,864" in findings[0]


def test_what_lies_between_or_behind_members_is_found(folder):
    path = folder / "shard_00001.tar"
    good = path.read_bytes()
    gap = good.index(b"\0", good.index(b'"seed"'))  # the first record's padding
    for data in (
        good[:gap] + b"x" + good[gap + 1 :],
        good[:-1] + b"x",
        good + bytes(512),
        good + bytes(10**6),
    ):
        path.write_bytes(data)
        reseal(folder)
        findings = validate(folder, progress=False)
        assert len(findings) == 1 and "shard_00001.tar" in findings[0]
    path.write_bytes(good)
    reseal(folder)
    assert validate(folder, progress=False) == [] and len(list(ShardedSet(folder))) == 11
