"""The release's files come in paired by name; what has no partner or does not fit is listed."""

import io
import os
import re
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.core.image_codecs import encode_png
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
    if mode == "P":  # the colour, not the index, is the label
        image = Image.fromarray((mask(1) > 0).astype(np.uint8))
        image.putpalette([0, 0, 0, 9, 9, 9])
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


def pngs():
    """Kinds of PNG: mode or name -> the file's bytes."""
    noise = np.random.default_rng(3)
    grey = noise.choice(np.array([0, 0, 1, 2, 255], np.uint8), (8, 8))
    rgb = np.stack([grey * 0, grey * 0, grey], -1)  # (0, 0, 1) and (0, 0, 2) are black as grey
    alpha = noise.choice(np.array([0, 255], np.uint8), (8, 8))
    colours = [9, 9, 9, 0, 0, 0, 0, 0, 1, 200, 0, 0]
    palette = Image.fromarray(noise.integers(0, 4, (8, 8), np.uint8))
    palette.putpalette(colours)
    two = Image.fromarray(alpha // 255)
    two.putpalette(colours[:6])
    images = {
        "1": (Image.fromarray(grey).convert("1"), {}),
        "L": (Image.fromarray(grey), {}),
        "LA": (Image.fromarray(np.stack([grey, alpha], -1)), {}),
        "P": (palette, {}),
        "P of 2 bits": (palette, {"bits": 2}),
        "P of 4 bits": (palette, {"bits": 4}),
        "P of 1 bit": (two, {"bits": 1}),
        "P with tRNS": (palette, {"transparency": bytes([0, 255, 9, 0])}),
        "RGB": (Image.fromarray(rgb), {}),
        "RGB with tRNS": (Image.fromarray(rgb), {"transparency": (0, 0, 255)}),
        "RGBA": (Image.fromarray(np.dstack([rgb, alpha])), {}),
        "I;16": (Image.fromarray(grey.astype(np.uint16) * 200), {}),
        "L with tRNS": (Image.fromarray(grey), {"transparency": 255}),
    }
    files = {}
    for name, (image, options) in images.items():
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        files[name] = file.getvalue()
    for bits in (2, 4):  # grey, which Pillow does not write
        packed = np.packbits(np.unpackbits(grey[..., None], axis=-1)[..., -bits:].reshape(8, -1), axis=1)
        files[f"L of {bits} bits"] = png_of(packed, bits, 0)
    passes = [[grey[y, a[0] :: a[2]] for y in range(a[1], 8, a[3])] for a in ADAM7]
    files["interlaced"] = png_of([row for rows in passes for row in rows if row.size], 8, 1)
    return files


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_of(rows, bits, interlaced):
    """A grey PNG 8 x 8 of these rows of bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + np.asarray(row, np.uint8).tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PNGS = pngs()


@pytest.mark.parametrize("kind", PNGS)
def test_every_kind_of_png_is_read_as_the_release_reads_it(tmp_path, kind):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", None, latent(1))
    (tmp_path / "annotations/biggan512/n01440764/n01440764_0_1.png").write_bytes(PNGS[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = np.array(Image.open(io.BytesIO(PNGS[kind])).convert("L")) != 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(tmp_path, AnnotationStore(tmp_path / "store")).added == 1
    assert right.any() and not right.all()
    assert np.array_equal(AnnotationStore(tmp_path / "store").load("tench_00000001").mask, right)


@pytest.mark.parametrize(
    "data", [b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"", PNGS["L"][:50], b"BM" + bytes(60)]
)
def test_a_mask_that_is_no_png_is_refused(tmp_path, data):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", None, latent(1))
    (tmp_path / "annotations/biggan512/n01440764/n01440764_0_1.png").write_bytes(data)
    (why,) = run(tmp_path, AnnotationStore(tmp_path / "store")).refused
    assert "not a readable PNG" in why and "\n" not in why


@pytest.mark.slow
def test_every_one_of_imagenet_s_5000_annotations_is_kept(tmp_path):
    classes = [f"class {k}" for k in range(1000)]
    classes[264], classes[474] = "Cardigan", "cardigan"
    synsets = [f"n{k:08d}" for k in range(1000)]
    png = encode_png(np.eye(2, dtype=np.uint8))
    file = io.BytesIO()
    np.save(file, np.zeros((1, 2), np.float32))
    for k, synset in enumerate(synsets):
        for kind, end, data in (("annotations", "png", png), ("latents", "npy", file.getvalue())):
            folder = tmp_path / kind / "biggan512" / synset
            folder.mkdir(parents=True)
            for number in range(5):
                (folder / f"x_{k}_{number}.{end}").write_bytes(data)

    class Quick(AnnotationStore):  # without the disk, which would take minutes
        def __init__(self):
            self.root, self.kept = tmp_path / "store", {}

        def difference(self, annotation):
            return ""

        def add(self, annotation):
            self.kept[annotation.id] = annotation

    store = Quick()
    found = import_official_annotations(tmp_path, store, "0" * 64, tuple(classes), tuple(synsets), 2, 2)
    assert found.added == len(store.kept) == 5000 and not found.refused
    assert {store.kept[f"cardigan_0000000{n}"].class_id for n in range(5)} == {264}, "as in old stores"
    assert {store.kept[f"cardigan-474_0000000{n}"].class_id for n in range(5)} == {474}


def test_files_of_one_class_and_number_both_come_in_and_stay_apart(tmp_path):
    for k, stem in enumerate(("a_1_0", "b_1_0", "c_1_0")):
        put(tmp_path, SYNSETS[1], stem, mask(k), latent(k))
    store = AnnotationStore(tmp_path / "store")
    for _ in range(2):  # the second time changes nothing
        assert run(tmp_path, store).added == 3 == len(store)
        files = {a.extra["file"].split("/")[1]: a for a in store}
        for k, stem in enumerate(("a_1_0", "b_1_0", "c_1_0")):
            assert np.array_equal(files[stem].mask, mask(k) > 0)
            assert files[stem].latent == tuple(latent(k)[0].tolist())
    later = AnnotationStore(tmp_path / "later")
    for stem in ("a_1_0", "c_1_0"):  # b alone first
        (tmp_path / f"latents/biggan512/{SYNSETS[1]}/{stem}.npy").rename(tmp_path / f"{stem}.npy")
    assert run(tmp_path, later).added == 1
    for stem in ("a_1_0", "c_1_0"):
        (tmp_path / f"{stem}.npy").rename(tmp_path / f"latents/biggan512/{SYNSETS[1]}/{stem}.npy")
    assert run(tmp_path, later).added == 3 == len(later)
    assert later.load("goldfish_00000000").extra["file"].endswith("b_1_0")


def test_a_refusal_names_the_difference_and_prints_no_latent(tmp_path):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", mask(1), latent(1))
    store = AnnotationStore(tmp_path / "store")
    run(tmp_path, store)
    stored = store.load("tench_00000001")
    for change in (
        {"latent": tuple(float(n) for n in range(128))},
        {"latent": None},
        {"seed": 3},
        {"class_id": 2},
    ):
        with pytest.raises(BdganError) as error:
            store.add(replace(stored, **change))
        assert next(iter(change)) in str(error.value)
        said = str(error.value).replace(str(tmp_path), "")
        assert "127.0" not in said and "0.34" not in said and len(said) < 200
    other = replace(stored, generator_sha256="1" * 64)
    store.remove(stored.id)
    store.add(other)
    assert "generator_sha256" in run(tmp_path, store).refused[0] and len(store) == 1


def test_junk_beside_the_release_s_files_is_passed_over(tmp_path):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", mask(1), latent(1))
    for kind, end in (("annotations", "png"), ("latents", "npy")):
        (tmp_path / kind / "biggan512/n01440764" / f"._n01440764_0_1.{end}").write_bytes(b"\0")
    (tmp_path / "annotations/real-random-list.txt").write_bytes(b"\xef\xbb\xbfn01440764/x_0_7\r\n\r\n")
    found = run(tmp_path, AnnotationStore(tmp_path / "store"))
    assert (found.added, found.refused, found.without_mask, found.without_latent) == (1, [], [], [])
    assert found.real_without_mask == ["n01440764/x_0_7"]


def test_damaged_files_of_the_release_are_listed_and_raise_nothing(tmp_path):
    put(tmp_path, SYNSETS[0], "n01440764_0_1", mask(1), latent(1))
    store = AnnotationStore(tmp_path / "store")
    run(tmp_path, store)
    files = [path for path in tmp_path.glob("*/biggan512/*/*") if path.is_file()]
    good = {path: path.read_bytes() for path in files}
    archive = io.BytesIO()
    np.savez(archive, latent(1))
    refused = 0
    for seed in range(int(os.environ.get("BDGAN_FUZZ", "200"))):
        noise = np.random.default_rng(seed)
        path = files[seed % 2]
        data = bytearray(good[path])
        for place in noise.integers(0, len(data), noise.integers(1, 6)):
            data[place] = noise.integers(256)
        if seed % 3 == 0 and path.suffix == ".npy":  # a header that claims too much
            data = bytearray(
                good[path].replace(b"(1, 4)", [b"(9999999999, 4)", b"(1,4,)", b"(-1, 4)"][seed % 9 // 3])
            )
        if seed % 10 == 0:
            data = data[: noise.integers(len(data))]
        path.write_bytes(archive.getvalue() if seed % 20 == 1 else data)
        found = run(tmp_path, store)
        refused += len(found.refused)
        assert found.added + len(found.refused) == 1 and len(str(found)) < 1_000
        path.write_bytes(good[path])
    assert refused > 50 and store.load("tench_00000001").latent is not None
