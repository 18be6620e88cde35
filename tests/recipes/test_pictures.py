"""Pictures as people have them: what is read, what is left out and why, what is refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bdgan_lib.core.types import BdganError
from bdgan_lib.recipes.pictures import read_picture_set, views

SHARED = Path(__file__).parents[3] / "shared/data/eth80_128.zip"


def picture(seed: int, size: tuple[int, int] = (80, 60)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), np.uint8)
    return Image.fromarray(noise).resize(size)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten sound pictures each, in five formats; one name has a space and umlauts."""
    place = tmp_path / "pictures"
    for k, name in enumerate(("apple", "grüner Käfer")):
        (place / name).mkdir(parents=True)
        for n in range(10):
            suffix = ("jpg", "png", "webp", "bmp", "tiff")[n % 5]
            picture(10 * k + n).save(place / name / f"{n:02d}.{suffix}")
    return place


def test_every_sound_picture_is_a_square_of_its_class(folder):
    found = read_picture_set(folder, 32)
    assert found.classes == ("apple", "grüner Käfer") and found.dropped == ()
    assert found.images.shape == (20, 32, 32, 3) and np.bincount(found.class_ids).tolist() == [10, 10]
    assert found.names[0] == "apple/00.jpg" and found.names[-1] == "grüner Käfer/09.tiff"


def test_what_is_no_use_is_left_out_by_name(folder):
    (folder / "apple/broken.jpg").write_bytes((folder / "apple/00.jpg").read_bytes()[:300])
    (folder / "apple/notes.txt").write_text("a note")
    (folder / "apple/empty.png").write_bytes(b"")
    picture(50, (40, 10)).save(folder / "apple/tiny.png")
    (folder / "apple/copy.jpg").write_bytes((folder / "apple/00.jpg").read_bytes())
    huge = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(huge, "PNG")
    (folder / "apple/huge.png").write_bytes(huge.getvalue())
    (folder / "apple/.hidden.png").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    found = read_picture_set(folder, 32)
    reasons = dict(found.dropped)
    assert set(reasons) == {
        f"apple/{n}" for n in ("broken.jpg", "notes.txt", "empty.png", "tiny.png", "copy.jpg", "huge.png")
    }
    assert reasons["apple/copy.jpg"] == "the same picture as apple/00.jpg"
    assert "40 x 10 pixels are too few" in reasons["apple/tiny.png"] and "144" not in found.names
    assert len(found.images) == 20


