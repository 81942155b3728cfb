"""JPEG XL files: pixels by libjxl; sizes and colours from its header, EXIF and XMP from the boxes, by hand beside it.

imagecodecs hands on no colour profile in either direction: a written file is in sRGB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ncsr.errors import InputError
from ncsr.images.boxes import box, boxes
from ncsr.images.colour import SRGB_CURVES, described_colours
from ncsr.images.exif import Buffer
from ncsr.images.raster import Raster, upright_raster

_STREAM = b"\xff\x0a"
_HEADER = 4096  # bytes of the stream in which its header ends
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_METADATA_LIMIT = 2**24  # bytes of EXIF or XMP that are unpacked
_ALPHA, _SPOT, _CFA = 0, 2, 5  # kinds of further channels
_CUSTOM, _PRIMARIES = 2, {1: 1, 9: 9, 11: 12}  # their codes of primaries, as those of ITU-T H.273
_LINEAR, _SRGB = 8, 13  # curves
_GAMMAS = {10_000_000: _LINEAR, 4_545_455: 4, 4_545_454: 4}  # curves by ten millionths of a gamma's inverse
_FAST = 3  # effort for lossless: a seventh of the default's time, files of the same size


class _About(NamedTuple):
    size: tuple[int, int]  # width, height, as it lies in the file
    orientation: int = 1
    animated: bool = False
    floating: bool = False
    channels: tuple[int, ...] = ()  # kinds of those beside the colours
    premultiplied: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    curve: int = _SRGB
    curve_at: int = 0  # the bit of the stream behind its code


def check_jxl() -> None:
    """Raise InputError if JPEG XL files cannot be read and written here."""
    if not imagecodecs.JPEGXL.available:
        raise InputError("JPEG XL needs imagecodecs with libjxl, which its wheels have: pip install -U imagecodecs")


def jxl_size(data: Buffer) -> tuple[int, int]:
    """(width, height) of the picture, as it lies in the file."""
    return _about(_stream(data)).size


def read_xmp(data: Buffer) -> bytes:
    """The XMP packet of a file; empty where there is none."""
    return _metadata(data).get(b"xml ", b"")


def read_jxl(data: bytes, check_size: Callable[[int, int], None]) -> Raster:
    """Decode the first frame; `check_size(width, height)` is called before that.

    Raises:
        InputError: it is no photograph: floating point, or with other channels; imagecodecs has no libjxl.
        ValueError, imagecodecs.JpegxlError: it is damaged or truncated.
    """
    check_jxl()
    about = _about(_stream(data))
    check_size(*about.size)
    if about.floating:
        raise InputError("its values are floating-point: convert it to 8 or 16 bits unsigned")
    if about.channels not in ((), (_ALPHA,)):
        raise InputError("it has channels beside colours and transparency: take them out")
    pixels = imagecodecs.jpegxl_decode(data, 0)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    notes = about.notes + (("it is an animation, of which the first frame is taken",) if about.animated else ())
    raster = Raster(pixels, about.icc, notes=notes, premultiplied=about.premultiplied)
    metadata = _metadata(data)
    return upright_raster(raster, metadata.get(b"Exif", b"")[4:], orientation=1, xmp=metadata.get(b"xml "))


def encode_jxl(pixels: NDArray[Any], exif: bytes | None, xmp: bytes, quality: int | None) -> bytes:
    """The file of (H, W, C) pixels in sRGB, uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Args:
        pixels: the pixels. With a quality below 100, 16 bits are rounded to 8.
        exif: the EXIF block.
        xmp: the XMP packet, or nothing.
        quality: 1 to 99 as in libjxl, where 90 is a distance of 1; None or 100 is lossless.
    """
    check_jxl()
    stored = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if quality in (None, 100):
        data = bytes(imagecodecs.jpegxl_encode(stored, usecontainer=True, lossless=True, effort=_FAST))
        data = _said_to_be_srgb(data)
    else:
        levels = np.rint(stored * np.float32(255 / np.iinfo(stored.dtype).max)).astype(np.uint8)
        data = bytes(imagecodecs.jpegxl_encode(levels, usecontainer=True, distance=_distance(quality)))
    return data + (b"" if exif is None else box(b"Exif", bytes(4) + exif)) + (box(b"xml ", xmp) if xmp else b"")


def _distance(quality: int) -> float:
    """libjxl's distance for a quality; 90 is 1, which is hard to see."""
    return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _said_to_be_srgb(data: bytes) -> bytes:
    """The file of 16 bits with the curve of sRGB: imagecodecs, which is not asked, says that it is linear."""
    stream = _stream(data)
    about = _about(stream)
    if about.curve != _LINEAR:
        return data
    header = int.from_bytes(stream, "little") ^ (_LINEAR - 2 ^ _SRGB - 2) << about.curve_at - 4
    return data.replace(stream, header.to_bytes(len(stream), "little"), 1)


