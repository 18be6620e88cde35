"""Laws of shards: the same samples are the same bytes, what is written is read, damage is named."""

import errno
import io
import json
import os
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, read_shard, write_manifest, write_shard
from bdgan_lib.datasets.tar_format import plain_header


def labelled(seed: int, side: int = 8) -> tuple[LabelledSample, dict]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (side, side))
    sample = LabelledSample(image, mask, seed % 3, seed, f"robin_{seed:08d}")
    return sample, {"generator_sha256": "abc", "note": "ü"}


def assert_same(found, expected) -> None:
    (a, told), (b, provenance) = found, expected
    assert np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)
    assert (a.class_id, a.seed, a.id) == (b.class_id, b.seed, b.id)
    assert told == {**provenance, "id": b.id, "class_id": b.class_id, "seed": b.seed}


@pytest.fixture
def shard(tmp_path) -> Path:
    write_shard(tmp_path / "a.tar", map(labelled, range(5)))
    return tmp_path / "a.tar"


@pytest.fixture
def folder(tmp_path) -> Path:
    shards = [
        write_shard(tmp_path / f"shard_{k}.tar", map(labelled, range(4 * k, 4 * k + 4 - k))) for k in range(3)
    ]
    write_manifest(tmp_path / MANIFEST, shards, {"spec": {"any": "thing"}})
    return tmp_path


