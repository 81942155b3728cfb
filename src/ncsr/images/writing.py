"""Writing photographs."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncsr.errors import InputError
from ncsr.images import exif
from ncsr.images.cmyk import is_for_gray, rgb_from_gray
from ncsr.images.convert import picture_of, to_array
from ncsr.images.finding import SUFFIXES
from ncsr.images.photo import Dpi, Photo
from ncsr.images.png import encode_png
from ncsr.images.raster import EXIF_MARK
from ncsr.images.tiff import write_tiff
from ncsr.images.xmp import packet_of
from ncsr.runtime.files import atomic_path, explain_write_errors

_LONGEST_SIDE = {
    ".jpg": 65_500,  # libjpeg's own limit; the format's is 65535
    ".jpeg": 65_500,
    ".webp": 16_383,
    ".png": 1_000_000,  # libpng's own limit
}
_JPEG_EXIF_BYTES = 65_533  # one segment less its length
_XMP_MARKER, _XMP_MARK = b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0"  # of its segment in JPEG


def check_writable_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Make sure that the format told by `path` can hold so many pixels: ask before computing them.

    Sides: JPEG 65500, WebP 16383, PNG 1000000 pixels. Whole file: BMP 4 GiB. TIFF has no limit that matters.

    Raises:
        InputError: if it cannot, or the suffix is none of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"cannot write {path}: its suffix is none of {' '.join(sorted(SUFFIXES))}")
    limit = _LONGEST_SIDE.get(suffix)
    if limit is not None and max(width, height) > limit:
        raise InputError(
            f"cannot write {path}: {width} x {height} pixels, and {suffix} holds at most {limit} a side; use .tif"
        )
    if suffix == ".bmp" and (3 * width + 3) * height + 54 >= 2**32:
        raise InputError(f"cannot write {path}: {width} x {height} pixels, and .bmp holds at most 4 GiB; use .tif")


def write_photo(path: str | os.PathLike[str], photo: Photo, *, quality: int = 95) -> None:
    """Write a photo, in the format of the suffix of `path`; see `write_pixels`.

    Values are rounded to the nearest level and clipped. 16-bit photos stay so in PNG and TIFF.

    Args:
        path: the file to write, in a folder that exists.
        photo: the photo, on any device. `dataclasses.replace(photo, icc=None, exif=None)` strips its metadata.
        quality: the quality of a JPEG file, 1 to 100.

    Raises:
        InputError: if the format cannot hold the photo, its values are not finite, or the file cannot be written.
    """
    pixels = to_array(photo, np.uint16 if photo.bits == 16 else np.uint8, flat_gray=False)
    write_pixels(path, pixels, photo.icc, photo.exif, photo.dpi, quality=quality)


def write_pixels(
    path: str | os.PathLike[str],
    pixels: NDArray[Any],
    icc: bytes | None,
    block: bytes | None,
    dpi: Dpi | None = None,
    record: str | None = None,
    *,
    quality: int = 95,
) -> None:
    """Write pixels, in the format of the suffix of `path`; a reader sees the old file or the new one, never a part.

    JPEG has full colour resolution; everything else is lossless. JPEG, WebP and BMP hold 8 bits. JPEG and BMP hold no
    transparency: it is laid on white. WebP holds no gray: it becomes colour (sRGB, if it has a profile for gray). BMP
    holds no ICC profile and no EXIF, JPEG no EXIF of over 65527 bytes, and WebP no resolution: these are left out, as
    is a profile for gray beside colours.

    Args:
        path: the file to write, in a folder that exists.
        pixels: (H, W, C) uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        icc: the colour profile.
        block: the EXIF block.
        dpi: the resolution to be stated beside it.
        record: what the picture says of its origin, for `read_record`: at most 8000 ASCII characters. It stands in XMP,
            beside IPTC's word for pictures that were made with a trained model; in PNG also as the text "ncsr", in all
            others as EXIF's user comment, if there is none. BMP holds none.
        quality: the quality of a JPEG file, 1 to 100.

    Raises:
        InputError: if the format cannot hold the pixels, or the file cannot be written.
    """
    path = Path(path)
    height, width = pixels.shape[:2]
    check_writable_size(path, width, height)
    if not 1 <= quality <= 100:
        raise InputError(f"the quality of a JPEG file must be 1 to 100, got {quality}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: {path.parent} is not a folder")
    block = exif.with_size(block or b"", height, width)
    if is_for_gray(icc) and pixels.shape[2] > 2:
        icc = None
    with explain_write_errors(path), atomic_path(path) as temporary:
        _write(temporary, pixels, icc, block, dpi, record, quality)


def check_writable_folder(path: str | os.PathLike[str]) -> None:
    """Make sure that files can be made in the folder of `path`: ask before computing them.

    Raises:
        InputError: if they cannot, for example because it is read-only.
    """
    with explain_write_errors(path, "choose another -o"), TemporaryFile(dir=Path(path).parent) as file:
        file.write(b"0")


def _write(
    path: Path,
    pixels: NDArray[Any],
    icc: bytes | None,
    block: bytes | None,
    dpi: Dpi | None,
    record: str | None,
    quality: int,
) -> None:
    suffix = path.suffix.lower()
    packet = b"" if record is None else packet_of(record)
    commented = block if record is None else exif.with_comment(block, record)
    marked = b"" if commented is None else EXIF_MARK + commented
    stated = {} if dpi is None else {"dpi": dpi}
    if suffix == ".png":
        path.write_bytes(encode_png(pixels, icc, block, dpi, record))
    elif suffix == ".webp":
        if icc is not None and is_for_gray(icc):
            pixels, icc = np.concatenate([rgb_from_gray(pixels[..., :1], icc), pixels[..., 1:]], axis=2), None
        described = {"icc_profile": icc or b"", "exif": marked, "xmp": packet}
        picture_of(pixels).save(path, "WEBP", lossless=True, exact=True, **described)
    elif suffix == ".bmp":
        picture_of(pixels, transparency=False).save(path, "BMP", **stated)
    elif suffix in (".jpg", ".jpeg"):
        plain = b"" if block is None else EXIF_MARK + block
        marked = next((each for each in (marked, plain) if len(each) <= _JPEG_EXIF_BYTES), b"")
        extra = packet and _XMP_MARKER + (len(_XMP_MARK + packet) + 2).to_bytes(2, "big") + _XMP_MARK + packet
        image = picture_of(pixels, transparency=False)
        image.save(path, "JPEG", quality=quality, subsampling=0, icc_profile=icc, exif=marked, extra=extra, **stated)
    else:
        write_tiff(path, pixels, icc, commented, dpi, packet)
