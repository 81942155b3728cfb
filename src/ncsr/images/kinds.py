"""The kinds of image files, recognised by their first bytes."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["PNG", "JPEG", "TIFF", "WebP", "AVIF", "JPEG XL", "JPEG 2000", "HEIF", "GIF", "BMP"]

HEAD = 64
"""Bytes of a file that tell its kind, and the size of a PNG or WebP picture."""

_STARTS: dict[bytes, Kind] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # larger than 4 GiB
    b"MM\0+": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",  # without a container
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",  # without a container
    b"BM": "BMP",
}
_AVIF, _HEIF = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind_of(head: bytes) -> Kind | None:
    """The kind of file whose first `HEAD` bytes these are; None if it is none that is read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        end = min(len(head), int.from_bytes(head[:4], "big"))
        brands = {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}
        return "AVIF" if brands & _AVIF else "HEIF" if brands & _HEIF else None
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), None)
