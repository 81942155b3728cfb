"""JPEG 2000 files: pixels by OpenJPEG; colours, profile, EXIF and XMP are read from the boxes here."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import imagecodecs
import numpy as np

from ncsr.errors import InputError
from ncsr.images.boxes import boxes
from ncsr.images.exif import Buffer
from ncsr.images.raster import Raster, stretched, upright_raster

_STREAM = b"\xff\x4f\xff\x51"
_COLOURS = {16: 3, 17: 1, 18: 3}  # channels of sRGB, gray and sYCC
_PREMULTIPLIED = 2  # a kind of channel
_EXIF, _XMP = b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # what begins a box of either


class _About(NamedTuple):
    size: tuple[int, int] = (0, 0)  # width, height
    bits: int = 8
    signed: bool = False
    icc: bytes | None = None
    space: int = 0  # enumerated; 0 if there is none
    palette: bool = False
    premultiplied: bool = False
    exif: bytes = b""
    xmp: bytes = b""


def stream_size(data: Buffer) -> tuple[int, int]:
    """(width, height) of a stream: the extent of its reference grid minus the offset of the picture on it.

    Raises:
        ValueError, struct.error: it is no JPEG 2000 stream.
    """
    start = data[: len(data)].index(_STREAM) + 8 if data[:4] != _STREAM else 8
    right, bottom, left, top = struct.unpack_from(">IIII", data, start)
    return right - left, bottom - top


def jp2_size(data: Buffer) -> tuple[int, int]:
    """(width, height) of the picture."""
    return _about(data).size


def read_xmp(data: Buffer) -> bytes:
    """The XMP packet of a file; empty where there is none."""
    return _about(data).xmp


def read_jp2(data: bytes, check_size: Callable[[int, int], None]) -> Raster:
    """Decode a whole file; `check_size(width, height)` is called before any pixel is decoded.

    Raises:
        InputError: it is no photograph: signed or over 16 bits, other colours or channels.
        ValueError, struct.error, imagecodecs.Jpeg2kError: it is damaged or truncated.
    """
    about = _about(data)
    check_size(*about.size)
    if about.signed or about.bits > 16:
        sort = "signed" if about.signed else "unsigned"
        raise InputError(f"its values are {sort} with {about.bits} bits: convert it to 8 or 16 bits unsigned")
    if about.space and about.space not in _COLOURS:
        raise InputError(f"its colours are of kind {about.space}: convert it to gray or RGB")
    pixels = np.atleast_3d(imagecodecs.jpeg2k_decode(data))
    if pixels.shape[:2] != about.size[::-1] or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its pixels are {pixels.shape} {pixels.dtype}, not what its header says")
    channels, colours = pixels.shape[2], _COLOURS.get(about.space, 0)
    if channels > 4 or (colours and channels - colours not in (0, 1)):
        raise InputError(f"it has {channels} channels, expected gray or RGB with at most one more for transparency")
    raster = Raster(stretched(pixels, about.bits), about.icc, premultiplied=about.premultiplied)
    return upright_raster(raster, about.exif, xmp=about.xmp)


def _about(data: Buffer) -> _About:
    """The facts in the boxes and in the header of the stream."""
    about = _About()
    stream = 0 if data[:4] == _STREAM else None
    header = list[tuple[bytes, int, int]]()
    for name, start, end in boxes(data, 0, len(data)) if stream is None else ():
        if name == b"jp2h":
            header = list(boxes(data, start, end))
        elif name == b"jp2c":
            stream = start
        elif name == b"uuid" and data[start : start + 16] == _EXIF:
            about = about._replace(exif=data[start + 16 : end])
        elif name == b"uuid" and data[start : start + 16] == _XMP:
            about = about._replace(xmp=data[start + 16 : end])
    if stream is None or data[stream : stream + 4] != _STREAM:
        raise ValueError("it has no picture")
    depth = data[stream + 42]
    about = about._replace(size=stream_size(data[stream : stream + 64]), bits=(depth & 127) + 1, signed=depth > 127)
    for name, start, end in header:
        if name == b"colr" and data[start] == 1 and not about.space:
            about = about._replace(space=int.from_bytes(data[start + 3 : start + 7], "big"))
        elif name == b"colr" and data[start] in (2, 3):
            about = about._replace(icc=data[start + 3 : end])
        elif name == b"pclr":
            about = about._replace(bits=8)
        elif name == b"cdef":
            kinds = [data[at] << 8 | data[at + 1] for at in range(start + 4, end - 1, 6)]
            about = about._replace(premultiplied=_PREMULTIPLIED in kinds)
    return about
