"""A folder of one's own pictures: which are taken, what they are called, and when one is not shown."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.annotation.photograph_folder import (
    PhotographFolder,
    checked_labels,
    photograph_id,
    photograph_source,
    photographs,
)
from bdgan_lib.annotation.session import Session
from bdgan_lib.annotation.widget import Annotator
from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.image_codecs import read_image
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore

from .conftest import item, polygon

LABELS = ["head", "body"]
SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[3] / "shared")
REAL = SHARED / "data" / "photographs_fgbg.zip"


def save(path: Path, height: int = 24, width: int = 32, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of two classes, and one of none."""
    folder = tmp_path / "pictures"
    for k, name in enumerate(("a/1.jpg", "a/1.png", "b/1.png", "top.webp")):
        save(folder / name, seed=k)
    return folder


def collected(folder, labels=LABELS, **more):
    losses = []
    items, source = photographs(folder, labels, losses=losses, **more)
    return items, source, losses


# -- which pictures are taken


def test_each_picture_is_an_item_of_its_folder_s_class(pictures):
    items, source, losses = collected(pictures, class_name="bird")
    assert [(a.extra["picture"], a.class_name) for a in items] == [
        ("a/1.jpg", "a"), ("a/1.png", "a"), ("b/1.png", "b"), ("top.webp", "bird"),
    ]  # fmt: skip
    assert len({a.id for a in items}) == 4 and not losses
    for a in items:
        assert a.classes == ("background", "head", "body") and (a.class_id, a.seed) == (0, 0)
        assert a.mask.shape == (24, 32) and not a.mask.any()
        assert np.array_equal(source(a), read_image(pictures / a.extra["picture"]))


def test_junk_hidden_files_and_stores_are_passed_over_and_other_files_are_named(pictures):
    for name in (
        ".DS_Store",
        "._top.png",
        ".thumbnails/a.png",
        "__MACOSX/a.png",
        "a/.hidden.png",
        "Thumbs.db",
    ):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(b"x")
    for name in ("journal.jsonl", "mask.png"):
        (pictures / "labels").mkdir(exist_ok=True)
        (pictures / "labels" / name).write_bytes(b"x")
    (pictures / "notes.txt").write_text("x")
    (pictures / "IMG_1.HEIC").write_bytes(b"x")
    items, _, losses = collected(pictures)
    assert len(items) == 4 and len(losses) == 1 and "2 files" in losses[0] and ".heic, .txt" in losses[0]


def test_broken_pictures_are_named_and_left_out(pictures):
    whole = save(pictures / "whole.jpg", 200, 300).read_bytes()
    png = save(pictures / "whole.png", 200, 300).read_bytes()
    broken = {"cut.jpg": whole[:-3000], "half.png": png[: len(png) // 2], "one.jpg": b"\xff",
              "empty.jpg": b"", "text.png": b"hello", "gif.jpg": b"GIF89a" + bytes(40)}  # fmt: skip
    for name, data in broken.items():
        (pictures / name).write_bytes(data)
    items, _, losses = collected(pictures)
    assert len(items) == 6 and sorted(loss.split(":")[0] for loss in losses) == sorted(broken)


def test_a_picture_is_upright_as_its_exif_data_say(pictures):
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = turn
        for suffix in ("jpg", "png", "webp", "tif"):
            save(pictures / f"turned/{turn}.{suffix}", 20, 30, exif=exif)
    items, source, losses = collected(pictures)
    turned = [a for a in items if a.class_name == "turned"]
    assert len(turned) == 32 and not losses
    for a in turned:
        upright = int(PurePath(a.extra["picture"]).stem) < 5
        assert source(a).shape == (*a.mask.shape, 3) == ((20, 30, 3) if upright else (30, 20, 3))


def test_the_sound_jpegs_and_pngs_of_a_big_folder_are_not_decoded(pictures, monkeypatch):
    (pictures / "top.webp").unlink()
    monkeypatch.setattr("bdgan_lib.core.image_codecs.decode_image", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(
        "bdgan_lib.annotation.photograph_folder.sha256_of", lambda *_: pytest.fail("read whole")
    )
    assert len(photographs(pictures, LABELS)[0]) == 3


def test_without_a_list_losses_are_warnings(pictures):
    (pictures / "text.png").write_bytes(b"hello")
    with pytest.warns(UserWarning, match=r"text\.png: not a readable picture"):
        photographs(pictures, LABELS)


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"x"}, {"a.png": b"x"}, {".DS_Store": b"x"}])
def test_a_folder_without_a_picture_is_refused(tmp_path, files):
    (tmp_path / "empty").mkdir()
    for name, data in files.items():
        (tmp_path / "empty" / name).write_bytes(data)
    with pytest.raises(BdganError, match="no picture to label"):
        photographs(tmp_path / "empty", LABELS, store=AnnotationStore(tmp_path / "labels"))
    assert not (tmp_path / "labels").exists()