def test_grey_cmyk_palettes_and_turned_pictures_become_rgb(folder):
    grey, turned = picture(60).convert("L"), picture(61)
    grey.save(folder / "apple/grey.png")
    picture(62).convert("CMYK").save(folder / "apple/cmyk.jpg")
    picture(63).convert("P").save(folder / "apple/palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: a quarter turn
    turned.save(folder / "apple/turned.png", exif=exif)
    found = read_picture_set(folder, 60)
    assert found.dropped == ()
    at = found.names.index("apple/turned.png")
    upright = np.asarray(turned)[:, 10:70].transpose(1, 0, 2)[:, ::-1]  # the centre square, turned clockwise
    assert np.array_equal(found.images[at], upright)
    assert np.ptp(found.images[found.names.index("apple/grey.png")], 2).max() == 0


def test_a_zip_reads_as_its_folder_and_masks_beside_images_are_no_class(folder, tmp_path):
    plain, nested = tmp_path / "plain.zip", tmp_path / "nested.zip"
    with zipfile.ZipFile(plain, "w") as one, zipfile.ZipFile(nested, "w") as other:
        for path in sorted(folder.rglob("*.*")):
            inside = path.relative_to(folder)
            one.write(path, inside)
            other.write(path, Path("images") / inside)
            other.write(path, Path("masks") / inside)
        one.writestr("README.txt", "no class")
    for path in (plain, nested):
        found, wanted = read_picture_set(path, 32), read_picture_set(folder, 32)
        assert found.names == wanted.names and found.classes == wanted.classes
        assert np.array_equal(found.images, wanted.images)


def zipped(folder: Path, path: Path, how: int = zipfile.ZIP_DEFLATED, above: str = "") -> Path:
    with zipfile.ZipFile(path, "w", how) as file:
        for n, picture in enumerate(sorted(folder.rglob("*.*"))):
            inside = picture.relative_to(folder).as_posix()
            file.writestr(f"{above}{inside}" if n % 2 else inside, picture.read_bytes())
    return path


@pytest.mark.parametrize("above", ["./", "/", "././"])
def test_a_zip_s_paths_are_read_however_they_are_written(folder, tmp_path, above):
    path = zipped(folder, tmp_path / "a.zip", above=above)
    if above == "./":
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(".", "no file")
    assert read_picture_set(path, 32).names == read_picture_set(folder, 32).names


@pytest.mark.parametrize(
    "how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_zip_is_read_as_far_as_it_goes_or_refused(folder, tmp_path, how):
    sound, noise = zipped(folder, tmp_path / "sound.zip", how).read_bytes(), np.random.default_rng(how)
    refused = 0
    for n in range(60):
        data = bytearray(sound)
        for place in noise.integers(0, len(data), 1 + n % 9):
            data[place] = noise.integers(256)
        if n % 5 == 0:  # the table of contents, which is at the end
            data[int(noise.integers(len(data) - 400, len(data)))] ^= 255
        (tmp_path / "damaged.zip").write_bytes(data)
        try:
            found = read_picture_set(tmp_path / "damaged.zip", 32)
        except BdganError:
            refused += 1
        else:
            assert len(found.names) + len(found.dropped) <= 20
    assert refused < 60


def test_an_encrypted_member_is_told_as_one(folder, tmp_path):
    path = zipped(folder, tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    (dropped,) = read_picture_set(path, 32).dropped
    assert dropped[0] == "apple/00.jpg" and "encrypted" in dropped[1]


@pytest.mark.parametrize("name", ["\u200b", "new\nline", "\x1b[31m", "\udcc4pfel", "a\u2028b"])
def test_a_class_that_no_list_can_name_is_refused_before_anything_else(folder, name):
    (folder / "apple").rename(folder / name)
    with pytest.raises(BdganError, match="a folder's name is its class; expected a ") as refused:
        read_picture_set(folder, 32)
    assert str(refused.value).isprintable()


def test_what_cannot_be_trained_on_is_refused_by_name(folder, tmp_path):
    with pytest.raises(BdganError, match=r"expected a folder or a zip of pictures, got .*none"):
        read_picture_set(tmp_path / "none", 32)
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(BdganError, match="neither"):
        read_picture_set(tmp_path / "text.zip", 32)
    with pytest.raises(BdganError, match="two or more; it has 0"):
        read_picture_set(folder / "apple", 32)
    (folder / "few").mkdir()
    for n in range(3):
        picture(70 + n).save(folder / f"few/{n}.png")
    (folder / "few/broken.png").write_bytes(b"no")
    with pytest.raises(
        BdganError, match=r"class 'few' has 3 usable pictures of 4; .*left out: few/broken\.png"
    ):
        read_picture_set(folder, 32)


def test_names_that_differ_in_how_letters_are_composed_are_told(folder):
    (folder / "gru\u0308ner Ka\u0308fer").mkdir()  # as macOS writes it
    picture(80).save(folder / "gru\u0308ner Ka\u0308fer/0.png")
    with pytest.raises(BdganError, match="two folders named 'grüner Käfer'"):
        read_picture_set(folder, 32)


def test_held_out_pictures_are_the_last_of_each_class_and_none_is_lost(folder):
    whole = read_picture_set(folder, 32)
    training, unseen = whole.split(0.2)
    assert {*training.names} | {*unseen.names} == {*whole.names} and not {*training.names} & {*unseen.names}
    assert unseen.names == tuple(f"{k}/0{n}.{s}" for k in whole.classes for n, s in ((8, "bmp"), (9, "tiff")))
    assert len(whole.split(0.001)[1].images) == 2, "one of each class at least"


def test_views_are_crops_in_turn_and_depend_on_seed_and_place_alone():
    ramp = np.arange(60, 140, dtype=np.uint8)
    images = np.stack(
        [np.broadcast_to(ramp[:, None, None], (80, 80, 3)), np.full((80, 80, 3), 200, np.uint8)]
    )
    crops, place, how = views(images, 40, 64)
    assert crops.shape == (40, 64, 64, 3) and place.tolist() == [0, 1] * 20
    again, _, _ = views(images, 12, 64)
    assert np.array_equal(again, crops[:12]) and not np.array_equal(views(images, 12, 64, seed=1)[0], again)
    flat = crops[1::2].reshape(20, -1)
    assert np.all(flat.min(1) == flat.max(1)) and flat.min() > 150 and np.ptp(flat[:, 0]) > 10, (
        "light changes"
    )
    heights = crops[::2, -1, 0, 0].astype(int) - crops[::2, 0, 0, 0]
    assert heights.min() > 50 and heights.max() < 90, "0.8 to 1 of the side, with contrast"
    scale, _, _, _, contrast, _ = how[::2].T
    np.testing.assert_allclose(heights, 79 * (0.8 + 0.2 * scale) * (0.9 + 0.2 * contrast), atol=3)
    np.testing.assert_allclose(
        flat[:, 0], 72 * (0.9 + 0.2 * how[1::2, 4]) + 128 + 24 * how[1::2, 5] - 12, atol=0.51
    )
    sideways = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (80, 80, 3)))[None]
    crops, _, how = views(sideways, 30, 64)
    falls = crops[:, 0, 0, 0] > crops[:, 0, -1, 0]
    assert np.array_equal(falls, how[:, 3] < 0.5) and 0 < falls.sum() < 30


@pytest.mark.skipif(not SHARED.exists(), reason="needs the photographs beside the repository")
def test_photographs_of_eth80_read_whole():
    found = read_picture_set(SHARED, 80)
    assert len(found.images) == 3_280 and len(found.classes) == 8 and found.dropped == ()
    assert np.bincount(found.class_ids).tolist() == [410] * 8
