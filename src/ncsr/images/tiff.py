"""TIFF files: pixels by tifffile, descriptive fields by `exif`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from ncsr.images.photo import Photo, Source, straight

# tifffile logs what it then raises; if nobody handled that, Python would print it on the terminal
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}  # stored channels
_JPEG = 7  # a compression: the only one whose YCbCr is decoded to RGB
_PREMULTIPLIED, _STRAIGHT = 1, 2  # kinds of alpha
_INK_SET, _ORIENTATION = 332, 274  # tags
_LARGEST_SEGMENT = 2**24  # values of a tile or strip
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes of pixels beside which everything else surely fits into 4 GiB


def read_tiff(path: Path, check_size: Callable[[int, int], None]) -> Photo:
    """Read the first page; `check_size(width, height)` is called before any pixel is decoded.

    Raises:
        InputError: if the page is no photograph: floating point, signed or over 16 bits, other colours or channels.
    """
    with _first_page(path) as page:
        check_size(page.imagewidth, page.imagelength)
        check_size(page.tilewidth, page.tilelength)
        _check_kind(page)
        photo = _photo(page, _joined(page, page.asarray().reshape(page.shaped)[:, 0]))
        orientation = page.tags.valueof(_ORIENTATION, 1)
    return with_metadata(photo, photo.icc, exif.read_from_tiff(path), orientation if orientation in range(1, 9) else 1)


def tiff_source(path: Path) -> Source | None:
    """The first page, to be read in windows; None if it must be read as a whole.

    By windows go upright pages without palette whose pixels are not compressed, or lie in tiles or strips of at most
    16 million values: the first pages of pyramids, and whatever is too large for the memory.

    Raises:
        InputError: as `read_tiff`.
    """
    with _first_page(path) as page:
        _check_kind(page)
        height, width = _segment(page)
        in_parts = page.is_memmappable or height * width * page.samplesperpixel <= _LARGEST_SEGMENT
        if not in_parts or page.photometric == _PALETTE or page.tags.valueof(_ORIENTATION, 1) != 1:
            return None
        corner = _photo(page, _read_window(page, 0, 0, 1, 1))
        size = page.imagelength, page.imagewidth

    def window(top: int, left: int, bottom: int, right: int) -> Photo:
        with _first_page(path) as page:
            return _photo(page, _read_window(page, top, left, bottom, right))

    block = exif.with_size(exif.read_from_tiff(path) or b"", *size)
    return Source(size, corner.alpha is not None, corner.gray, corner.bits, corner.icc, block, window)


@contextmanager
def _first_page(path: Path) -> Iterator[tifffile.TiffPage]:
    """Open the first page of a file; its sizes are integers.

    Raises:
        ValueError: if they are not, or if tifffile cannot calculate with what the header holds.
    """
    try:
        file = tifffile.TiffFile(path)  # reads the header of the first page
    except (AttributeError, TypeError) as error:
        raise ValueError(f"its header makes no sense: {error}") from error
    with file:
        page = file.pages.first
        sizes = (page.imagewidth, page.imagelength, page.tilewidth, page.tilelength, page.rowsperstrip)
        if not all(isinstance(size, int) for size in (*sizes, page.samplesperpixel)):
            raise ValueError(f"its header tells of sizes {sizes}")
        yield page


def _photo(page: tifffile.TiffPage, array: NDArray[Any]) -> Photo:
    """The photo of (h, w, samples) stored values, with its profile and no other metadata, as it lies in the file."""
    icc = page.iccprofile if isinstance(page.iccprofile, bytes) else None
    colours, bits = _COLOURS[page.photometric], page.bitspersample
    palette = page.colormap if page.photometric == _PALETTE else None
    if palette is None and bits not in (8, 16):  # stretched to the whole range
        top, dtype = (255, np.uint8) if bits < 8 else (65535, np.uint16)
        array = np.rint(array * (top / (2**bits - 1))).astype(dtype)
    array, alpha = array[..., :colours], array[..., colours:]
    if palette is not None:
        array = (palette.T[array[..., 0]] >> 8).astype(np.uint8)  # writers store a level times 256 or 257
        array = gray_if_equal(array) if icc is None else array
    if page.photometric == _WHITE_IS_ZERO:
        array = np.iinfo(array.dtype).max - array
    if page.photometric == _CMYK:
        array, icc = rgb_from_cmyk(array, icc), None
    photo = replace(photo_from_array(np.concatenate([array, alpha], axis=2)), icc=icc)
    if photo.alpha is not None and page.extrasamples == (_PREMULTIPLIED,):
        photo = replace(photo, rgb=straight(photo.rgb, photo.alpha))
    return photo


def _read_window(page: tifffile.TiffPage, top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
    """(bottom - top, right - left, samples) stored values; only the tiles or strips that they lie in are decoded."""
    if page.is_memmappable:
        stored = page.asarray(out="memmap").reshape(page.shaped)
        return _joined(page, stored[:, 0, top:bottom, left:right])
    height, width = _segment(page)
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    planes, contiguous = page.shaped[0], page.shaped[-1]
    window = np.zeros((planes, bottom - top, right - left, contiguous), page.dtype)
    file = page.parent.filehandle
    for plane in range(planes):
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                index = (plane * down + row) * across + column
                if not page.databytecounts[index]:
                    continue  # an empty tile
                file.seek(page.dataoffsets[index])
                data = file.read(page.databytecounts[index])
                segment, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
                assert segment is not None  # there was data
                y, x = row * height - top, column * width - left
                target = window[plane, max(y, 0) : y + height, max(x, 0) : x + width]
                part = segment[0, max(-y, 0) :, max(-x, 0) :]
                target[:] = part[: target.shape[0], : target.shape[1]]
    return _joined(page, window)


def _segment(page: tifffile.TiffPage) -> tuple[int, int]:
    """(height, width) of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _joined(page: tifffile.TiffPage, planes: NDArray[Any]) -> NDArray[Any]:
    """(planes, h, w, contiguous samples) as (h, w, samples), in this machine's byte order."""
    joined = np.moveaxis(planes, 0, -2).reshape(*planes.shape[1:3], page.samplesperpixel)
    return joined.astype(page.dtype, copy=False)


def tiff_size(path: Path) -> tuple[int, int]:
    """(width, height) of the first page."""
    with _first_page(path) as page:
        return page.imagewidth, page.imagelength


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
