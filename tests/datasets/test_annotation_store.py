"""Laws of the annotation store: pairs by name, nothing lost, damage named."""

import errno
import json
import os
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore

GENERATOR = sha256(b"generator").hexdigest()


def drawn(label: int) -> np.ndarray:
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:5] = label
    mask[5] = 255
    return mask


def annotation(label: int = 1, **changes) -> Annotation:
    sampling = Sampling(truncation=0.5)
    made = Annotation("robin_00000003", "robin", 0, 3, sampling, GENERATOR, drawn(label), "oracle")
    return replace(made, **changes)


def same(a: Annotation, b: Annotation) -> bool:
    """Equal in every field."""
    fields = [key for key in vars(a) if key != "mask"]
    return np.array_equal(a.mask, b.mask) and all(getattr(a, key) == getattr(b, key) for key in fields)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@pytest.fixture
def store(tmp_path) -> AnnotationStore:
    store = AnnotationStore(tmp_path / "annotations")
    store.add(annotation())
    return store


def test_what_is_added_is_loaded_again(store):
    other = annotation(
        id="mug_00000010",
        mask=drawn(2),
        class_name="mug",
        class_id=9,
        seed=10,
        sampling=Sampling(z_std=0.9),
        classes=("background", "body", "handle"),
        extra={"seconds": 12.5, "note": "Henkel über dem Rand"},
    )
    store.add(other)
    again = AnnotationStore(store.root)
    assert again.ids() == ["mug_00000010", "robin_00000003"] and len(again) == 2
    assert same(again.load(other.id), other)
    assert [a.id for a in again] == again.ids()


def test_a_sample_is_two_files_and_the_record_holds_the_mask_s_sha256(store):
    assert names(store.root) == ["robin_00000003.json", "robin_00000003.png"]
    record = json.loads((store.root / "robin_00000003.json").read_text(encoding="utf-8"))
    assert record["mask_sha256"] == sha256((store.root / "robin_00000003.png").read_bytes()).hexdigest()


def test_a_store_that_nobody_wrote_to_is_empty(tmp_path):
    store = AnnotationStore(tmp_path / "new")
    assert len(store) == 0 and list(store) == []
    store.require(GENERATOR)
    assert not store.root.exists()


def test_a_mask_can_be_drawn_anew(store):
    store.add(annotation(label=0, annotator="a person"))
    assert len(store) == 1 and store.load("robin_00000003").mask.max() == 255
    assert store.load("robin_00000003").annotator == "a person"
    assert names(store.root) == ["robin_00000003.json", "robin_00000003.png"]


@pytest.mark.parametrize(
    "change", [{"class_id": 1}, {"seed": 4}, {"generator_sha256": "0"}, {"sampling": Sampling()}], ids=str
)
def test_an_id_never_passes_to_another_sample(store, change):
    with pytest.raises(BdganError, match="another id or folder"):
        store.add(annotation(label=0, **change))
    assert same(store.load("robin_00000003"), annotation())


@pytest.mark.parametrize(
    ("mask", "names_it"),
    [
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4, 3), np.uint8), r"\[4, 4, 3\]"),
        (np.zeros((0, 4), np.uint8), r"\[0, 4\]"),
        (np.full((4, 4), 2, np.uint8), r"\(background, foreground\) and 255 \(unlabelled\), got \[2\]"),
        ([[0, 1]], "list"),
    ],
)
def test_a_mask_of_the_wrong_kind_is_refused(mask, names_it):
    with pytest.raises(BdganError, match=names_it):
        annotation(mask=mask)


@pytest.mark.parametrize("change", [{"id": "../robin"}, {"seed": -1}, {"class_id": -1}], ids=str)
def test_an_unsafe_id_or_a_negative_number_is_refused(change):
    with pytest.raises(BdganError):
        annotation(**change)


