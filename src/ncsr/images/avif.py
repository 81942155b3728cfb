"""AVIF files, by libavif: metadata through Pillow, pixels through imagecodecs, because Pillow gives 8 bits only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import features
from PIL.ImageFile import ImageFile

from ncsr.errors import InputError
from ncsr.images.boxes import boxes
from ncsr.images.colour import described_colours
from ncsr.images.exif import Buffer
from ncsr.images.raster import Raster, stretched, upright_raster

LONGEST_SIDE, MOST_PIXELS = 32_768, 2**28
"""Limits of libavif when it reads."""


class _About(NamedTuple):
    """What Pillow's `AvifDecoder.get_info` returns."""

    size: tuple[int, int]  # width, height
    frames: int
    mode: str
    icc: bytes | None
    exif: bytes | None
    orientation: int  # that of the container, which counts instead of EXIF's
    xmp: bytes | None


def check_avif() -> None:
    """Raise InputError if AVIF files cannot be read and written here."""
    if not (features.check("avif") and imagecodecs.AVIF.available):
        raise InputError("AVIF needs Pillow 11.3 and imagecodecs with AVIF: pip install -U pillow imagecodecs")


def avif_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the picture, as it lies in the file."""
    return _about(data).size


def open_frames(path: Path) -> ImageFile:
    """Open a file with Pillow, to get at its single pictures; nothing of it is decoded yet.

    Raises:
        InputError: the installed libraries cannot read AVIF.
    """
    check_avif()
    from PIL.AvifImagePlugin import AvifImageFile  # older versions of Pillow do not have it

    return AvifImageFile(path)


def read_xmp(data: bytes) -> bytes:
    """The XMP packet of a file; empty where there is none."""
    return _about(data).xmp or b""


def read_avif(data: bytes, check_size: Callable[[int, int], None]) -> Raster:
    """Decode the first picture; `check_size(width, height)` is called before that.

    Raises:
        InputError: the installed libraries cannot read AVIF.
        ValueError, imagecodecs.AvifError: it is damaged or truncated.
    """
    decoder = _decoder(data)
    about = _About(*decoder.get_info())
    check_size(*about.size)
    width, height = about.size
    bits, icc, notes = _properties(data, gray=about.mode in ("L", "LA"))
    if about.frames > 1:  # imagecodecs writes beyond its memory when one of several pictures is asked for
        notes += ("it has several pictures, of which the first is taken (--page)",)
        pixels, bits = np.frombuffer(decoder.get_frame(0)[0], np.uint8).reshape(height, width, -1), 8
    else:
        pixels = imagecodecs.avif_decode(data)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        bits = 8 if pixels.dtype == np.uint8 else bits
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"its picture is not of the {width} x {height} pixels that its header gives")
    raster = Raster(stretched(pixels, bits), about.icc or icc, notes=notes)
    return upright_raster(raster, about.exif, orientation=about.orientation, xmp=about.xmp)


def frame_colours(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """The ICC profile for the pictures of a file, None for sRGB, and notes about colours that are not known."""
    about = _about(data)
    _, icc, notes = _properties(data, gray=about.mode in ("L", "LA"))
    return about.icc or icc, notes


def _about(data: bytes) -> _About:
    return _About(*_decoder(data).get_info())


def _decoder(data: bytes) -> Any:
    """The decoder inside Pillow's `AvifImageFile`; that class itself edits EXIF that differs from the container."""
    check_avif()
    from PIL import _avif

    return _avif.AvifDecoder(data, "auto", 1)


def _properties(data: Buffer, *, gray: bool) -> tuple[int, bytes | None, tuple[str, ...]]:
    """Bits of the channels, and the ICC profile and notes for colours that the file gives by code numbers."""
    bits, colours = 8, described_colours(1, 13, gray=gray)
    for name, start, _ in _boxes_at(data, 0, len(data), [b"meta", b"iprp", b"ipco"]):
        if name == b"av1C" and bits == 8:
            flags = data[start + 2]
            bits = 12 if flags & 0x20 else 10 if flags & 0x40 else 8
        elif name == b"colr" and data[start : start + 4] == b"nclx":
            primaries, curve = (int.from_bytes(data[at : at + 2], "big") for at in (start + 4, start + 6))
            colours = described_colours(primaries, curve, gray=gray)
    return bits, *colours


def _boxes_at(data: Buffer, start: int, end: int, path: list[bytes]) -> list[tuple[bytes, int, int]]:
    """The boxes inside the box at a path of box names, such as meta, iprp, ipco; none if there is no such box."""
    found = list(boxes(data, start, end))
    if not path:
        return found
    inside = [(first + 4 * (name == b"meta"), last) for name, first, last in found if name == path[0]]
    return _boxes_at(data, *inside[0], path[1:]) if inside else []
