"""Boxes: the containers of AVIF, HEIF, JPEG 2000 and JPEG XL files are made of them."""

from __future__ import annotations

from collections.abc import Iterator

from ncsr.images.exif import Buffer


def boxes(data: Buffer, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box between two places: length (4 bytes), name (4), content.

    A length of 1 stands for one of 8 bytes behind the name, 0 for all that is left.

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
