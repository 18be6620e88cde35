"""Laws of pictures: ranges convert exactly, colours stay apart, files appear whole or not at all."""

import ast
import errno
import io
import os
import struct
import zlib
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import bdgan_lib
from bdgan_lib.core.image_codecs import (
    decode_encoded,
    decode_image,
    decode_labels,
    decode_png,
    encode_jpeg,
    encode_png,
    open_picture,
    read_image,
    read_labels,
    upright_size,
)
from bdgan_lib.core.image_tensors import from_uint8, to_uint8
from bdgan_lib.core.io import atomic_file, write_atomic
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets import official_annotations
from bdgan_lib.datasets.formats.shapes import checked_size
from bdgan_lib.visualization.colors import colour_mask, overlay, palette
from bdgan_lib.visualization.grids import grid

ALL_BYTES = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
pictures = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
masks = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_byte_survives_the_way_to_the_range_of_the_generator_and_back():
    x = from_uint8(ALL_BYTES)
    assert x.dtype == torch.float32 and x.shape == (1, 3, 16, 16)
    assert x.min() == -1 and x.max() == 1
    assert np.array_equal(to_uint8(x), ALL_BYTES)
    assert torch.equal(from_uint8(ALL_BYTES[0]), x)


def test_conversion_rounds_to_the_nearest_byte_and_clips():
    x = torch.linspace(-1.5, 1.5, 999).reshape(1, 3, 9, 37)
    expected = np.clip(np.rint((x.double().numpy() + 1) / 2 * 255), 0, 255).transpose(0, 2, 3, 1)
    assert np.abs(to_uint8(x) - expected).max() <= 1  # 1 only where float32 falls on the other side of a half
    assert np.mean(to_uint8(x) == expected) > 0.99


def test_half_precision_images_convert_too():
    assert np.array_equal(to_uint8(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16)), np.full((1, 2, 2, 3), 255))


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4), torch.full((1, 3, 2, 2), torch.nan)]
)
def test_what_is_no_image_is_refused(images):
    with pytest.raises(BdganError, match="expected"):
        to_uint8(images)


@pytest.mark.parametrize(
    "images", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)]
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(BdganError, match=r"expected (a )?uint8"):
        from_uint8(images)


def test_the_range_is_converted_in_one_file_only():
    """House rule 5, read from the syntax: 127.5 stands in image_tensors.py and nowhere else."""
    root = Path(bdgan_lib.__file__).parent
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == 127.5
    }
    assert users == {"core/image_tensors.py"}


def test_colours_are_distinct_and_a_smaller_palette_starts_a_larger_one():
    colours = palette(255)
    assert colours.dtype == np.uint8 and len(np.unique(colours, axis=0)) == 255
    assert not colours[0].any()
    for n in (1, 2, 8, 9, 100):
        assert np.array_equal(palette(n), colours[:n])


def test_the_first_colours_stay_apart_for_red_blind_and_green_blind_readers():
    """Viénot, Brettel and Mollon (1999): what a dichromat sees, in linear RGB."""
    linear = (palette(8) / 255.0) ** 2.2
    red_blind = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    green_blind = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    for sight in (red_blind, green_blind):
        seen = 255 * np.clip(linear @ sight.T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 1e9 * np.eye(8)
        assert apart.min() > 20


@given(masks)
def test_a_mask_is_coloured_label_by_label(mask):
    coloured, colours = colour_mask(mask), palette(256)
    for label in np.unique(mask):
        expected = (128, 128, 128) if label == 255 else colours[label]
        assert (coloured[mask == label] == expected).all()


def test_a_label_beyond_n_is_named():
    mask = np.array([[0, 1], [255, 2]], np.uint8)
    assert np.array_equal(colour_mask(mask, 3), colour_mask(mask))
    with pytest.raises(BdganError, match=r"labels 0 to 1 or 255, got 2"):
        colour_mask(mask, 2)


@given(pictures)
def test_an_overlay_leaves_the_ground_alone_and_goes_from_image_to_colour(image):
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[::2] = 1
    assert np.array_equal(overlay(image, mask, 0.0), image)
    assert np.array_equal(overlay(image, mask, 0.7)[1::2], image[1::2])
    assert np.array_equal(overlay(image, mask, 1.0)[::2], colour_mask(mask)[::2])


@pytest.mark.parametrize(
    ("count", "columns", "pad", "scale"), [(1, 1, 0, 1), (5, 3, 2, 1), (6, 3, 1, 2), (2, 9, 0, 3)]
)
def test_every_picture_stands_whole_in_its_cell(count, columns, pad, scale):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 250, (4, 6, 3), dtype=np.uint8) for _ in range(count)]
    sheet = grid(images, columns, pad, scale)
    columns = min(columns, count)
    for i, image in enumerate(images):
        y, x = pad + i // columns * (4 * scale + pad), pad + i % columns * (6 * scale + pad)
        assert np.array_equal(sheet[y : y + 4 * scale : scale, x : x + 6 * scale : scale], image)
    shown = count * 24 * scale**2
    assert (sheet == 255).all(-1).sum() == sheet.shape[0] * sheet.shape[1] - shown