def test_what_is_no_folder_is_refused(tmp_path, pictures):
    for folder in (tmp_path / "absent", pictures / "top.webp"):
        with pytest.raises(BdganError, match="expected a folder of pictures"):
            photographs(folder, LABELS)
    with pytest.raises(BdganError, match="address"):
        photographs("s3://bucket/pictures", LABELS)
    with pytest.raises(BdganError, match="another folder for the labels"):
        photographs(pictures, LABELS, store=AnnotationStore(pictures / "a" / ".."))
    with pytest.raises(BdganError, match="expected a folder of pictures, got none"):
        photographs(store=AnnotationStore(tmp_path / "labels"))


# -- ids and labels

PATHS = ["a/1.jpg", "b/1.png", "a/1.png", "a_1.jpg", "a-1.jpg", "a 1.jpg", "A/1.jpg", "a/1.JPG", "Ä/1.jpg",
         "猫.jpg", "犬.jpg", "x" * 250 + ".jpg", "x" * 251 + ".jpg", "--.png", "con.png", "a/b/c/d.tiff",
         "a.b.png", "<script>.png", "\udcff.jpg"]  # fmt: skip


def test_ids_are_safe_readable_and_each_path_has_its_own():
    ids = [photograph_id(PurePath(path)) for path in PATHS]
    assert [checked_id(id) for id in ids] == ids and len({id.lower() for id in ids}) == len(PATHS)
    assert photograph_id(PurePath("my cats/IMG 1.jpg")).startswith("my_cats_IMG_1_")
    assert photograph_id(PurePath("e\u0301.png")) == photograph_id(PurePath("\u00e9.png")), (
        "as systems spell it"
    )


def test_an_id_stays_when_other_pictures_come_and_go(pictures):
    before = {a.extra["picture"]: a.id for a in collected(pictures)[0]}
    save(pictures / "0/new.png")
    (pictures / "b/1.png").unlink()
    after = {a.extra["picture"]: a.id for a in collected(pictures)[0]}
    assert all(after[name] == before[name] for name in before.keys() & after.keys()) and len(after) == 4


@pytest.mark.parametrize(
    ("labels", "told"),
    [([], "expected a list of labels"), ("head", "expected a list of labels"),
     (["head", "head"], "'head' twice"), (["background"], "meaning"),
     (["unlabelled"], "meaning"), (["__ignore__"], "meaning"),
     (["a\nb"], "printable"), ([""], "printable"), ([3], "printable"),
     ([f"part {k}" for k in range(255)], "at most 254 labels, got 255")],
)  # fmt: skip
def test_labels_that_no_mask_can_hold_are_refused(labels, told, pictures):
    with pytest.raises(BdganError, match=told):
        photographs(pictures, labels)


def test_254_labels_are_as_many_as_a_mask_can_hold(pictures):
    assert len(checked_labels(f"part {k}" for k in range(254))) == 254
    assert len(photographs(pictures, [f"part {k}" for k in range(254)])[0][0].classes) == 255


# -- sessions


def label(pictures, store, id=None):
    """Draw on one picture, and close the session."""
    items, source, _ = collected(pictures, store=store)
    with Session(store, items, source, "me") as session:
        session.handle({"do": "open", "id": id or items[0].id})
        session.handle({**polygon(label=2), "done": True})
    return items


