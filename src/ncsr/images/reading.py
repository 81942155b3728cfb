"""Reading photographs."""

from __future__ import annotations

import os
import struct
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from ncsr.errors import InputError, UnreadableError
from ncsr.images import avif, heif, jp2, jxl, png, tiff, webp
from ncsr.images.finding import SUFFIXES
from ncsr.images.jpeg import JpegFile, read_jpeg
from ncsr.images.kinds import HEAD, Kind, kind_of
from ncsr.images.photo import Photo, Source, premultiplied
from ncsr.images.pil import raster_from_pil, stored_pixels
from ncsr.images.raster import Raster
from ncsr.images.tiff import page_count, read_tiff, tiff_size, tiff_source
from ncsr.images.xmp import record_in, record_of_comment
from ncsr.runtime.memory import is_exhaustion

MAX_PIXELS = 178_956_970
"""The default limit of a photograph's pixels: Pillow's, above which it calls a file a decompression bomb."""

_ROWS = 256  # of a photograph that are floating point at a time
_PIL_FILES: dict[str, Callable[[Path], ImageFile]] = {"BMP": BmpImageFile, "GIF": GifImageFile, "JPEG": JpegFile}
"""Pillow's readers of single pictures, called directly: they decode nothing yet, and check no limit of pixels."""
_FRAMED: dict[str, Callable[[Path], ImageFile]] = {
    "AVIF": avif.open_frames,
    "GIF": GifImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
}
"""Readers of the kinds whose frames `page` may name, called directly for the same reason."""
# What Pillow, tifffile and imagecodecs (whose errors are RuntimeErrors) raise when a file is damaged. TypeError,
# AttributeError, AssertionError and the like are not among them: they would be bugs of this package.
_DECODER_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
)


def read_photo(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    allow_incomplete: bool = False,
    page: int | None = None,
) -> Photo:
    """Read a photograph; `ncsr.images` says how stored values become those of a `Photo`.

    Args:
        path: the file. Its suffix must be in `SUFFIXES` or empty; the kind of file is recognised by its content.
        max_pixels: a larger photograph is refused before it is decoded, since it may be made to fill the memory.
        allow_incomplete: also accept a JPEG file whose data end early; the missing part is gray.
        page: the page of a TIFF file, or the frame of a GIF, PNG, WebP or AVIF file, 1 the first; None is the first as
            well, with a note if there are more. One of several frames is read by Pillow, in 8 bits.

    Raises:
        InputError: if there is no such file, or it is empty, damaged, truncated, too large, or no photograph. Its
            sentence names the file.
        MemoryError: if there is not enough memory for it. Its sentence names the file, too.
    """
    path = Path(path)
    with _explained(path):
        return _read(path, max_pixels, allow_incomplete, page).photo()


def open_photo(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    allow_incomplete: bool = False,
    page: int | None = None,
) -> Source:
    """Open a photograph to be read in windows; `ncsr.images` says how stored values become those of a `Photo`.

    TIFF files that allow it (`ncsr.images.tiff.tiff_source`) are read window by window, whatever their size. All others
    are decoded now, as a whole, and kept as their stored values.

    Args:
        path: as `read_photo`.
        max_pixels: the limit for a photograph that has to be read as a whole.
        allow_incomplete: as `read_photo`.
        page: as `read_photo`.

    Raises:
        InputError: as `read_photo` does; a window raises it, too, if its part of the file is damaged.
    """
    path = Path(path)
    with _explained(path):
        source = tiff_source(path, page) if _kind(path)[0] == "TIFF" else None
        source = source or _read(path, max_pixels, allow_incomplete, page).source()
    return replace(source, window=_explained(path)(source.window))


def read_eight_bit(path: str | os.PathLike[str]) -> Tensor:
    """A photograph as measures and training take it: (3, H, W) uint8.

    16 bits are rounded to 8. Colours are premultiplied (laid on black), as they are for enlarging: invisible colours of
    transparent pixels do not count.

    Raises:
        InputError, MemoryError: as `read_photo`.
    """
    path = Path(path)
    with _explained(path):
        source = _read(path, MAX_PIXELS, allow_incomplete=False).source()
        height, width = source.size
        image = torch.empty(3, height, width, dtype=torch.uint8, device="cpu")
        for top in range(0, height, _ROWS):
            part = source.window(top, 0, min(top + _ROWS, height), width)
            image[:, top : top + _ROWS] = (premultiplied(part) * 255).round_()
    return image


def count_pages(path: str | os.PathLike[str]) -> int:
    """How many pages or frames of a photograph's file `page` may name; 1 for kinds of files that have only one.

    Raises:
        InputError: as `read_photo`.
    """
    path = Path(path)
    with _explained(path):
        kind, _ = _kind(path)
        if kind not in _FRAMED:
            return page_count(path) if kind == "TIFF" else 1
        with _frames(path, kind) as image:
            return _frame_count(image)


def photo_size(path: str | os.PathLike[str], page: int | None = None) -> tuple[int, int]:
    """(H, W) as stored in the header, that is before the EXIF orientation is applied; nothing is decoded.

    Raises:
        InputError: as `read_photo`; damage behind the header goes unnoticed.
    """
    path = Path(path)
    with _explained(path):
        kind, head = _kind(path)
        if kind == "PNG":
            width, height = png.png_size(head)
        elif kind == "WebP":
            width, height = webp.webp_size(head)
        elif kind == "TIFF":
            width, height = tiff_size(path, page)
        elif kind == "HEIF":
            width, height = heif.heif_size(path)
        elif kind in _PIL_FILES:
            with _PIL_FILES[kind](path) as image:
                width, height = image.size
        else:
            size = {"AVIF": avif.avif_size, "JPEG XL": jxl.jxl_size, "JPEG 2000": jp2.jp2_size}[kind]
            width, height = size(path.read_bytes())
    return height, width


