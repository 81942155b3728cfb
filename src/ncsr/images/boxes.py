"""Boxes, of which the containers of AVIF, HEIF, JPEG 2000 and JPEG XL files consist."""

from __future__ import annotations

from collections.abc import Iterator

from ncsr.images.exif import Buffer


def boxes(data: Buffer, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, and start and end of the content, of each box in `data[start:end]`.

    A box is its length (4 bytes), its name (4) and its content. A length of 1 means that the length follows the name,
    in 8 bytes; 0 means that the box reaches to the end.

    Raises:
        ValueError: a box is cut short.
    """
    while start + 8 <= end:
        length, name, header = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if length == 1:
            length, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        length = length or end - start
        if length < header or start + length > end:
            raise ValueError("its data end early")
        yield name, start + header, start + length
        start += length


def box(name: bytes, content: bytes) -> bytes:
    """A box of less than 4 GiB."""
    return (8 + len(content)).to_bytes(4, "big") + name + content
