"""PNG files: pixels by libpng, which keeps all 16 bits; the profile and EXIF chunks by hand, beside it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ncsr.images.convert import gray_if_equal, photo_from_array, with_metadata
from ncsr.images.photo import Photo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_LENGTH = 33  # signature and IHDR, which is always first
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PALETTE = 3  # a kind of colour
_PROFILE_LIMIT = 1 << 24  # bytes; larger ones are not profiles but attacks


def png_size(header: bytes) -> tuple[int, int]:
    """(width, height) from the first 33 bytes of a file."""
    width, height = struct.unpack_from(">II", header, 16)
    return width, height


def decode_png(data: bytes) -> Photo:
    """Decode a whole file. Palettes, transparent colours and fewer than 8 bits become plain channels of 8 bits.

    Raises:
        imagecodecs.PngError: if it is damaged or truncated.
    """
    chunks = list(_chunks(data))
    metadata = {chunk[4:8]: chunk[8:-4] for chunk in chunks if chunk[4:8] not in _PIXELS}
    # libpng complains on the terminal about chunks it does not like: it gets only those that make the pixels
    pixels = imagecodecs.png_decode(SIGNATURE + b"".join(chunk for chunk in chunks if chunk[4:8] in _PIXELS))
    icc = _unpacked(metadata.get(b"iCCP", b""))
    if data[25] == _PALETTE and icc is None:
        pixels = gray_if_equal(pixels)
    return with_metadata(photo_from_array(pixels), icc, metadata.get(b"eXIf"))


def encode_png(pixels: NDArray[Any], icc: bytes | None, exif: bytes | None) -> bytes:
    """The file of (H, W, C) pixels, uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)))
    metadata = b""
    if icc is not None:
        metadata += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif is not None:
        metadata += _chunk(b"eXIf", exif)
    return data[:HEADER_LENGTH] + metadata + data[HEADER_LENGTH:]


def _chunks(data: bytes) -> Iterator[bytes]:
    """Each chunk: length (4 bytes), name (4), content, checksum (4). The last may be cut short."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start:end]
        start = end


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unpacked(body: bytes) -> bytes | None:
    """The profile in an iCCP chunk (name, 0, compression 0, zlib stream); None if there is none or it is damaged."""
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(body.partition(b"\0")[2][1:], _PROFILE_LIMIT)
    except zlib.error:
        return None
    return profile if stream.eof else None
