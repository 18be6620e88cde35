"""Data sets as an attacker would make them: every sum fits."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from bdgan_lib.core.image_codecs import encode_jpeg, encode_png
from bdgan_lib.core.io import sha256_of
from bdgan_lib.datasets.shards import MANIFEST, write_manifest
from bdgan_lib.datasets.tar_format import plain_header

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
MASK = np.tri(16, dtype=np.uint8)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(/tmp/x) (w) file showpage\n%%EOF\n"
RECORD = {"class_id": 0, "class_name": "robin", "id": "robin_00000000", "seed": 0}


def saved(kind: str, image=IMAGE, **settings) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **settings)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    return data[:33] + chunk(kind, content) + data[33:]


def wrong_checksum(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:-1] + bytes([data[-1] ^ 1])


EXIF = Image.Exif()
EXIF[0x0112] = 6  # turned
PNG, JPG, GREY = encode_png(IMAGE), encode_jpeg(IMAGE), encode_png(MASK)
TWO = [Image.fromarray(IMAGE), Image.fromarray(IMAGE[::-1])]
INDEXED = io.BytesIO()
Image.fromarray(MASK).convert("P").save(INDEXED, "PNG")
PALETTE = INDEXED.getvalue()
ANIMATION = chunk(b"acTL", struct.pack(">II", 2, 0))
IMAGES = {  # name -> suffix and bytes of an image that no reader may take
    "postscript": (".jpg", POSTSCRIPT),
    "postscript in a PNG": (".png", POSTSCRIPT),
    "binary postscript": (".jpg", b"\xc5\xd0\xd3\xc6\x1e\0\0\0\x63\0\0\0" + bytes(18) + POSTSCRIPT),
    "GIF": (".jpg", saved("GIF")),
    "PNG as JPEG": (".jpg", PNG),
    "JPEG as PNG": (".png", JPG),
    "WebP": (".jpg", saved("WEBP")),
    "TIFF": (".jpg", saved("TIFF")),
    "BMP": (".png", saved("BMP")),
    "PDF behind a PNG": (".png", PNG + b"%PDF-1.7"),
    "zip behind a JPEG": (".jpg", JPG + b"PK\3\4"),
    "another JPEG behind a JPEG": (".jpg", JPG + JPG),
    "two pictures": (".jpg", saved("MPO", save_all=True, append_images=TWO[1:])),
    "turned JPEG": (".jpg", saved("JPEG", exif=EXIF)),
    "turned PNG": (".png", saved("PNG", exif=EXIF)),
    "JPEG with a comment": (".jpg", saved("JPEG", comment=b"x" * 99)),
    "progressive JPEG": (".jpg", saved("JPEG", progressive=True)),
    "grey JPEG": (".jpg", saved("JPEG", IMAGE[..., 0])),
    "cut JPEG": (".jpg", JPG[:-2]),
    "wrong checksum": (".png", wrong_checksum(PNG)),
    "wrong checksum of the pixels": (".png", PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:]),
    "animated PNG": (".png", saved("PNG", save_all=True, append_images=TWO[1:])),
    "animation of one": (".png", with_chunk(PNG, b"acTL", ANIMATION[8:-4])),
    "text in a PNG": (".png", with_chunk(PNG, b"tEXt", b"a\0b")),
    "colour that is clear": (".png", with_chunk(PNG, b"tRNS", bytes(6))),
    "unknown chunk": (".png", with_chunk(PNG, b"prVt", b"hidden")),
    "palette": (".png", PALETTE),
    "alpha": (".png", saved("PNG", np.dstack([IMAGE, MASK]))),
    "16 bits": (".png", saved("PNG", MASK.astype(np.uint16))),
    "cut PNG": (".png", PNG[:-12]),
}  # fmt: skip
RECORDS = {  # name -> entries of a record that no reader may take
    "negative seed": {"seed": -1},
    "seed beyond 64 bits": {"seed": 2**63},
    "seed that is true": {"seed": True},
    "seed that is a float": {"seed": 1.0},
    "negative class": {"class_id": -1},
    "class that is true": {"class_id": True},
    "another id": {"id": "robin_00000001"},
    "another name": {"class_name": "mug"},
    "half a character": {"note": "\ud800"},
}
MASKS = {
    "bytes behind a mask": GREY + b"x",
    "mask in 4 bits": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 4, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(bytes(9 * 16))) + chunk(b"IEND"),
    "interlaced mask": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    + chunk(b"IDAT", zlib.compress(bytes(2))) + chunk(b"IEND"),
    "mask of a palette": PALETTE,
    "label nobody named": encode_png(MASK + 4),
    "mask of another size": encode_png(MASK[:8]),
    "coloured mask": PNG,
}  # fmt: skip


def members(suffix: str = ".png", image: bytes = PNG, mask: bytes = GREY, record: dict | None = None) -> list:
    text = json.dumps(record or RECORD, sort_keys=True).encode()
    return [
        ("robin_00000000" + suffix, image),
        ("robin_00000000.mask.png", mask),
        ("robin_00000000.json", text),
    ]


def tar(files: list[tuple[str, bytes]]) -> bytes:
    body = b"".join(plain_header(n, len(d)) + d + bytes(-len(d) % 512) for n, d in files) + bytes(1024)
    return body + bytes(-len(body) % 10240)


def write_set(folder: Path, *shards: list[tuple[str, bytes]], **about) -> Path:
    """A set of these members, whose manifest and sums fit; `about` replaces entries of the manifest."""
    folder.mkdir(parents=True)
    entries = []
    for k, files in enumerate(shards):
        path = folder / f"shard_{k:05d}.tar"
        path.write_bytes(tar(files))
        entries.append({"name": path.name, "sha256": sha256_of(path), "count": len(files) // 3})
    plain = {"classes": ["robin", "mug"], "labels": ["background", "foreground"], "image_size": 16}
    write_manifest(folder / MANIFEST, entries, {**plain, **about})
    return folder


def sets(folder: Path) -> dict[str, Path]:
    """A hostile set of every kind, by name, in a folder of its own."""
    kinds = {name: members(*pair) for name, pair in IMAGES.items()}
    kinds |= {name: members(record=RECORD | entries) for name, entries in RECORDS.items()}
    kinds |= {name: members(mask=data) for name, data in MASKS.items()}
    return {name: write_set(folder / f"{k}", files) for k, (name, files) in enumerate(kinds.items())}