def read_record(path: str | os.PathLike[str]) -> str | None:
    """The record of its origin that `write_pixels` wrote into a picture; None where there is none.

    Raises:
        InputError: as `read_photo`; damage behind the header goes unnoticed.
    """
    path = Path(path)
    with _explained(path):
        kind, _ = _kind(path)
        if kind == "PNG":
            with path.open("rb") as file:
                return png.read_record(file)
        if kind == "TIFF":
            return record_in(tiff.read_xmp(path))
        if kind == "HEIF":
            return record_in(heif.read_xmp(path))
        if kind in _PIL_FILES:
            with _PIL_FILES[kind](path) as image:
                return record_in(image.info.get("xmp", b"")) or record_of_comment(image.info.get("comment", b""))
        xmp = {"AVIF": avif.read_xmp, "JPEG XL": jxl.read_xmp, "JPEG 2000": jp2.read_xmp, "WebP": webp.read_xmp}[kind]
        return record_in(xmp(path.read_bytes()))


def _read(path: Path, max_pixels: int, allow_incomplete: bool, page: int | None = None) -> Raster:
    """`read_photo`, as stored values."""
    check_size = partial(_check_size, max_pixels)
    kind, head = _kind(path)
    if kind == "TIFF":
        return read_tiff(path, check_size, page)
    if page is not None and (kind in _FRAMED or page != 1):
        with _frames(path, kind) as image:
            if (count := _frame_count(image)) > 1 or page > count:
                frame = _read_frame(image, page, count, check_size)
                if kind == "AVIF":
                    icc, notes = avif.frame_colours(path.read_bytes())
                    return replace(raster_from_pil(frame), icc=icc, notes=notes)
                if kind == "PNG":
                    return png.with_metadata(stored_pixels(frame)[0], path.read_bytes())
                return raster_from_pil(frame)
    if kind == "PNG":
        check_size(*png.png_size(head))
        return png.decode_png(path.read_bytes())
    if kind == "JPEG":
        return read_jpeg(path.read_bytes(), check_size, allow_incomplete=allow_incomplete)
    if kind == "HEIF":
        return heif.read_heif(path, check_size)
    if kind in _PIL_FILES:
        return _read_by_pillow(path, _PIL_FILES[kind], check_size)
    read = {"AVIF": avif.read_avif, "JPEG XL": jxl.read_jxl, "JPEG 2000": jp2.read_jp2, "WebP": webp.read_webp}[kind]
    return read(path.read_bytes(), check_size)


@contextmanager
def _frames(path: Path, kind: Kind) -> Iterator[ImageFile]:
    """A file of several frames, nothing of it decoded."""
    if kind not in _FRAMED:
        raise InputError(f"of {kind} files only the first picture is read: leave --page out")
    with _FRAMED[kind](path) as image:
        yield image


def _frame_count(image: ImageFile) -> int:
    return int(getattr(image, "n_frames", 1))


def _read_frame(image: ImageFile, page: int, count: int, check_size: Callable[[int, int], None]) -> ImageFile:
    """The image at frame `page`, 1 the first; Pillow composes it from the frames before it."""
    check_size(*image.size)
    if not 0 < page <= count:
        raise InputError(f"it has no page {page}, only {count}")
    image.seek(page - 1)
    return image


def _read_by_pillow(path: Path, opener: Callable[[Path], ImageFile], check_size: Callable[[int, int], None]) -> Raster:
    """A BMP file, or the first frame of a GIF file."""
    with opener(path) as image:
        check_size(*image.size)
        image.load()
        raster = raster_from_pil(image)
        if getattr(image, "is_animated", False):
            raster = replace(raster, notes=("it is an animation, of which the first frame is taken (--page)",))
        return raster


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the errors of decoders into one sentence that names the file; other exceptions pass.

    Raises:
        MemoryError: memory ran out.
        InputError: the system refused to read the file.
        UnreadableError: the content of the file is to blame.
    """
    try:
        yield
    except (MemoryError, DecompressionBombError, *_DECODER_ERRORS) as error:
        reason = textwrap.shorten(str(error), 300) or type(error).__name__
        if is_exhaustion(error):
            raise MemoryError(f"cannot read {path}: there is not enough memory ({reason})") from error
        if getattr(error, "errno", None) is not None:
            raise InputError(f"cannot read {path}: {reason}") from error
        if not isinstance(error, InputError):
            reason = f"it is damaged, truncated or of an unusual kind ({reason})"
        raise UnreadableError(f"cannot read {path}: {reason}") from error


def _kind(path: Path) -> tuple[Kind, bytes]:
    """The kind of a file that may be a photograph, and its first bytes."""
    if not path.is_file():
        raise InputError("it is not a file" if path.exists() else "there is no such file")
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise InputError(f"its suffix is none of {' '.join(sorted(SUFFIXES))}: convert it to one of these")
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind = kind_of(head)
    if kind is None:
        *kinds, last = get_args(Kind)
        raise InputError(f"its content is no {', '.join(kinds)} or {last} image" if head else "it is empty")
    return kind, head


def _check_size(max_pixels: int, width: int, height: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"its header says {width} x {height} pixels, over the limit of {max_pixels}: "
            "raise max_pixels (--max-pixels) if you trust the file"
        )