@pytest.mark.parametrize("extra", [{"mask": np.zeros(2)}, {"x": float("nan")}])
def test_extra_that_is_no_json_is_refused_before_anything_is_written(store, extra):
    with pytest.raises(BdganError, match="extra"):
        store.add(annotation(label=0, extra=extra))
    assert same(store.load("robin_00000003"), annotation())


def test_a_missing_partner_is_named(store):
    (store.root / "robin_00000003.png").rename(store.root / "aside")
    with pytest.raises(BdganError, match=r"robin_00000003\.png is missing"):
        list(store)
    (store.root / "aside").rename(store.root / "robin_00000003.png")
    (store.root / "robin_00000003.json").unlink()
    for look in (store.ids, lambda: len(store), lambda: store.load("robin_00000003")):
        with pytest.raises(BdganError, match=r"robin_00000003\.json is missing"):
            look()


def test_a_damaged_mask_is_named_with_both_sha256(store):
    path = store.root / "robin_00000003.png"
    expected, damaged = sha256(path.read_bytes()).hexdigest(), bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BdganError, match=rf"{expected}.*{sha256(damaged).hexdigest()}"):
        store.load("robin_00000003")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"id": "robin_00000003"}'])
def test_a_damaged_record_is_named(store, text):
    (store.root / "robin_00000003.json").write_text(text, encoding="utf-8")
    with pytest.raises(BdganError, match=r"robin_00000003\.json"):
        store.load("robin_00000003")


@pytest.mark.parametrize(
    "change", [{"sampling": None}, {"classes": 3}, {"seed": "x"}, {"classes": ["one"]}], ids=str
)
def test_a_record_with_a_wrong_value_is_named(store, change):
    path = store.root / "robin_00000003.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(BdganError, match=r"robin_00000003\.json is damaged"):
        store.load("robin_00000003")


@pytest.mark.parametrize("digest", [None, 3, ["a"], "", "/../../secret", "A" * 64, "a" * 5_000])
def test_a_digest_that_is_none_names_no_file(store, digest):
    folder = store.root / "robin_00000003."  # a name that the digest continues
    secret = store.root.parent / "secret.png"
    folder.mkdir()
    secret.write_bytes(encode_png(np.ones((6, 8), np.uint8)))
    path = store.root / "robin_00000003.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"mask_sha256": digest}))
    for call in (store.load, lambda id: store.add(annotation()), store.remove):
        with pytest.raises(BdganError, match=r"robin_00000003\.json: expected the record") as error:
            call("robin_00000003")
        assert len(str(error.value)) < 500
    assert secret.exists()


def test_a_foreign_mask_under_the_right_name_is_not_taken(store):
    (store.root / "robin_00000003.png").write_bytes(encode_png(np.ones((6, 8), np.uint8)))
    with pytest.raises(BdganError, match="expected sha256"):
        store.load("robin_00000003")


def test_annotations_of_another_generator_are_refused(store):
    store.require(GENERATOR)
    with pytest.raises(BdganError, match=f"robin_00000003.*expected generator other, got {GENERATOR}"):
        store.require("other")


@pytest.mark.parametrize("calls_before", range(6))
@pytest.mark.parametrize("call", [(os, "fsync"), (Path, "replace")], ids=["fsync", "rename"])
def test_whenever_a_save_fails_the_old_or_the_new_is_there_whole(store, monkeypatch, call, calls_before):
    """No space left at the n-th write to the disk: never a mixture, never a loss, nothing left behind."""
    owner, name = call
    true_call, calls = getattr(owner, name), []

    def full(*args, **kwargs):
        calls.append(args)
        if len(calls) == calls_before + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_call(*args, **kwargs)

    old, new = annotation(), annotation(label=0, annotator="a person")
    monkeypatch.setattr(owner, name, full)
    try:
        store.add(new)
        assert len(calls) <= calls_before or same(store.load(new.id), new)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    monkeypatch.undo()

    found = store.load("robin_00000003")
    assert same(found, old) or same(found, new)
    assert store.ids() == ["robin_00000003"]
    store.add(new)
    assert same(store.load(new.id), new)
    assert names(store.root) == ["robin_00000003.json", "robin_00000003.png"]


