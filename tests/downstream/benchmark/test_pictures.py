"""Sets to train on: what would teach a network something wrong is refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import MANIFEST, write_manifest, write_shard
from bdgan_lib.downstream.benchmark.pictures import training_set

CLASSES = ("cat", "mouse", "dog")


def synthetic(folder: Path, classes: tuple[str, ...], label: int = 1) -> Path:
    """A set of one image of each class."""
    folder.mkdir()
    pairs = [
        (
            LabelledSample(
                np.zeros((4, 5, 3), np.uint8), np.full((4, 5), label, np.uint8), k, k, sample_id(name, k)
            ),
            {"class_name": name},
        )
        for k, name in enumerate(classes)
    ]
    write_manifest(folder / MANIFEST, [write_shard(folder / "a.tar", pairs)], {"classes": classes})
    return folder


def pictures(folder: Path, label: int = 1, size: tuple[int, int] = (4, 5)) -> Path:
    """A folder of two images with labels; those of `b` are of the given size."""
    for id, shape in (("a", (4, 5)), ("b", size)):
        for part, pixels in (
            ("images", np.zeros((4, 5, 3), np.uint8)),
            ("labels", np.full(shape, label, np.uint8)),
        ):
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / f"{id}.png").write_bytes(encode_png(pixels))
    return folder


def other_size(folder: Path) -> Path:
    """Image and labels of `b` of 7 x 6 pixels."""
    (folder / "images/b.png").write_bytes(encode_png(np.zeros((6, 7, 3), np.uint8)))
    (folder / "labels/b.png").write_bytes(encode_png(np.ones((6, 7), np.uint8)))
    return folder


def test_sets_and_folders_are_joined(tmp_path, task):
    joined = training_set([synthetic(tmp_path / "s", CLASSES), pictures(tmp_path / "p", 2)], task, CLASSES)
    assert joined.images.shape == (4, 4, 5, 3) and joined.masks[:, 0, 0].tolist() == [1, 2, 2, 2]
    assert isinstance(joined.images, np.memmap), "a set may be larger than the memory"
    with pytest.raises(BdganError, match="expected one folder or more"):
        training_set([], task, CLASSES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_one_line(tmp_path, task, monkeypatch):
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr("bdgan_lib.downstream.benchmark.pictures.TemporaryFile", lambda **_: full)
        with pytest.raises(BdganError, match=r"no space for the images in .*set TMPDIR to another folder"):
            training_set([pictures(tmp_path / "p")], task, CLASSES)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda folder: synthetic(folder, ("cat", "violin", "dog")),
            r"expected 3 \(cat, mouse, dog\), got 3 \(cat, violin, dog\); the first .* class 1, 'violin'",
        ),
        (lambda folder: synthetic(folder, ("dog", "mouse", "cat")), "other classes than the task"),
        (lambda folder: synthetic(folder, ("cat",)), r"expected 3 \(cat, mouse, dog\), got 1 \(cat\)"),
        (lambda folder: synthetic(folder, CLASSES, 255), "data has no labelled pixel"),
        (lambda folder: pictures(folder, 255), "data has no labelled pixel"),
        (
            lambda folder: pictures(folder, size=(6, 7)),
            "data: image b has 5 × 4 pixels, its labels 7 × 6; expected the same size",
        ),
        (
            lambda folder: other_size(pictures(folder)),
            "one size, got 5 × 4 pixels and, in .*data, image b, 7 × 6",
        ),
    ],
)
def test_what_would_teach_something_wrong_is_refused(tmp_path, task, make, text):
    with pytest.raises(BdganError, match=text) as error:
        training_set([make(tmp_path / "data")], task, CLASSES)
    assert "\n" not in str(error.value)
