"""WebP files: pixels by libwebp; sizes, profile, EXIF and XMP are read from the chunks here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import imagecodecs

from ncsr.images.exif import Buffer
from ncsr.images.raster import Raster, upright_raster

_FRAME_HEADER = 16  # bytes of a frame of an animation before its chunks


def webp_size(head: bytes) -> tuple[int, int]:
    """(width, height) from the first 30 bytes of a file.

    Raises:
        ValueError: they hold no size.
    """
    return _size(head[12:16], head[20:30])


def read_xmp(data: Buffer) -> bytes:
    """The XMP packet of a file; empty where there is none."""
    return next((data[start:end] for name, start, end in _chunks(data, 12, len(data)) if name == b"XMP "), b"")


def read_webp(data: bytes, check_size: Callable[[int, int], None]) -> Raster:
    """Decode the first picture; `check_size(width, height)` is called before that.

    Raises:
        ValueError: there is none, or it covers only a part of the canvas.
        imagecodecs.WebpError: it is damaged or truncated.
    """
    width, height = webp_size(data)
    check_size(width, height)
    chunks = list(_chunks(data, 12, len(data)))
    pictures = [start for name, start, _ in chunks if name in (b"VP8 ", b"VP8L")]
    frames = [start + _FRAME_HEADER for name, start, _ in chunks if name == b"ANMF"]
    first = pictures[0] - 8 if pictures else frames[0]
    if _size(data[first : first + 4], data[first + 8 : first + 18]) != (width, height):
        raise ValueError(f"its first picture is not of the {width} x {height} pixels that its header gives")
    metadata = {name: data[start:end] for name, start, end in chunks if name in (b"ICCP", b"EXIF", b"XMP ")}
    raster = Raster(
        imagecodecs.webp_decode(data),
        metadata.get(b"ICCP"),
        notes=("it is an animation, of which the first frame is taken (--page)",) if len(frames) > 1 else (),
    )
    return upright_raster(raster, metadata.get(b"EXIF"), xmp=metadata.get(b"XMP "))


def _chunks(data: Buffer, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk: name (4 bytes), length (4), content, padded to even length."""
    while start + 8 <= end:
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], start + 8, start + 8 + length
        start += 8 + length + length % 2


def _size(chunk: bytes, body: bytes) -> tuple[int, int]:
    """(width, height) in the first bytes of a chunk: lossy, lossless, or the canvas of an extended file."""
    if chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    raise ValueError("it has no picture")