def test_a_save_cut_off_between_its_two_files_is_still_readable(store, monkeypatch):
    """As after a power cut: the record stands, the new mask still waits."""
    new = annotation(label=0)
    monkeypatch.setattr(AnnotationStore, "_settle", lambda self, id: None)
    store.add(new)
    assert len(names(store.root)) == 3
    assert same(store.load(new.id), new)


def test_the_first_save_that_fails_leaves_an_empty_store(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = AnnotationStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.add(annotation())
    assert names(tmp_path) == [] and store.ids() == []


def test_what_systems_leave_behind_is_no_annotation(tmp_path):
    store = AnnotationStore(tmp_path)
    store.add(annotation())
    for name in ("._robin_00000003.json", "._robin_00000003.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert store.ids() == ["robin_00000003"] and len(list(store)) == 1
    (tmp_path / "copy (1).json").write_text("{}")
    with pytest.raises(BdganError, match=re.escape(str(tmp_path / "copy (1).json"))):
        store.ids()


def test_files_of_the_user_s_in_a_store_are_neither_replaced_nor_removed(tmp_path):
    store, photo = AnnotationStore(tmp_path), tmp_path / "robin_00000003.png"
    photo.write_bytes(b"mine")
    with pytest.raises(BdganError, match="is no mask of this store"):
        store.add(annotation())
    store.remove("robin_00000003")
    assert photo.read_bytes() == b"mine"
    photo.unlink()
    (tmp_path / "robin_00000003.backup.png").write_bytes(b"mine")
    store.add(annotation())
    store.remove("robin_00000003")
    assert (tmp_path / "robin_00000003.backup.png").read_bytes() == b"mine"


def test_pictures_of_the_user_s_own_are_neither_replaced_nor_removed(store):
    root, id = store.root, annotation().id
    pictures = [root / f"{id}.backup.png", root / f"{id}.mask.png", root / f"{id}.ABCDEF012345.png"]
    pictures += [root / f"{id}-2.png", root / f"{id}.0123456789abc.png", root / f"{id}x.png"]
    for path in pictures:
        path.write_bytes(b"mine")
    waiting = root / f"{id}.0123456789ab.png"
    waiting.write_bytes(b"of a save that was cut off")
    store.add(annotation(label=0))
    assert not waiting.exists()
    with pytest.raises(BdganError, match=rf"{id}-2\.png is no mask of this store"):
        store.add(annotation(id=f"{id}-2"))
    store.remove(id)
    assert [path.read_bytes() for path in pictures] == [b"mine"] * len(pictures)
    assert names(root) == sorted(path.name for path in pictures)


def test_a_picture_in_the_place_of_a_mask_is_neither_replaced_nor_removed(store):
    path, new = store.root / "robin_00000003.png", annotation(label=0)
    mask = path.read_bytes()
    path.write_bytes(b"mine")
    for change in (lambda: store.add(new), lambda: store.remove(new.id)):
        with pytest.raises(BdganError, match=r"robin_00000003\.png is no mask of this store"):
            change()
        assert path.read_bytes() == b"mine" and len(names(store.root)) == 2
    path.write_bytes(mask)
    store.add(new)
    assert same(store.load(new.id), new)


@pytest.mark.parametrize("id", ["con", "NUL", "Lpt1"])
def test_a_new_id_is_no_device_of_windows_and_old_ones_are_read(tmp_path, monkeypatch, id):
    store = AnnotationStore(tmp_path)
    with pytest.raises(BdganError, match="device on Windows"):
        store.add(annotation(id=id))
    with monkeypatch.context() as patch:
        patch.setattr("bdgan_lib.datasets.annotation_store.new_id", lambda id: id)
        store.add(annotation(id=id))
    store.add(annotation(id=id, label=0))
    assert store.ids() == [id] and same(store.load(id), annotation(id=id, label=0))
