"""TIFF files: pixels by tifffile, descriptive fields by `exif`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ncsr.errors import InputError
from ncsr.images import exif
from ncsr.images.cmyk import rgb_from_cmyk
from ncsr.images.jp2 import stream_size
from ncsr.images.jpeg import check_segment
from ncsr.images.photo import Dpi, Photo, Source
from ncsr.images.raster import Raster, gray_if_equal, stretched, upright_raster, xmp_orientation
from ncsr.images.webp import webp_size

# tifffile logs what it then raises; if nobody handled that, Python would print it on the terminal
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}  # stored channels
_NONE, _JPEG = 1, 7  # compressions; the latter is the only one whose YCbCr is decoded to RGB
_JPEGS = (6, _JPEG, 33007)
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = _ALPHAS = 0, 1, 2  # kinds of alpha
_INK_SET, _ORIENTATION, _UNIT, _XMP, _RESOLUTION = 332, 274, 296, 700, (282, 283)  # tags
_LARGEST_SEGMENT = 2**24  # values of a tile or strip
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes of pixels beside which everything else surely fits into 4 GiB


def read_tiff(path: Path, check_size: Callable[[int, int], None], number: int | None = None) -> Raster:
    """Read a page, 1 the first; `check_size(width, height)` is called before any pixel is decoded.

    None is the first as well, with a note if there are more. Reduced copies of another page do not count as pages.

    Raises:
        InputError: if the page is no photograph: floating point, signed or over 16 bits, other colours or channels;
            or there is no such page.
    """
    with _photograph(path, number) as page:
        check_size(page.imagewidth, page.imagelength)
        check_size(page.tilewidth, page.tilelength)
        _check_places(page)
        raster = _raster(page, np.array(_read_window(page, 0, 0, page.imagelength, page.imagewidth)))
        raster = replace(raster, notes=_notes(page, number))
        block = exif.read_from_tiff(path, page.offset)
        return upright_raster(raster, block, orientation=_orientation(page), xmp=_xmp(page))


def tiff_source(path: Path, number: int | None = None) -> Source | None:
    """A page, chosen as in `read_tiff`, to be read in windows; None if it must be read as a whole.

    Pages can be read in windows if they are upright, have no palette, and are uncompressed or in tiles or strips of at
    most 16 million values: the first pages of pyramids, and nearly all that is too large for the memory.

    Raises:
        InputError: as `read_tiff`.
    """
    with _photograph(path, number) as page:
        _check_places(page)
        height, width = _segment(page)
        in_parts = page.is_memmappable or height * width * page.samplesperpixel <= _LARGEST_SEGMENT
        if not in_parts or page.photometric == _PALETTE or _orientation(page) != 1:
            return None
        corner = replace(_raster(page, _read_window(page, 0, 0, 1, 1)), notes=_notes(page, number))
        block = exif.read_from_tiff(path, page.offset)
        size, xmp = (page.imagelength, page.imagewidth), _xmp(page)

    def window(top: int, left: int, bottom: int, right: int) -> Photo:
        with _photograph(path, number) as page:
            return _raster(page, _read_window(page, top, left, bottom, right)).photo()

    described = upright_raster(corner, block, orientation=1, xmp=xmp)
    return replace(described, exif=exif.with_size(block or b"", *size)).source(size, window)


@contextmanager
def _photograph(path: Path, number: int | None = None) -> Iterator[tifffile.TiffPage]:
    """Open a page of a file, the first if its number is None; it is checked to be a photograph with integer sizes.

    Raises:
        InputError: if it is no photograph, or there is no such page.
        ValueError: if it is damaged.
    """
    with _opened(path) as file:
        page = file.pages.first if number in (None, 1) else next(islice(_pages(file), max(number - 1, 0), None), None)
        if page is None or (number is not None and number < 1):
            raise InputError(f"it has no page {number}, only {len([*_pages(file)])}")
        sizes = (page.imagewidth, page.imagelength, page.tilewidth, page.tilelength, page.rowsperstrip)
        if not all(isinstance(size, int) for size in (*sizes, page.samplesperpixel)):
            raise ValueError(f"its header gives the sizes {sizes}")
        _check_kind(page)
        yield page


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    with _tifffile():
        file = tifffile.TiffFile(path)  # reads the header of the first page
    with file:
        file.pages.useframes = False
        yield file


def _pages(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """The pages that are not reduced copies of another one."""
    with _tifffile():
        for index, page in enumerate(file.pages):
            if isinstance(page, tifffile.TiffPage) and not (index and page.is_reduced):
                yield page


def page_count(path: Path) -> int:
    """How many pages a file has."""
    with _opened(path) as file:
        return len([*_pages(file)])


@contextmanager
def _tifffile() -> Iterator[None]:
    """A context for calls of tifffile, which fails in many ways on headers that make no sense.

    Raises:
        ValueError: in place of errors such as TypeError, which would look like a bug of this package.
    """
    try:
        yield
    except tifffile.TiffFileError as error:  # no ValueError in older versions
        raise ValueError(str(error)) from error
    except (AssertionError, AttributeError, TypeError, UnboundLocalError) as error:
        raise ValueError(f"its header makes no sense: {error}") from error


def _check_places(page: tifffile.TiffPage) -> None:
    """Check that every tile or strip lies inside the file, as far as the header says.

    Raises:
        ValueError: one does not.
    """
    height, width = _segment(page)
    if min(height, width, page.imagelength, page.imagewidth, page.samplesperpixel) < 1:
        raise ValueError("it is empty")
    parts = page.shaped[0] * -(-page.imagelength // height) * -(-page.imagewidth // width)
    if not all(isinstance(place, int) for place in (*page.dataoffsets, *page.databytecounts)):
        raise ValueError("its header gives places that are no numbers")
    if len(page.dataoffsets) < parts or len(page.databytecounts) < parts:
        raise ValueError(f"its header places {len(page.dataoffsets)} of {parts} tiles or strips")
    end = page.parent.filehandle.size
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if not start and not length:
            continue  # not stored, because all its pixels are 0
        if not 0 < start < end or not length > 0 or (page.compression != _NONE and start + length > end):
            raise ValueError("its data end early")


def _notes(page: tifffile.TiffPage, number: int | None) -> tuple[str, ...]:
    """Notes for the user: that alpha is a guess; that there are further pages, if none was asked for."""
    notes: tuple[str, ...] = ()
    if page.extrasamples == (_UNSPECIFIED,):
        notes = ("its last channel, of which it does not say what it is, is taken for transparency",)
    with _tifffile(), suppress(IndexError, tifffile.TiffFileError):
        if number is not None:
            return notes
        if next(islice(_pages(page.parent), 1, None), None) is not None:
            notes += ("it has several pages, of which the first is taken (--page)",)
    return notes


def _orientation(page: tifffile.TiffPage) -> int:
    """Its orientation, 1 to 8, by its tag or else by XMP."""
    orientation = page.tags.valueof(_ORIENTATION, 0)
    if orientation in range(1, 9):
        return int(orientation)
    return xmp_orientation(_xmp(page))


def _xmp(page: tifffile.TiffPage) -> bytes:
    """Its XMP packet; empty where there is none."""
    xmp = page.tags.valueof(_XMP, b"")
    return xmp if isinstance(xmp, bytes) else str(xmp).encode()


def _dpi(page: tifffile.TiffPage) -> Dpi | None:
    """Its resolution; None if it states none."""
    inches = {2: 1.0, 3: 2.54}.get(page.tags.valueof(_UNIT, 2))
    across, down = (page.tags.valueof(tag) for tag in _RESOLUTION)
    pairs = isinstance(across, tuple) and isinstance(down, tuple) and len(across) == len(down) == 2
    if inches is None or not pairs or not (across[1] and down[1]):
        return None
    return across[0] / across[1] * inches, down[0] / down[1] * inches


def _raster(page: tifffile.TiffPage, array: NDArray[Any]) -> Raster:
    """A raster of stored values (h, w, samples), not turned upright, with profile and resolution alone."""
    icc = page.iccprofile if isinstance(page.iccprofile, bytes) else None
    colours, bits = _COLOURS[page.photometric], page.bitspersample
    palette = page.colormap if page.photometric == _PALETTE else None
    if page.photometric == _PALETTE and (palette is None or palette.ndim != 2 or len(palette) != 3):
        raise ValueError("its palette makes no sense")
    array = array if palette is not None else stretched(array, bits)
    alpha = array[..., colours:]
    if palette is not None:
        array = (palette.T >> 8).astype(np.uint8)[array[..., 0]]  # writers store a level times 256 or 257
        array = gray_if_equal(array) if icc is None else array
    elif page.photometric == _WHITE_IS_ZERO:
        array = np.iinfo(array.dtype).max - array[..., :colours]
    elif page.photometric == _CMYK:
        array, icc = rgb_from_cmyk(array[..., :colours], icc), None
    else:
        alpha = array[..., :0]  # is behind the colours already
    array = np.concatenate([array, alpha], axis=2) if alpha.size else array
    return Raster(array, icc, dpi=_dpi(page), premultiplied=page.extrasamples == (_PREMULTIPLIED,))


def _read_window(page: tifffile.TiffPage, top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
    """(bottom - top, right - left, samples) stored values; only the tiles or strips that they lie in are decoded."""
    if page.is_memmappable:
        stored = page.asarray(out="memmap").reshape(page.shaped)
        return _joined(page, stored[:, 0, top:bottom, left:right])
    height, width = _segment(page)
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    planes, contiguous = page.shaped[0], page.shaped[-1]
    window = np.zeros((planes, bottom - top, right - left, contiguous), page.dtype)
    for plane in range(planes):
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                part = _decoded(page, (plane * down + row) * across + column)
                if part is None:
                    continue
                y, x = row * height - top, column * width - left
                target = window[plane, max(y, 0) : y + height, max(x, 0) : x + width]
                part = part[max(-y, 0) :, max(-x, 0) :]
                target[:] = part[: target.shape[0], : target.shape[1]]
    return _joined(page, window)


def _decoded(page: tifffile.TiffPage, index: int) -> NDArray[Any] | None:
    """(h, w, contiguous samples) of a tile or strip; None if it is not stored, because all its pixels are 0.

    Raises:
        ValueError: it is damaged, incomplete, or larger than the header of the file says.
        InputError: its compression has a header of its own with sizes, which this module cannot check.
    """
    file = page.parent.filehandle
    file.seek(page.dataoffsets[index])
    data = file.read(page.databytecounts[index])
    if not data:
        return None
    height, width = _segment(page)
    tables, header = page.jpegtables, page.jpegheader
    if page.compression in _JPEGS:
        joined = header + data + b"\xff\xd9" if header else (tables[:-2] + data[2:] if tables else data)
        check_segment(joined, 2 * height * width)
    elif page.compression in _OWN_HEADER:
        columns, rows = _OWN_HEADER[page.compression](data)
        if columns * rows > 2 * height * width:
            raise ValueError(f"a part has {columns} x {rows} pixels, and room for {width} x {height}")
    elif page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS:
        raise InputError(f"its compression is {page.compression!s}: convert it to LZW, deflate or none")
    with _tifffile():
        segment, _, _ = page.decode(data, index, jpegtables=tables, jpegheader=header)
    assert segment is not None  # there was data
    part: NDArray[Any] = segment[0]
    return part


_OWN_HEADER: dict[int, Callable[[bytes], tuple[int, int]]] = {
    **dict.fromkeys((33003, 33004, 33005, 34712), stream_size),
    50001: webp_size,
}
"""By compression: reads the (width, height) that a tile or strip has in a header of its own; its decoder trusts it."""


def _segment(page: tifffile.TiffPage) -> tuple[int, int]:
    """(height, width) of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _joined(page: tifffile.TiffPage, planes: NDArray[Any]) -> NDArray[Any]:
    """(planes, h, w, contiguous samples) as (h, w, samples), in this machine's byte order."""
    joined = np.moveaxis(planes, 0, -2).reshape(*planes.shape[1:3], page.samplesperpixel)
    return joined.astype(page.dtype, copy=False)


def tiff_size(path: Path, number: int | None = None) -> tuple[int, int]:
    """(width, height) of a page."""
    with _photograph(path, number) as page:
        return page.imagewidth, page.imagelength


def read_xmp(path: Path) -> bytes:
    """The XMP packet of the first page; empty where there is none."""
    with _opened(path) as file:
        return _xmp(file.pages.first)


def write_tiff(
    path: Path, pixels: NDArray[Any], icc: bytes | None, block: bytes | None, dpi: Dpi | None, xmp: bytes = b""
) -> None:
    """Write (H, W, C) pixels, uint8 or uint16, deflated; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Float32 values, such as those of a map, are written the same way. Above 4 GiB of pixels the file is a BigTIFF, and
    the EXIF block is left out.
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
        resolution=dpi,
        resolutionunit=None if dpi is None else "inch",
        software=False,
        metadata=None,
        extratags=[(_XMP, 1, len(xmp), xmp, True)] if xmp else (),
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
    if extra not in (0, 1) or (extra == 1 and page.extrasamples not in ((), *((kind,) for kind in _ALPHAS))):
        raise InputError(
            f"it has {page.samplesperpixel} channels, expected gray, RGB or CMYK with at most one more for "
            "transparency: take the others out"
        )