def _stream(data: Buffer) -> bytes:
    """The beginning of the compressed picture."""
    if data[:2] == _STREAM:
        return data[:_HEADER]
    for name, start, end in boxes(data, 0, len(data)):
        if name in (b"jxlc", b"jxlp"):
            start += 4 * (name == b"jxlp")  # its number
            return data[start : min(end, start + _HEADER)]
    raise ValueError("it has no picture")


def _metadata(data: Buffer) -> dict[bytes, bytes]:
    """The boxes of EXIF and XMP, unpacked."""
    found: dict[bytes, bytes] = {}
    for name, start, end in boxes(data, 0, len(data)) if data[:2] != _STREAM else ():
        if name == b"brob" and data[start : start + 4] in (b"Exif", b"xml "):
            try:
                unpacked = imagecodecs.brotli_decode(data[start + 4 : end], out=_METADATA_LIMIT)
            except imagecodecs.BrotliError:
                continue
            found.setdefault(data[start : start + 4], bytes(unpacked))
        elif name in (b"Exif", b"xml "):
            found.setdefault(name, data[start:end])
    return found


class _Bits:
    """The header of a stream: numbers of some bits each, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._end, self.at = int.from_bytes(data, "little"), 8 * len(data), 16  # behind the signature

    def take(self, count: int) -> int:
        """A number of so many bits."""
        self.at += count
        if self.at > self._end:
            raise ValueError("its data end early")
        return self._value >> self.at - count & (1 << count) - 1

    def choose(self, *choices: tuple[int, int]) -> int:
        """One of four kinds of number, each a least value and how many bits are added to it."""
        least, count = choices[self.take(2)]
        return least + self.take(count)

    def code(self) -> int:
        """A code number."""
        return self.choose((0, 0), (1, 0), (2, 4), (18, 6))


def _about(stream: bytes) -> _About:
    """What the header of a stream (ISO/IEC 18181-1, annex D) tells.

    Raises:
        ValueError: it is cut short or none.
    """
    if stream[:2] != _STREAM:
        raise ValueError("it has no picture")
    bits = _Bits(stream)
    about = _About(_size(bits))
    if bits.take(1):  # all as usual
        return about
    if bits.take(1):
        about = about._replace(orientation=bits.take(3) + 1)
        if bits.take(1):
            _size(bits)  # that is meant for the screen
        if bits.take(1):
            _preview(bits)
        if bits.take(1):
            about = about._replace(animated=True)
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    floating = _depth(bits)
    bits.take(1)
    kinds, premultiplied = [], False
    for _ in range(bits.choose((0, 0), (1, 0), (2, 4), (1, 12))):
        kind, associated = _further_channel(bits)
        kinds.append(kind)
        premultiplied |= associated
    bits.take(1)
    about = about._replace(floating=floating, channels=tuple(kinds), premultiplied=premultiplied)
    return _with_colours(about, bits)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _preview(bits: _Bits) -> None:
    eighth = bits.take(1)

    def side() -> int:
        if eighth:
            return bits.choose((16, 0), (32, 0), (1, 5), (33, 9))
        return bits.choose((1, 6), (65, 8), (321, 10), (1345, 12))

    side()
    if not bits.take(3):
        side()


def _depth(bits: _Bits) -> bool:
    """Whether values are floating-point."""
    floating = bool(bits.take(1))
    if floating:
        bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    return floating


def _further_channel(bits: _Bits) -> tuple[int, bool]:
    """The kind of a channel beside the colours, and whether these are multiplied by it."""
    if bits.take(1):
        return _ALPHA, False
    kind = bits.code()
    _depth(bits)
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(bits.choose((0, 0), (0, 4), (16, 5), (48, 10))):
        bits.take(8)  # of its name
    associated = kind == _ALPHA and bool(bits.take(1))
    if kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, associated


def _with_colours(about: _About, bits: _Bits) -> _About:
    """The profile of the colours, None for sRGB, and a note if they are not known."""
    if bits.take(1):  # sRGB
        return about
    if bits.take(1):
        return about._replace(notes=("its colour profile is not read: its colours are taken for sRGB",))
    gray = bits.code() == 1
    white = bits.code()
    if white == _CUSTOM:
        _coordinates(bits, 1)
    primaries = 1 if gray else bits.code()
    if primaries == _CUSTOM:
        _coordinates(bits, 3)
    curve = _GAMMAS.get(bits.take(24), 0) if bits.take(1) else bits.code()
    about = about._replace(curve=curve, curve_at=bits.at)
    if white != 1 or primaries not in _PRIMARIES or (gray and curve not in SRGB_CURVES):
        return about._replace(notes=("its colour space is not known, and is taken for sRGB",))
    icc, notes = described_colours(_PRIMARIES[primaries], curve)
    return about._replace(icc=icc, notes=notes)


def _coordinates(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choose((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))
