"""The tar format of shards: members with plain headers, read as bytes without unpacking to disk."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bdgan_lib.core.ids import checked_id
from bdgan_lib.core.types import BdganError

IMAGE, JPEG = ".png", ".jpg"  # suffixes of a sample's members: the image has one of these
MASK, RECORD = ".mask.png", ".json"
_LARGEST = {IMAGE: 1 << 28, JPEG: 1 << 28, MASK: 1 << 28, RECORD: 1 << 20}  # bytes
_KINDS = {
    tarfile.LNKTYPE: "a hard link", tarfile.SYMTYPE: "a symbolic link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.DIRTYPE: "a folder", tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file", tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header", tarfile.SOLARIS_XHDTYPE: "an extended header",
    tarfile.GNUTYPE_LONGNAME: "a long name", tarfile.GNUTYPE_LONGLINK: "a long link",
}  # fmt: skip
_PLAIN = tarfile.TarInfo("")
_PLAIN.mode = 0o644
_BLANK = _PLAIN.tobuf(tarfile.USTAR_FORMAT)


@dataclass(frozen=True)
class StoredSample:
    """One sample as the bytes of its members in a shard."""

    shard: Path  # where it stands
    id: str
    image: bytes  # `<id>.png`, or `<id>.jpg`
    mask: bytes  # `<id>.mask.png`
    record: bytes  # `<id>.json`
    suffix: str = IMAGE  # of the image

    @property
    def image_name(self) -> str:
        """The member name of the image."""
        return self.id + self.suffix


def how_to_remake(path: Path) -> str:
    """The advice to a user for a damaged shard."""
    return f"remove {path.name} and run the same command: only it is made again"


def plain_header(name: str, size: int) -> bytes:
    """The tar header of a member without time or owner: the bytes of tarfile's, in a quarter of the time.

    Args:
        name: of the member, ASCII, at most 100 characters.
        size: in bytes, below 8 GiB.
    """
    header = bytearray(_BLANK)
    header[: len(name)] = name.encode("ascii")
    header[124:135] = b"%011o" % size
    # the checksum, in whose sum its own bytes count as blanks
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * ord(" "))
    return bytes(header)


def stored_samples(path: Path) -> Iterator[StoredSample]:
    """Yield the samples of a shard, undecoded, with one in memory at a time.

    A header must be exactly the one that `plain_header` makes of its name and size.

    Raises:
        BdganError: there are links, devices, sparse files, paths, members that are huge, missing, repeated or
            surplus, or bytes between or after the members.
    """
    ids = set[str]()
    if not path.is_file():
        raise BdganError(f"{path} is missing; run the same command: only it is made again")
    with path.open("rb") as file:
        members = _members(path, file)
        for name, data in members:
            id, dot, rest = name.partition(".")
            try:
                if dot + rest not in (IMAGE, JPEG):
                    raise BdganError("not an image")
                checked_id(id)
            except BdganError as error:
                raise _bad(path, name, "is where `<id>.png` was expected") from error
            if id in ids:
                raise _bad(path, name, "is there twice")
            ids.add(id)
            others = []
            for suffix in (MASK, RECORD):
                next_name, other = next(members, ("the end", b""))
                if next_name != id + suffix:
                    raise _bad(path, id + suffix, f"is missing, {next_name} follows instead")
                others.append(other)
            yield StoredSample(path, id, data, others[0], others[1], dot + rest)


def _members(path: Path, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    size, block = path.stat().st_size, tarfile.BLOCKSIZE
    while (header := file.read(block)).strip(b"\0"):
        name, length = _name_and_size(path, header, f"at byte {file.tell() - len(header)}")
        padding = -length % block
        if file.tell() + length + padding > size:
            raise _bad(path, name, "is cut off")
        data = file.read(length)
        if any(file.read(padding)):
            raise _bad(path, name, "is followed by unexpected bytes")
        yield name, data
    content = file.tell() - len(header)
    end = -(-(content + 2 * block) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
    if size != end or any(file.read()):
        raise BdganError(f"{path} does not end as expected after byte {content}; {how_to_remake(path)}")


def _name_and_size(path: Path, header: bytes, place: str) -> tuple[str, int]:
    """Name and size of a member; an error if its header is not a `plain_header`."""
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise _bad(path, place, f"has a damaged header ({error})") from error
    name, suffix = member.name, member.name[member.name.find(".") :]
    if member.type in _KINDS:
        raise _bad(path, name, f"is {_KINDS[member.type]}, refused")
    if suffix not in _LARGEST or "/" in name or "\\" in name:
        raise _bad(path, name, "is surplus or unsafe, refused")
    if not 0 <= member.size <= _LARGEST[suffix]:
        raise _bad(path, name, f"claims {member.size:,} bytes, above {_LARGEST[suffix]:,}, refused")
    if len(name) > 100 or header != plain_header(name, member.size):
        raise _bad(path, name, "has a header that is not plain, refused")
    return name, member.size


def _bad(path: Path, member: str, why: str) -> BdganError:
    return BdganError(f"{path}: member {member[:120]!r} {why}; {how_to_remake(path)}")
