"""TIFF files: pixels by tifffile, descriptive fields by `exif`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ncsr.errors import InputError
from ncsr.images import exif
from ncsr.images.cmyk import rgb_from_cmyk
from ncsr.images.convert import gray_if_equal, photo_from_array, with_metadata
from ncsr.images.photo import Photo, straight

# tifffile logs what it then raises; if nobody handled that, Python would print it on the terminal
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}  # stored channels
_JPEG = 7  # a compression: the only one whose YCbCr is decoded to RGB
_PREMULTIPLIED, _STRAIGHT = 1, 2  # kinds of alpha
_INK_SET, _ORIENTATION = 332, 274  # tags
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes of pixels beside which everything else surely fits into 4 GiB


def read_tiff(path: Path, check_size: Callable[[int, int], None]) -> Photo:
    """Read the first page; `check_size(width, height)` is called before any pixel is decoded.

    Raises:
        InputError: if the page is no photograph: floating point, signed or over 16 bits, other colours or channels.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        check_size(page.imagewidth, page.imagelength)
        check_size(page.tilewidth, page.tilelength)
        _check_kind(page)
        array = page.asarray()
        palette, icc, orientation = page.colormap, page.iccprofile, page.tags.valueof(_ORIENTATION, 1)
    if page.planarconfig == 2:
        array = np.moveaxis(array.reshape(-1, page.imagelength, page.imagewidth), 0, -1)
    array = array.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    colours = _COLOURS[page.photometric]
    array, alpha = array[..., :colours], array[..., colours:]
    if palette is not None and page.photometric == _PALETTE:
        array = (palette.T[array[..., 0]] >> 8).astype(np.uint8)  # writers store a level times 256 or 257
        array = gray_if_equal(array) if icc is None else array
    else:
        array, alpha = _full_scale(array, page.bitspersample), _full_scale(alpha, page.bitspersample)
    if page.photometric == _WHITE_IS_ZERO:
        array = np.iinfo(array.dtype).max - array
    if page.photometric == _CMYK:
        array, icc = rgb_from_cmyk(array, icc), None
    photo = photo_from_array(np.concatenate([array, alpha], axis=2))
    if photo.alpha is not None and page.extrasamples == (_PREMULTIPLIED,):
        photo = replace(photo, rgb=straight(photo.rgb, photo.alpha))
    return with_metadata(photo, icc, exif.read_from_tiff(path), orientation)


def write_tiff(path: Path, pixels: NDArray[Any], icc: bytes | None, block: bytes | None) -> None:
    """Write (H, W, C) pixels, uint8 or uint16, deflated; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Over 4 GiB of pixels the file is a BigTIFF, and leaves the EXIF block out.
    """
    big = pixels.nbytes > _CLASSIC_LIMIT
    channels = pixels.shape[2]
    tifffile.imwrite(
        path,
        pixels if channels > 1 else pixels[..., 0],
        bigtiff=big,
        byteorder=exif.byte_order(block),
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc,
        software=False,
        metadata=None,
    )
    if block is not None and not big:
        exif.add_to_tiff(path, block)


def _check_kind(page: tifffile.TiffPage) -> None:
    """Refuse a page that is not a photograph."""
    bits, kind = page.bitspersample, page.sampleformat
    if kind != 1 or not isinstance(bits, int) or bits > 16:
        sort = {1: "unsigned", 2: "signed", 3: "floating-point"}.get(kind, "unusual")
        raise InputError(f"its values are {sort} with {bits} bits: convert it to 8 or 16 bits unsigned")
    unconverted = page.photometric == _YCBCR and page.compression != _JPEG
    if page.photometric not in _COLOURS or unconverted or page.tags.valueof(_INK_SET, 1) != 1:
        raise InputError(f"its colours are of kind {page.photometric!s}: convert it to gray, RGB or CMYK")
    extra = page.samplesperpixel - _COLOURS[page.photometric]
    if extra > 1 or (extra == 1 and page.extrasamples not in ((), (_PREMULTIPLIED,), (_STRAIGHT,))):
        raise InputError(
            f"it has {page.samplesperpixel} channels, expected gray, RGB or CMYK with at most one more for "
            "transparency: take the others out"
        )


def _full_scale(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stretch values of `bits` bits to the whole range of uint8 or, from 9 on, uint16."""
    if bits in (8, 16):
        return array
    dtype = np.dtype(np.uint8 if bits < 8 else np.uint16)
    stretched: NDArray[Any] = np.rint(array * (np.iinfo(dtype).max / (2**bits - 1))).astype(dtype)
    return stretched
