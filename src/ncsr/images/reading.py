"""Reading photographs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL.BmpImagePlugin import BmpImageFile
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ncsr.errors import InputError
from ncsr.images import png
from ncsr.images.convert import photo_from_pil
from ncsr.images.finding import SUFFIXES
from ncsr.images.photo import Photo, Source, source_of
from ncsr.images.tiff import read_tiff, tiff_size, tiff_source
from ncsr.runtime.memory import is_exhaustion

MAX_PIXELS = 178_956_970
"""The default limit of a photograph's pixels: Pillow's, past which it calls a file a decompression bomb."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how classic and big ones begin
# What Pillow, tifffile and imagecodecs (whose errors are RuntimeErrors) raise when a file is damaged. TypeError,
# AttributeError, AssertionError and the like are not among them: they would be bugs of this package.
_DECODER_ERRORS = (ArithmeticError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, ValueError, struct.error)


def read_photo(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a PNG, JPEG, WebP, TIFF or BMP file; what becomes of its values is in `ncsr.images`.

    Args:
        path: the file. Its suffix must be in `SUFFIXES`; its kind is told by its content.
        max_pixels: a larger photograph is refused before it is decoded, as it may be made to fill the memory.

    Raises:
        InputError: if there is no such file, or it is empty, damaged, truncated, too large, or no photograph. Its
            sentence names the file.
        MemoryError: if there is not enough memory for it. Its sentence names the file, too.
    """
    path = Path(path)
    check_size = partial(_check_size, max_pixels)
    with _explained(path):
        head = _head(path)
        if head.startswith(png.SIGNATURE):
            check_size(*png.png_size(head))
            return png.decode_png(path.read_bytes())
        if head.startswith(_TIFF):
            return read_tiff(path, check_size)
        with _pil_image(path, head) as image:
            check_size(*image.size)
            image.load()
            return photo_from_pil(image)


def open_photo(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Source:
    """A photograph to be looked at in windows; what becomes of its values is in `ncsr.images`.

    TIFF files that allow it (`ncsr.images.tiff.tiff_source`) are read window by window, of whatever size; all others
    are read now, as a whole.

    Args:
        path: as `read_photo`.
        max_pixels: the limit for a photograph that has to be read as a whole.

    Raises:
        InputError: as `read_photo` does; a window raises it, too, if its part of the file is damaged.
    """
    path = Path(path)
    with _explained(path):
        source = tiff_source(path) if _head(path).startswith(_TIFF) else None
    if source is None:
        return source_of(read_photo(path, max_pixels=max_pixels))
    return replace(source, window=_explained(path)(source.window))


def photo_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) as the header tells them, before a photograph that lies on its side (EXIF) is turned; nothing is decoded.

    Raises:
        InputError: as `read_photo`; damage behind the header goes unnoticed.
    """
    path = Path(path)
    with _explained(path):
        head = _head(path)
        if head.startswith(png.SIGNATURE):
            width, height = png.png_size(head)
        elif head.startswith(_TIFF):
            width, height = tiff_size(path)
        else:
            with _pil_image(path, head) as image:
                width, height = image.size
    return height, width


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Make what decoders raise one sentence that names the file; what they do not raise passes as it is.

    Raises:
        MemoryError: if memory ran out.
        InputError: if it was anything else.
    """
    try:
        yield
    except (MemoryError, DecompressionBombError, *_DECODER_ERRORS) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if is_exhaustion(error):
            raise MemoryError(f"cannot read {path}: there is not enough memory ({reason})") from error
        if not isinstance(error, InputError) and getattr(error, "errno", None) is None:
            reason = f"it is damaged, truncated or of an unusual kind ({reason})"
        raise InputError(f"cannot read {path}: {reason}") from error


class _JpegFile(JpegImageFile):
    """Pillow's reader without its look into the EXIF block for the resolution: it warns if the block is damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _head(path: Path) -> bytes:
    """The first bytes of a file that may be a photograph, enough to tell its kind and a PNG file's size."""
    if not path.is_file():
        raise InputError("it is not a file" if path.exists() else "there is no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"its suffix is none of {' '.join(sorted(SUFFIXES))}: convert it to one of these")
    with path.open("rb") as file:
        return file.read(png.HEADER_LENGTH)


def _pil_image(path: Path, head: bytes) -> ImageFile:
    """Open a JPEG, WebP or BMP file without decoding it, and without Pillow's own limit of pixels."""
    if head.startswith(b"\xff\xd8\xff"):
        return _JpegFile(path)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WebPImageFile(path)
    if head.startswith(b"BM"):
        return BmpImageFile(path)
    raise InputError("its content is no PNG, JPEG, WebP, TIFF or BMP image" if head else "it is empty")


def _check_size(max_pixels: int, width: int, height: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"its header tells of {width} x {height} pixels, over the limit of {max_pixels}: "
            "raise max_pixels (--max-pixels) if you trust the file"
        )
