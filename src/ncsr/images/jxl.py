"""JPEG XL files: pixels by libjxl through imagecodecs; sizes, colours, EXIF and XMP are read here.

imagecodecs neither reads nor writes colour profiles, so colours come from the header of the stream, and a written file
is in sRGB. The functions that read the header name its fields as ISO/IEC 18181-1 does, in comments.
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
_ALPHA, _SPOT, _CFA = 0, 2, 5  # types of extra channels
_CUSTOM, _PRIMARIES = 2, {1: 1, 9: 9, 11: 12}  # JPEG XL's codes of primaries, and the same in ITU-T H.273
_LINEAR, _SRGB = 8, 13  # codes of transfer curves
_GAMMAS = {10_000_000: _LINEAR, 4_545_455: 4, 4_545_454: 4}  # code of a curve by 10^7 / gamma
_FAST = 3  # effort for lossless: a seventh of the default's time, files of the same size


class _About(NamedTuple):
    size: tuple[int, int]  # width, height, as it lies in the file
    orientation: int = 1
    animated: bool = False
    floating: bool = False
    channels: tuple[int, ...] = ()  # types of the extra channels
    premultiplied: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    curve: int = _SRGB
    curve_end: int = 0  # the bit of the stream after the curve's code


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
        data = _declared_srgb(data)
    else:
        levels = np.rint(stored * np.float32(255 / np.iinfo(stored.dtype).max)).astype(np.uint8)
        data = bytes(imagecodecs.jpegxl_encode(levels, usecontainer=True, distance=_distance(quality)))
    return data + (b"" if exif is None else box(b"Exif", bytes(4) + exif)) + (box(b"xml ", xmp) if xmp else b"")


def _distance(quality: int) -> float:
    """libjxl's distance for a quality; 90 is 1, which is hard to see."""
    return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _declared_srgb(data: bytes) -> bytes:
    """The file with sRGB's transfer curve in its header, where imagecodecs declares 16-bit values linear.

    Codes from 2 on are stored as their difference from 2 in 4 bits: see `_Bits.code`.
    """
    stream = _stream(data)
    about = _about(stream)
    if about.curve != _LINEAR:
        return data
    header = int.from_bytes(stream, "little") ^ (_LINEAR - 2 ^ _SRGB - 2) << about.curve_end - 4
    return data.replace(stream, header.to_bytes(len(stream), "little"), 1)


def _stream(data: Buffer) -> bytes:
    """The beginning of the compressed picture."""
    if data[:2] == _STREAM:
        return data[:_HEADER]
    for name, start, end in boxes(data, 0, len(data)):
        if name in (b"jxlc", b"jxlp"):
            start += 4 * (name == b"jxlp")  # the number of the part
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
    """Reads the header of a stream: unsigned numbers, their lowest bit first.

    Attributes:
        at: position of the next bit.
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._end, self.at = int.from_bytes(data, "little"), 8 * len(data), 16  # after the signature

    def take(self, count: int) -> int:
        """The number in the next `count` bits."""
        self.at += count
        if self.at > self._end:
            raise ValueError("its data end early")
        return self._value >> self.at - count & (1 << count) - 1

    def choose(self, *choices: tuple[int, int]) -> int:
        """A number coded in one of four ways (the standard's U32), each a pair (least value, bits to add to it)."""
        least, count = choices[self.take(2)]
        return least + self.take(count)

    def code(self) -> int:
        """A code number (the standard's Enum)."""
        return self.choose((0, 0), (1, 0), (2, 4), (18, 6))


def _about(stream: bytes) -> _About:
    """The facts in the header of a stream (ISO/IEC 18181-1, annex D: SizeHeader and ImageMetadata).

    Raises:
        ValueError: it is cut short, or there is no header.
    """
    if stream[:2] != _STREAM:
        raise ValueError("it has no picture")
    bits = _Bits(stream)
    about = _About(_size(bits))
    if bits.take(1):  # all_default
        return about
    if bits.take(1):  # extra_fields
        about = about._replace(orientation=bits.take(3) + 1)
        if bits.take(1):  # have_intrinsic_size
            _size(bits)
        if bits.take(1):  # have_preview
            _preview(bits)
        if bits.take(1):  # have_animation
            about = about._replace(animated=True)
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))  # tps_numerator
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))  # tps_denominator
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))  # num_loops
            bits.take(1)  # have_timecodes
    floating = _depth(bits)
    bits.take(1)  # modular_16bit_buffers
    types, premultiplied = [], False
    for _ in range(bits.choose((0, 0), (1, 0), (2, 4), (1, 12))):  # num_extra_channels
        channel_type, associated = _extra_channel(bits)
        types.append(channel_type)
        premultiplied |= associated
    bits.take(1)  # xyb_encoded
    about = about._replace(floating=floating, channels=tuple(types), premultiplied=premultiplied)
    return _with_colours(about, bits)


def _size(bits: _Bits) -> tuple[int, int]:
    """(width, height) in a SizeHeader."""
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
    """Skip a PreviewHeader."""
    eighth = bits.take(1)

    def side() -> int:
        if eighth:
            return bits.choose((16, 0), (32, 0), (1, 5), (33, 9))
        return bits.choose((1, 6), (65, 8), (321, 10), (1345, 12))

    side()
    if not bits.take(3):
        side()


def _depth(bits: _Bits) -> bool:
    """Whether values are floating-point (BitDepth)."""
    floating = bool(bits.take(1))
    if floating:
        bits.choose((32, 0), (16, 0), (24, 0), (1, 6))  # bits_per_sample
        bits.take(4)  # exp_bits
    else:
        bits.choose((8, 0), (10, 0), (12, 0), (1, 6))  # bits_per_sample
    return floating


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """The type of an extra channel, and whether the colours are multiplied by it (ExtraChannelInfo)."""
    if bits.take(1):  # d_alpha
        return _ALPHA, False
    channel_type = bits.code()
    _depth(bits)
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))  # dim_shift
    for _ in range(bits.choose((0, 0), (0, 4), (16, 5), (48, 10))):  # name_len
        bits.take(8)
    associated = channel_type == _ALPHA and bool(bits.take(1))
    if channel_type == _SPOT:
        bits.take(64)  # red, green, blue and solidity
    elif channel_type == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))  # cfa_channel
    return channel_type, associated


def _with_colours(about: _About, bits: _Bits) -> _About:
    """`about` with the profile of the colours, None for sRGB, and a note if they are not known (ColourEncoding)."""
    if bits.take(1):  # all_default: sRGB
        return about
    if bits.take(1):  # want_icc
        return about._replace(notes=("its colour profile is not read: its colours are taken for sRGB",))
    gray = bits.code() == 1
    white = bits.code()
    if white == _CUSTOM:
        _skip_coordinates(bits, 1)
    primaries = 1 if gray else bits.code()
    if primaries == _CUSTOM:
        _skip_coordinates(bits, 3)
    curve = _GAMMAS.get(bits.take(24), 0) if bits.take(1) else bits.code()  # have_gamma
    about = about._replace(curve=curve, curve_end=bits.at)
    if white != 1 or primaries not in _PRIMARIES or (gray and curve not in SRGB_CURVES):
        return about._replace(notes=("its colour space is not known, and is taken for sRGB",))
    icc, notes = described_colours(_PRIMARIES[primaries], curve)
    return about._replace(icc=icc, notes=notes)


def _skip_coordinates(bits: _Bits, count: int) -> None:
    """Skip the chromaticities, x and y, of so many points."""
    for _ in range(2 * count):
        bits.choose((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))
