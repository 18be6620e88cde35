"""The release's files come in paired by name; what has no partner or does not fit is listed."""

import re

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.official_annotations import import_official_annotations

CLASSES, SYNSETS = ("tench", "goldfish", "great white shark"), ("n01440764", "n01443537", "n01484850")


def put(root, synset, stem, mask=None, latent=None):
    for kind in ("annotations", "latents"):
        (root / kind / "biggan512" / synset).mkdir(parents=True, exist_ok=True)
    if mask is not None:
        Image.fromarray(mask).save(root / "annotations/biggan512" / synset / f"{stem}.png")
    if latent is not None:
        np.save(root / "latents/biggan512" / synset / f"{stem}.npy", latent)


def mask(seed, side=8):
    return (np.random.default_rng(seed).random((side, side)) > 0.5).astype(np.uint8) * 255


def latent(seed):
    return np.random.default_rng(seed).normal(size=(1, 4)).astype(np.float32)


def run(root, store):
    return import_official_annotations(root, store, "0" * 64, CLASSES, SYNSETS, side=8, z_dim=4)


def test_masks_and_latents_are_paired_by_name_and_a_missing_one_shifts_nothing(tmp_path):
    for class_id, number in ((0, 1), (0, 2), (2, 7), (2, 8)):
        name = SYNSETS[class_id], f"{SYNSETS[class_id]}_{class_id}_{number}"
        put(tmp_path, *name, mask(number), latent(number))
    (tmp_path / "latents/biggan512/n01440764/n01440764_0_1.npy").unlink()
    (tmp_path / "annotations/biggan512/n01484850/n01484850_2_8.png").unlink()
    store = AnnotationStore(tmp_path / "store")
    found = run(tmp_path, store)
    assert found.added == 2 == len(store) and not found.refused
    assert found.without_latent == ["n01440764/n01440764_0_1"]
    assert found.without_mask == ["n01484850/n01484850_2_8"]
    for id, number, class_id in (("tench_00000002", 2, 0), ("great_white_shark_00000007", 7, 2)):
        annotation = store.load(id)
        assert np.array_equal(annotation.mask, mask(number) > 0)
        assert annotation.latent == tuple(latent(number)[0].tolist())
        assert (annotation.class_id, annotation.sampling) == (class_id, Sampling(z_std=0.9))
    assert "without latent: n01440764/n01440764_0_1" in str(found)
    assert run(tmp_path, store).added == 2, "importing again changes nothing"


BAD = {
    "n01440764_1_3": ("folder says", mask(0), latent(0)),
    "n01440764_0_4": ("expected a mask 8 x 8, got 9 x 9", mask(0, 9), latent(0)),
    "n01440764_0_5": (r"finite floats \[1, 4\], got float32 \[4\]", mask(0), latent(0)[0]),
    "n01440764_0_6": ("finite", mask(0), latent(0) * np.nan),
    "n01440764_0_x": ("_<class>_<n>", mask(0), latent(0)),
    "n01440764_9999_1": ("_<class>_<n>", mask(0), latent(0)),
    "n01440764_0_8": ("plain array", mask(0), np.array([[{"code": 1}]], dtype=object)),
}


@pytest.mark.parametrize("stem", BAD)
def test_what_does_not_fit_is_listed_with_its_reason(tmp_path, stem):
    why, bad_mask, bad_latent = BAD[stem]
    put(tmp_path, SYNSETS[0], stem, bad_mask, bad_latent)
    put(tmp_path, SYNSETS[0], "n01440764_0_1", mask(1), latent(1))
    found = run(tmp_path, AnnotationStore(tmp_path / "store"))
    assert found.added == 1 and len(found.refused) == 1
    assert re.match(f"n01440764/{stem}: .*{why}", found.refused[0])


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "1"])
def test_a_pixel_that_is_not_zero_is_foreground_in_every_kind_of_png(tmp_path, mode):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", None, latent(1))
    image = Image.fromarray(mask(1)).convert("L" if mode == "P" else mode)
    if mode == "P":  # the index, not the colour, is the label
        image = Image.fromarray((mask(1) > 0).astype(np.uint8))
        image.putpalette([9, 9, 9, 0, 0, 0])
    image.save(tmp_path / "annotations/biggan512/n01440764/n01440764_0_1.png")
    store = AnnotationStore(tmp_path / "store")
    run(tmp_path, store)
    assert np.array_equal(store.load("tench_00000001").mask, mask(1) > 0)


def test_the_list_of_real_images_names_imagenet_s_files(tmp_path):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", mask(1), latent(1))
    real = tmp_path / "annotations/real-random/n01440764"
    real.mkdir(parents=True)
    (real / "tench_0_00042.png").write_bytes(b"")
    (tmp_path / "annotations/real-random-list.txt").write_text(
        "n01440764/tench_0_00042\nn01440764/tench_0_7\n../../etc/passwd\n"
    )
    found = run(tmp_path, AnnotationStore(tmp_path / "store"))
    assert found.real == {"n01440764/tench_0_00042.png": "n01440764/n01440764_00042.JPEG"}
    assert found.real_without_mask == ["n01440764/tench_0_7", "../../etc/passwd"]


def test_a_folder_without_the_release_is_refused(tmp_path):
    with pytest.raises(BdganError, match="annotations/biggan512"):
        run(tmp_path, AnnotationStore(tmp_path / "store"))
