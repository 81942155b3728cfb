"""The EXIF block: a small TIFF file that travels inside photographs; a TIFF photograph has its fields as its own.

A block is a header (byte order, 42, offset of the first directory) and directories. A directory is a count, 12-byte
entries (tag, type, number of values, and the values or their offset), and the offset of the next directory, which
describes the preview image. Two tags of the first directory lead to further ones, Exif (camera) and GPS. Offsets count
from the start of the block, and camera makers' notes hold such offsets in undocumented places. So a block is changed in
place where that is possible (`with_size`), and rebuilt only on its way from and to TIFF. This module does it by itself
because Pillow turns letters that are not ASCII into question marks, and tifffile writes no inner directories.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

_ORIENTATION, _CAMERA, _GPS, _INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0xA005
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_RESOLUTIONS = 0x011A, 0x011B  # across and down
_RESOLUTION = {*_RESOLUTIONS, 0x0128}
# Of a TIFF file's own tags, those that describe the photograph and not its storage: document, description, maker,
# model, software, date, artist, host, ratings, copyright, and Windows' title to subject.
_DESCRIPTIVE = {269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096), _CAMERA, _GPS}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of a value, by type
_SHORT, _LONG, _UNDEFINED = 3, 4, 7
_COMMENT, _ASCII = 0x9286, b"ASCII\0\0\0"  # the tag of the user comment, and the prefix of one in ASCII
_ALIKE = 16  # bytes at the beginning of a comment that show whether this package wrote it
_MAGIC = {"<": b"II*\0", ">": b"MM\0*"}
_DAMAGED = (ValueError, struct.error)

Buffer: TypeAlias = "bytes | mmap.mmap"


class _Field(NamedTuple):
    kind: int  # TIFF type
    number: int
    value: bytes  # in the block's byte order
    entry: int  # offset of the entry
    inner: dict[int, _Field] | None  # the directory it leads to


def orientation(block: bytes) -> int | None:
    """The orientation in a block, 1 to 8; None where there is none, or the block has no first directory."""
    try:
        order, start = _header(block)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", block, entry)
            if tag == _ORIENTATION:
                size = min(_BYTES.get(kind, 0) * number, 4)
                value = int.from_bytes(block[entry + 8 : entry + 8 + size], "little" if order == "<" else "big")
                return value if value in range(1, 9) else None
    except _DAMAGED:
        pass
    return None


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A stored (H, W, C) image turned upright by its EXIF orientation (1 to 8), as a view; (W, H, C) from 5 on."""
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    return np.flip(turned, {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ()))


def with_size(block: bytes, height: int, width: int, *, sideways: bool = False) -> bytes | None:
    """The block with orientation 1 and the size of the upright photograph; None if it is empty or damaged.

    Everything else stays in its place, but the preview image is unlinked, since it shows another picture.

    Args:
        block: the EXIF block.
        height: of the upright photograph.
        width: of the upright photograph.
        sideways: whether turning it upright exchanged rows and columns; then the two resolutions are exchanged, too.
    """
    patched = bytearray(block)
    try:
        order, start, fields = _parsed(block)
        camera = fields[_CAMERA].inner if _CAMERA in fields else None
        for tag, field in [*fields.items(), *(camera or {}).items()]:
            if tag == _ORIENTATION:
                struct.pack_into(order + "HIHH", patched, field.entry + 2, _SHORT, 1, 1, 0)
            elif tag in _WIDTHS + _HEIGHTS:
                size = width if tag in _WIDTHS else height
                struct.pack_into(order + "HII", patched, field.entry + 2, _LONG, 1, size)
        if sideways and fields.keys() >= {*_RESOLUTIONS}:
            across, down = (fields[tag].entry for tag in _RESOLUTIONS)
            patched[across + 2 : across + 12], patched[down + 2 : down + 12] = (
                block[down + 2 : down + 12],
                block[across + 2 : across + 12],
            )
        (count,) = struct.unpack_from(order + "H", block, start)
        struct.pack_into(order + "I", patched, start + 2 + 12 * count, 0)
    except _DAMAGED:
        return None
    return bytes(patched)


def with_comment(block: bytes | None, comment: str) -> bytes:
    """The block with an ASCII text as its user comment, everything else in its place; None makes a new block.

    An existing comment is replaced only if it begins like the new one.
    """
    block = block or _MAGIC["<"] + struct.pack("<IHI", 8, 0, 0)
    value = _ASCII + comment.encode("ascii")
    order, start, fields = _parsed(block)
    entry = (_COMMENT, _UNDEFINED, len(value), value)
    camera = fields.get(_CAMERA)
    found = (camera.inner or {}).get(_COMMENT) if camera else None
    if found and found.value[8:].strip(b" \0") and not found.value.startswith(value[:_ALIKE]):
        return block
    if camera:
        (inner,) = struct.unpack_from(order + "I", block, camera.entry + 8)
        block, place = _with_entry(block, order, inner, entry)
        return block[: camera.entry + 8] + struct.pack(order + "I", place) + block[camera.entry + 12 :]
    block, place = _with_entry(block + bytes(6), order, len(block), entry)  # of a directory without entries
    block, place = _with_entry(block, order, start, (_CAMERA, _LONG, 1, struct.pack(order + "I", place)))
    return block[:4] + struct.pack(order + "I", place) + block[8:]