def test_labels_are_stored_and_a_later_session_goes_on(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    items = label(pictures, store)
    (stored,) = AnnotationStore(tmp_path / "labels")
    assert (stored.mask == 2).any() and stored.extra["picture"] == "a/1.jpg" and stored.annotator == "me"
    again, source, losses = collected(None, None, store=store)
    assert not losses and [a.id for a in again] == [a.id for a in items]
    with Session(store, again, source, "me") as session:
        assert session.status == {items[0].id: "labelled"} and session.state.history.labels.any()
        session.handle({"do": "grabcut", "box": [2, 2, 20, 20]})
        session.handle({"do": "next"})
        assert np.array_equal(session.picture(session.item), read_image(pictures / "a/1.png"))


def test_a_store_may_lie_among_the_pictures(pictures):
    store = AnnotationStore(pictures / "a/labels")
    label(pictures, store)
    assert len(collected(pictures)[0]) == len(collected(pictures, store=store)[0]) == 4


def test_other_labels_than_those_of_the_store_are_refused_by_name(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    photographs(pictures, LABELS, store=store)
    before = (store.root / "photographs.jsonl").read_bytes()
    for other in (["head"], ["body", "head"], ["head", "body", "tail"]):
        with pytest.raises(BdganError, match="head, body, got " + ", ".join(other)):
            photographs(pictures, other, store=store)
    assert (store.root / "photographs.jsonl").read_bytes() == before


def test_a_picture_that_was_changed_since_it_was_labelled_is_told_and_not_shown(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    items = label(pictures, store)
    stored = {path.name: path.read_bytes() for path in store.root.glob(f"{items[0].id}.*")}
    data = (pictures / "a/1.jpg").read_bytes()
    save(pictures / "a/1.jpg", seed=9)
    save(pictures / "a/1.png", seed=9)  # it has no label
    again, _, (told,) = collected(pictures, store=store)
    assert [a.id for a in again] == [a.id for a in items[1:]] and told.startswith("a/1.jpg: it was changed")
    with pytest.raises(BdganError, match=r"^a/1\.jpg: it was changed since it was labelled; restore it"):
        Session(store, photographs(pictures, LABELS)[0], PhotographFolder(pictures), "me")
    assert {name: (store.root / name).read_bytes() for name in stored} == stored
    (pictures / "a/1.jpg").write_bytes(data)
    assert len(collected(pictures, store=store)[0]) == 4


def test_strokes_are_not_drawn_on_another_picture_though_the_label_was_removed(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    first, journal = label(pictures, store)[0].id, store.root / "journal.jsonl"
    label_of, data = store.load(first), (pictures / "a/1.jpg").read_bytes()
    for path in store.root.glob(f"{first}.*"):
        path.unlink()
    save(pictures / "a/1.jpg", seed=9)
    before = journal.read_bytes()
    again, _, lines = collected(pictures, store=store)
    assert first not in [a.id for a in again] and "a/1.jpg: it was changed" in str(lines)
    changed = photographs(pictures, LABELS)[0]
    with pytest.raises(BdganError, match=r"^a/1\.jpg: it was changed since it was labelled; restore it"):
        Session(store, changed, PhotographFolder(pictures), "me")
    assert journal.read_bytes() == before and first not in store.ids()

    store.add(
        replace(changed[0], mask=np.ones_like(changed[0].mask), annotator="other")
    )  # of the new picture
    assert first in [a.id for a in collected(pictures, store=store)[0]]
    for _ in range(2):  # and with what that session wrote
        with Session(store, photographs(pictures, LABELS)[0], PhotographFolder(pictures), "me") as session:
            session.handle({"do": "open", "id": first})
            assert (session.state.history.labels == 1).all()
    for path in store.root.glob(f"{first}.*"):
        path.unlink()
    journal.write_bytes(before)
    (pictures / "a/1.jpg").write_bytes(data)
    with Session(store, photographs(pictures, LABELS)[0], PhotographFolder(pictures), "me"):
        assert np.array_equal(store.load(first).mask, label_of.mask), "restored, it has its label again"


def test_what_stands_in_the_journal_s_place_is_named(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    (store.root / "journal.jsonl").mkdir(parents=True)
    items, source, _ = collected(pictures, store=store)
    with pytest.raises(BdganError, match=r"journal\.jsonl is no plain file, or a link; move it away"):
        Session(store, items, source, "me")


def test_a_picture_that_changes_while_it_is_open_is_refused_and_named(pictures):
    items, source, _ = collected(pictures)
    assert len(items[1].generator_sha256) == 64
    save(pictures / "a/1.png", seed=9)
    with pytest.raises(BdganError, match=r"1\.png was changed since it was opened"):
        source(items[1])
    (pictures / "b/1.png").unlink()
    for gone in (items[2], replace(items[1], id=items[2].id)):  # its sha256 is not known, or known
        with pytest.raises(BdganError, match=r"1\.png cannot be read"):
            source(gone)
    with pytest.raises(BdganError, match="a generator's sample"):
        source(item())


def test_a_picture_that_changes_its_size_before_it_is_opened_is_not_drawn_on(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    items, source, _ = collected(pictures, store=store)
    save(pictures / "a/1.png", 20, 30)
    with Session(store, items, source, "me") as session:
        widget = Annotator(session)
        widget._take(widget, {"view": "v", "n": 1, "command": {"do": "open", "id": items[1].id}}, [])
        message = widget.state["message"]
        assert "expected 32 x 24 pixels" in message and "got 30 x 20; read the folder again" in message
        assert not widget.picture and widget.state["size"] == [24, 32]


def test_labels_without_a_picture_are_told_and_a_moved_folder_is_recorded(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    items = label(pictures, store)
    moved = pictures.rename(tmp_path / "moved")
    again, _, losses = collected(moved, None, store=store)
    assert [a.id for a in again] == [a.id for a in items] and not losses
    assert json.loads((store.root / "photographs.jsonl").read_text())["folder"] == str(moved.resolve())
    (moved / "a/1.jpg").unlink()
    assert (
        "1 labels" in collected(moved, store=store)[2][0]
        and items[0].id in collected(moved, store=store)[2][0]
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folder": 3, "labels": ["a"], "class": "x"}',
                                  '{"folder": "a", "labels": [], "class": "x"}',
                                  '{"folder": "a", "labels": [3], "class": "x"}'])  # fmt: skip
def test_damaged_settings_are_refused(tmp_path, pictures, text):
    store = AnnotationStore(tmp_path / "labels")
    store.root.mkdir()
    (store.root / "photographs.jsonl").write_text(text)
    with pytest.raises(BdganError, match=r"photographs\.jsonl"):
        photographs(pictures, LABELS, store=store)


def test_where_the_pictures_of_a_store_are(tmp_path, pictures):
    store = AnnotationStore(tmp_path / "labels")
    assert photograph_source(store) is None
    items = label(pictures, store)
    assert photograph_source(store).folder == pictures.resolve()
    moved = pictures.rename(tmp_path / "moved")
    with pytest.raises(BdganError, match=r"no longer in .*pictures; give their folder"):
        photograph_source(store)
    source = photograph_source(store, moved)
    assert source(store.load(items[0].id)).shape == (24, 32, 3)
    (store.root / "photographs.jsonl").unlink()
    with pytest.raises(BdganError, match="labels of photographs; give their folder"):
        photograph_source(store)
    other = AnnotationStore(tmp_path / "other")
    other.add(replace(item(), mask=np.ones((32, 32), np.uint8)))
    assert photograph_source(other) is None
    with pytest.raises(BdganError, match="no labels of photographs"):
        photograph_source(other, moved)
    with pytest.raises(BdganError, match="labels of a generator's samples"):
        photographs(moved, LABELS, store=other)
    assert not (other.root / "photographs.jsonl").exists()


@pytest.mark.skipif(not REAL.is_file(), reason="the shared photographs are not here")
def test_real_photographs_are_labelled(tmp_path):
    with zipfile.ZipFile(REAL) as archive:
        archive.extractall(tmp_path / "real")
    items, source, losses = collected(
        tmp_path / "real", ["object"], store=AnnotationStore(tmp_path / "labels")
    )
    assert not losses and {a.class_name for a in items} == {"images", "masks"}
    some = [a for a in items if a.class_name == "images"][::25]
    for a in some:
        assert source(a).shape == (*a.mask.shape, 3)