@pytest.mark.parametrize(("sizes", "columns"), [([], 1), ([4, 5], 2), ([4], 0)])
def test_a_sheet_of_nothing_or_of_unequal_pictures_is_refused(sizes, columns):
    with pytest.raises(BdganError, match="expected one image or more"):
        grid([np.zeros((side, 4, 3), np.uint8) for side in sizes], columns)


@given(st.one_of(pictures, masks))
def test_a_png_gives_back_the_array(array):
    data = encode_png(array)
    assert np.array_equal(decode_png(data), array) and decode_png(data).dtype == np.uint8
    assert encode_png(array.copy(order="F")) == data


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_what_a_png_cannot_hold_is_refused(array):
    with pytest.raises(BdganError, match=r"expected (a )?uint8"):
        encode_png(array)


def test_a_damaged_png_is_a_user_error():
    data = encode_png(ALL_BYTES[0])
    for damaged in (b"", b"GIF89a", data[: len(data) // 2], b"\0" + data[1:]):
        with pytest.raises(BdganError, match="not a readable PNG"):
            decode_png(damaged)


def saved(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def small_png(bits, colour, width, height, rows):
    """A PNG of any header, which may be a lie."""
    pieces = ((b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
              (b"IDAT", zlib.compress(rows)), (b"IEND", b""))  # fmt: skip
    body = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in pieces)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_every_kind_of_picture_becomes_8_bit_rgb():
    rgb = np.stack([ALL_BYTES[0, ..., 0], np.full((16, 16), 40, np.uint8), ALL_BYTES[0, ..., 0].T], -1)
    grey = rgb[..., 0].astype(np.uint16)
    assert np.array_equal(decode_image(saved(Image.fromarray(grey * 257))), ALL_BYTES[0]), (
        "scaled, not clipped"
    )
    assert np.array_equal(
        decode_image(saved(Image.fromarray(grey.astype(np.int32) * 257), "TIFF")), ALL_BYTES[0]
    )
    assert np.array_equal(
        decode_image(small_png(16, 2, 1, 1, bytes([0, 9, 0, 99, 0, 200, 0]))), [[[9, 99, 200]]]
    )
    palette = Image.fromarray(rgb[..., 0])
    palette.putpalette(np.arange(768) // 3)
    assert np.array_equal(decode_image(saved(palette)), ALL_BYTES[0])
    inks = Image.fromarray(255 - rgb).convert("RGB")
    cmyk = Image.merge("CMYK", (*inks.split(), Image.new("L", (16, 16))))
    assert np.array_equal(decode_image(saved(cmyk, "TIFF")), rgb)
    assert np.abs(decode_image(saved(cmyk, "JPEG")).astype(int).mean() - rgb.mean()) < 5
    assert np.array_equal(decode_image(saved(Image.fromarray(rgb).convert("RGBA"))), rgb)


@pytest.mark.parametrize("side", [9_000, 12_000, 30_000])  # Pillow is silent, warns, fails
@pytest.mark.filterwarnings("error")
def test_a_picture_that_claims_too_many_pixels_is_refused_unread(side, tmp_path):
    data, limit = small_png(8, 0, side, side, b"\0" * 99), Image.MAX_IMAGE_PIXELS
    text = rf"not a readable .*: it claims {side} x {side} pixels, above 67,108,864; scale it down"
    for decode in (decode_image, decode_png, decode_labels):
        with pytest.raises(BdganError, match=text):
            decode(data)
    path = tmp_path / "images" / "large.png"
    path.parent.mkdir()
    path.write_bytes(data)
    for read in (read_image, read_labels):
        with pytest.raises(BdganError, match=rf"{text}; the file is .*large\.png"):
            read(path)
    with pytest.raises(BdganError, match=f"it claims {side} x {side} pixels, above 67,108,864"):
        checked_size("large", (None, None), tmp_path)
    with pytest.raises(BdganError, match=f"expected a mask 64 x 64, got {side} x {side}"):
        official_annotations._mask(path, 64)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pictures_that_threads_open_leave_pillow_s_limit_as_it_was():
    data, limit = small_png(8, 0, 9_000, 9_000, b"\0" * 99), Image.MAX_IMAGE_PIXELS
    with ThreadPool(4) as pool:
        sizes = pool.map(lambda _: open_picture(io.BytesIO(data), ("PNG",)).size, range(200))
    assert sizes == [(9_000, 9_000)] * 200 and limit == Image.MAX_IMAGE_PIXELS


def test_a_truncated_or_floating_picture_is_refused():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    floats = saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    wrong = [saved(noise, kind)[:-900] for kind in ("PNG", "JPEG", "WEBP", "BMP")] + [floats, b""]
    for data in wrong:
        with pytest.raises(BdganError, match="not a readable picture"):
            decode_image(data)


@pytest.mark.parametrize("kind", ["GIF", "PPM", "EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "JPEG2000"])
def test_a_picture_in_another_format_is_refused(kind):
    data = saved(Image.new("RGB", (16, 16)), kind)
    with pytest.raises(BdganError, match=r"not a readable picture .* expected JPEG, PNG, WEBP, TIFF, BMP"):
        decode_image(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_picture_in_a_format_of_people_is_read(kind):
    assert decode_image(saved(Image.new("RGB", (16, 9)), kind)).shape == (9, 16, 3)


def test_every_decoder_names_its_formats():
    """Else Pillow tries all that it has, and some of them start programs."""
    root = Path(bdgan_lib.__file__).parent
    free = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("Image.open", "cv2.imread", "cv2.imdecode")
        if "formats" not in {keyword.arg for keyword in node.keywords}
    }
    assert free <= {"datasets/official_annotations.py"}  # the masks of the release


@given(st.one_of(pictures, masks))
def test_what_is_encoded_here_is_plain(array):
    assert np.array_equal(decode_encoded(encode_png(array), "PNG"), array)
    if array.ndim == 3:
        decoded = decode_encoded(encode_jpeg(array), "JPEG")
        assert np.array_equal(decoded, decode_image(encode_jpeg(array)))


def test_label_ids_come_out_of_every_kind_of_png():
    for bits, row in ((1, 0b01_00_00_00), (2, 0b00_11_00_00), (4, 0b0000_1101)):
        assert decode_labels(small_png(bits, 0, 2, 1, bytes([0, row]))).tolist() == [
            [0, (1, 3, 13)[bits // 2]]
        ]
        assert decode_labels(small_png(8, 0, 2, 1, bytes([0, 3, 255]))).tolist() == [[3, 255]]
    ids = np.array([[0, 7, 255]], np.uint16)
    assert np.array_equal(decode_labels(saved(Image.fromarray(ids))), ids)
    palette = Image.fromarray(ids.astype(np.uint8))
    palette.putpalette([9] * 768)
    assert np.array_equal(decode_labels(saved(palette)), ids)
    for wrong in (Image.fromarray(ids + 1), Image.new("RGB", (2, 2)), Image.new("LA", (2, 2))):
        with pytest.raises(BdganError, match="expected"):
            decode_labels(saved(wrong))


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.bin"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    write_atomic(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_when_the_disk_is_full_the_old_file_stays_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a.bin") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_the_size_of_a_file_is_that_of_the_image_it_becomes(tmp_path):
    """Of plain, turned and odd files; what turns a PNG may stand after its pixels."""
    exif = Image.Exif()
    exif[0x112] = 8
    picture = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    picture.save(tmp_path / "plain.png")
    png = (tmp_path / "plain.png").read_bytes()
    turn = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(turn)) + b"eXIf" + turn + struct.pack(">I", zlib.crc32(b"eXIf" + turn))
    (tmp_path / "late.png").write_bytes(png[:-12] + chunk + png[-12:])
    picture.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "appended.jpg").write_bytes((tmp_path / "turned.jpg").read_bytes() + b"trailer")
    Image.fromarray(np.zeros((20, 30), np.uint16)).save(tmp_path / "grey.png")
    Image.new("CMYK", (30, 20)).save(tmp_path / "cmyk.jpg")
    Image.new("F", (30, 20)).save(tmp_path / "float.tif")
    for path in tmp_path.iterdir():
        if path.stem == "float":
            with pytest.raises(BdganError, match=r"float\.tif"):
                upright_size(path)
        else:
            turned = path.stem in ("late", "turned", "appended")
            assert upright_size(path) == read_image(path).shape[:2] == ((30, 20) if turned else (20, 30)), (
                path
            )