def sealed(manifest: dict) -> str:
    """The text of a manifest whose sha256 fits its content, whatever it says."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    text = lambda record: json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    return text({**rest, "sha256": sha256(text(rest).encode()).hexdigest()})


def rewrite(path: Path, change) -> None:
    """Write the tar anew with its list of (TarInfo, bytes) changed."""
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    change(members)
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def member(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def test_what_is_written_is_read_in_the_same_order(tmp_path):
    seeds = [7, 3, 11]
    entry = write_shard(tmp_path / "a.tar", map(labelled, seeds))
    assert entry["name"] == "a.tar" and entry["count"] == 3
    assert entry["sha256"] == sha256((tmp_path / "a.tar").read_bytes()).hexdigest()
    found = list(read_shard(tmp_path / "a.tar"))
    assert len(found) == 3
    for one, seed in zip(found, seeds):
        assert_same(one, labelled(seed))


def test_the_same_samples_are_the_same_bytes(tmp_path, shard, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_shard(tmp_path / "b.tar", map(labelled, range(5)))
    assert (tmp_path / "b.tar").read_bytes() == shard.read_bytes()


def test_any_tar_program_can_read_it(shard):
    with tarfile.open(shard) as tar:
        assert tar.getnames()[:3] == ["robin_00000000.png", "robin_00000000.mask.png", "robin_00000000.json"]
        assert all(one.isreg() and one.mtime == one.uid == one.gid == 0 for one in tar)


def test_the_longest_id_fits(tmp_path):
    sample, told = labelled(1)
    write_shard(tmp_path / "a.tar", [(replace(sample, id="x" * 90), told)])
    assert [found.id for found, _ in read_shard(tmp_path / "a.tar")] == ["x" * 90]


def test_images_may_be_jpegs(tmp_path):
    write_shard(tmp_path / "a.tar", map(labelled, range(3)), jpeg=100)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames()[:2] == ["robin_00000000.jpg", "robin_00000000.mask.png"]
    for (sample, told), seed in zip(read_shard(tmp_path / "a.tar"), range(3)):
        wanted, _ = labelled(seed)
        assert np.array_equal(sample.mask, wanted.mask) and told["seed"] == seed
        assert sample.image.shape == wanted.image.shape


def test_an_empty_shard_is_a_shard(tmp_path):
    assert write_shard(tmp_path / "a.tar", [])["count"] == 0
    assert list(read_shard(tmp_path / "a.tar")) == []


def test_repeated_ids_unequal_sizes_and_contradictions_are_refused_and_leave_no_file(tmp_path):
    sample, _ = labelled(1)
    small = LabelledSample(sample.image, sample.mask[:4], 1, 1, "a")
    for samples, names_it in (
        ([labelled(1), labelled(1)], "id robin_00000001 is repeated in"),
        ([(small, {})], r"image \[8, 8, 3\] and mask \[4, 8\]"),
        ([(sample, {"seed": 2})], "seed 1, its provenance says 2"),
        ([(LabelledSample(sample.image, sample.mask, 1, 1, "../a"), {})], "safe file name"),
    ):
        with pytest.raises(BdganError, match=names_it):
            write_shard(tmp_path / "a.tar", samples)
        assert list(tmp_path.iterdir()) == []


def test_a_shard_that_is_cut_off_anywhere_is_damaged(shard):
    data = shard.read_bytes()
    end = data.rstrip(b"\0")
    content = -(-len(end) // 512) * 512
    for size in (0, 100, 512, 513, content // 2, content - 512, content, content + 512):
        shard.write_bytes(data[:size])
        with pytest.raises(BdganError, match=r"a\.tar"):
            list(read_shard(shard))


def test_a_damaged_header_is_not_taken_for_the_end(shard):
    data = bytearray(shard.read_bytes())
    position = data.rindex(b"robin_00000003.png")
    data[position] ^= 1
    shard.write_bytes(data)
    with pytest.raises(BdganError, match=r"a\.tar: member .* damaged header"):
        list(read_shard(shard))


@pytest.mark.parametrize("place", range(3))
def test_a_missing_member_is_named(shard, place):
    names = ["robin_00000002.png", "robin_00000002.mask.png", "robin_00000002.json"]
    rewrite(shard, lambda members: members.pop(6 + place))
    expected = names[place] if place else names[1]  # without its image, the mask is what comes unexpectedly
    with pytest.raises(BdganError, match=expected):
        list(read_shard(shard))


def test_a_missing_last_member_is_named(shard):
    rewrite(shard, lambda members: members.pop())
    with pytest.raises(BdganError, match=r"robin_00000004\.json' is missing"):
        list(read_shard(shard))


@pytest.mark.parametrize("name", ["README.txt", "../../robin_1.png", "/etc/robin.png", "a.b.png", ".png"])
@pytest.mark.parametrize("place", [0, 1, 3, 15])
def test_a_surplus_or_unsafe_member_is_named(shard, name, place):
    rewrite(shard, lambda members: members.insert(place, member(name)))
    with pytest.raises(BdganError, match=name.replace(".", r"\.")):
        list(read_shard(shard))


def test_a_link_is_refused(shard):
    def link(members):
        members[0][0].type, members[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
        members[0] = (members[0][0], b"")

    rewrite(shard, link)
    with pytest.raises(BdganError, match=r"robin_00000000\.png' is a symbolic link"):
        list(read_shard(shard))


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"id": "robin_00000009", "class_id": 1, "seed": 9}'])
def test_a_damaged_or_foreign_record_is_named(shard, record):
    def change(members):
        members[2] = (members[2][0], record)

    rewrite(shard, change)
    with pytest.raises(BdganError, match="sample robin_00000000 is damaged"):
        list(read_shard(shard))


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(BdganError, match=r"b\.tar is missing"):
        list(read_shard(tmp_path / "b.tar"))


def test_a_full_disk_leaves_the_earlier_shard(shard, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_shard(shard, [labelled(99)])
    assert [path.name for path in shard.parent.iterdir()] == ["a.tar"]
    assert len(list(read_shard(shard))) == 5


def test_a_set_is_its_shards_in_order(folder):
    found = ShardedSet(folder)
    seeds = [0, 1, 2, 3, 4, 5, 6, 8, 9]
    found.verify()
    assert len(found) == 9 and found.manifest["spec"] == {"any": "thing"}
    for one, seed in zip(found, seeds, strict=True):
        assert_same(one, labelled(seed))
    images, masks, class_ids = found.arrays()
    assert images.shape == (9, 8, 8, 3) and masks.shape == (9, 8, 8)
    assert class_ids.tolist() == [seed % 3 for seed in seeds]
    assert np.array_equal(images[7], labelled(8)[0].image) and np.array_equal(masks[7], labelled(8)[0].mask)


def test_any_flipped_byte_of_a_set_is_found_with_both_sha256(folder):
    path = folder / "shard_1.tar"
    good = path.read_bytes()
    expected = sha256(good).hexdigest()
    for position in range(0, len(good), 997):
        damaged = bytearray(good)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        for look in (lambda: ShardedSet(folder).verify(), lambda: ShardedSet(folder).arrays()):
            with pytest.raises(BdganError, match=rf"shard_1\.tar.*{expected}.*{sha256(damaged).hexdigest()}"):
                look()


def test_a_missing_and_a_surplus_shard_are_named(folder):
    (folder / "shard_9.tar").write_bytes((folder / "shard_1.tar").read_bytes())
    with pytest.raises(BdganError, match=r"shard_9\.tar is not in the manifest"):
        ShardedSet(folder)
    (folder / "shard_9.tar").unlink()
    (folder / "shard_1.tar").unlink()
    with pytest.raises(BdganError, match=r"shard_1\.tar is missing"):
        ShardedSet(folder)


def test_a_set_without_a_manifest_is_not_finished(folder):
    (folder / MANIFEST).unlink()
    with pytest.raises(BdganError, match=r"manifest\.json is missing"):
        ShardedSet(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(count=3),
        lambda m: m.pop("shards"),
        lambda m: m["shards"][0].update(name="../shard_0.tar"),
        lambda m: m["shards"][0].update(name="shard_1.tar"),
        lambda m: m["shards"][0].update(name=3),
        lambda m: m["shards"][0].pop("sha256"),
    ],
)
def test_a_damaged_manifest_is_named(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    change(manifest)
    for text in (json.dumps(manifest), sealed(manifest)):
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        with pytest.raises(BdganError, match=r"manifest\.json is damaged"):
            ShardedSet(folder)


def test_a_manifest_of_the_same_values_in_other_bytes_is_damaged(folder):
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    assert text == sealed(json.loads(text))
    for other in (text.replace("\n", "\r\n"), text.rstrip(), text.replace('"any"', '"\\u0061ny"')):
        (folder / MANIFEST).write_bytes(other.encode())
        with pytest.raises(BdganError, match=r"manifest\.json is damaged"):
            ShardedSet(folder)


def test_a_wrong_count_with_the_right_sum_is_found(folder):
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["shards"][0]["count"] += 1
    manifest["shards"][1]["count"] -= 1
    (folder / MANIFEST).write_text(sealed(manifest), encoding="utf-8")
    with pytest.raises(BdganError, match=r"shard_0\.tar holds 4 samples, the manifest says 5"):
        ShardedSet(folder).arrays()


def test_images_of_several_sizes_do_not_fit_arrays(tmp_path):
    entry = write_shard(tmp_path / "a.tar", [labelled(1, side=8), labelled(2, side=9)])
    write_manifest(tmp_path / MANIFEST, [entry], {})
    with pytest.raises(BdganError, match="robin_00000002"):
        ShardedSet(tmp_path).arrays()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 12345, 8**11 - 1])
@pytest.mark.parametrize("name", ["a.png", "blue_jay_00000003.mask.png", "x" * 90 + ".json", "y" * 100])
def test_a_plain_header_is_what_tarfile_makes(name, size):
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    assert plain_header(name, size) == member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_a_shard_is_the_file_that_tarfile_makes_of_its_members(count, tmp_path):
    path, again = tmp_path / "a.tar", tmp_path / "b.tar"
    write_shard(path, map(labelled, range(count)))
    with tarfile.open(path) as old, tarfile.open(again, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
    assert path.read_bytes() == again.read_bytes()