def without_orientation(block: bytes | None) -> bytes:
    """A sound block without its orientation, everything else in its place; empty for None."""
    if block is None:
        return b""
    order, start, fields = _parsed(block)
    if _ORIENTATION not in fields:
        return block
    (count,) = struct.unpack_from(order + "H", block, start)
    first, cut, end = start + 2, fields[_ORIENTATION].entry, start + 2 + 12 * count
    directory = block[first:cut] + block[cut + 12 : end] + block[end : end + 4]
    block += bytes(len(block) % 2)
    moved = block[:4] + struct.pack(order + "I", len(block)) + block[8:]
    return moved + struct.pack(order + "H", count - 1) + directory


def read_from_tiff(path: Path, page: int) -> bytes | None:
    """A block of the descriptive fields of a page of a TIFF file; `page` is the offset of its directory.

    None if the page has none, the file is a BigTIFF, or they are damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            order, start, fields = _parsed(buffer)
            fields = fields if page == start else _directory(buffer, order, page)
    except _DAMAGED:
        return None
    if not fields.keys() & _DESCRIPTIVE:
        return None
    return _MAGIC[order] + struct.pack(order + "I", 8) + _serialised(_described(fields), order, 8)


def add_to_tiff(path: Path, block: bytes) -> None:
    """Add the descriptive fields of a sound block to a TIFF file (no BigTIFF) of the same byte order."""
    order, _, fields = _parsed(block)
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            own = _parsed(buffer)[2]
        end = file.seek(0, 2)
        file.write(bytes(end % 2) + _serialised(own | _described(fields), order, end + end % 2))
        file.seek(4)
        file.write(struct.pack(order + "I", end + end % 2))


def byte_order(block: bytes | None) -> Literal["<", ">"]:
    """Byte order of a block, "<" or ">"; "<" without one."""
    return ">" if block is not None and block.startswith(b"MM") else "<"


def _header(buffer: Buffer) -> tuple[str, int]:
    """The byte order of a block, and the offset of its first directory."""
    order = byte_order(buffer[:2])
    if buffer[:4] != _MAGIC[order]:
        raise ValueError("not an EXIF block")
    (start,) = struct.unpack_from(order + "I", buffer, 4)
    return order, start


def _parsed(buffer: Buffer) -> tuple[str, int, dict[int, _Field]]:
    """The byte order of a block, and the offset and the fields of its first directory."""
    order, start = _header(buffer)
    return order, start, _directory(buffer, order, start)


def _described(fields: dict[int, _Field]) -> dict[int, _Field]:
    """The fields that describe a photograph, with its resolution."""
    return {tag: field for tag, field in fields.items() if tag in _DESCRIPTIVE | _RESOLUTION}


def _directory(buffer: Buffer, order: str, start: int, leads: tuple[int, ...] = (_CAMERA, _GPS)) -> dict[int, _Field]:
    """The fields of the directory at `start`; the tags in `leads` are offsets of inner directories, read as well.

    Fields of an unknown type, and those that point out of the block or to a damaged directory, are left out.
    """
    (count,) = struct.unpack_from(order + "H", buffer, start)
    fields: dict[int, _Field] = {}
    total = 0
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number, place = struct.unpack_from(order + "HHII", buffer, entry)
        size = _BYTES.get(kind, 0) * number
        at = entry + 8 if size <= 4 else place
        if size == 0 or at + size > len(buffer):
            continue
        total += size
        if total > len(buffer):  # fields that share their bytes: made to fill the memory
            raise ValueError("overlapping fields")
        further = (_INTEROPERABILITY,) if tag == _CAMERA else ()
        inner = None
        if tag in leads:
            try:
                inner = _directory(buffer, order, place, further)
            except _DAMAGED:
                continue
        fields[tag] = _Field(kind, number, buffer[at : at + size], entry, inner)
    return fields


def _with_entry(block: bytes, order: str, start: int, entry: tuple[int, int, int, bytes]) -> tuple[bytes, int]:
    """The block followed by a copy of its directory at `start` with one more entry, and the offset of this copy."""
    (count,) = struct.unpack_from(order + "H", block, start)
    end = start + 2 + 12 * count
    tag, kind, number, value = entry
    if len(value) > 4:
        place = len(block) + len(block) % 2
        block, value = block.ljust(place, b"\0") + value, struct.pack(order + "I", place)
    entries = {struct.unpack_from(order + "H", block, at)[0]: block[at : at + 12] for at in range(start + 2, end, 12)}
    entries[tag] = struct.pack(order + "HHI", tag, kind, number) + value.ljust(4, b"\0")
    block += bytes(len(block) % 2)
    directory = b"".join(entries[tag] for tag in sorted(entries))
    return block + struct.pack(order + "H", len(entries)) + directory + block[end : end + 4], len(block)


def _serialised(directory: dict[int, _Field], order: str, base: int) -> bytes:
    """A directory for offset `base`, followed by its long values and the directories it leads to."""
    entries = bytearray(struct.pack(order + "H", len(directory)))
    behind = bytearray()
    end_of_entries = base + 2 + 12 * len(directory) + 4
    for tag in sorted(directory):
        kind, number, value, _, inner = directory[tag]
        place = end_of_entries + len(behind)
        if inner is not None:
            kind, number, value = _LONG, 1, struct.pack(order + "I", place)
            behind += _serialised(inner, order, place)
        elif len(value) > 4:
            behind += value + bytes(len(value) % 2)
            value = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI", tag, kind, number) + value.ljust(4, b"\0")
    return bytes(entries + bytes(4) + behind)
