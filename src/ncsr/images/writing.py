"""Writing photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ncsr.errors import InputError
from ncsr.images import avif, exif
from ncsr.images.cmyk import in_srgb, is_for_gray, rgb_from_gray
from ncsr.images.convert import picture_of, to_array
from ncsr.images.finding import WRITABLE
from ncsr.images.jxl import check_jxl, encode_jxl
from ncsr.images.photo import Dpi, Photo
from ncsr.images.png import encode_png
from ncsr.images.raster import EXIF_MARK
from ncsr.images.tiff import write_tiff
from ncsr.images.xmp import carried, packet_of
from ncsr.runtime.files import atomic_path, explain_write_errors

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
LOSSY_SUFFIXES = JPEG_SUFFIXES | {".avif"}
"""Suffixes of the formats that are lossy at every quality."""
QUALITY_SUFFIXES = LOSSY_SUFFIXES | {".jxl", ".webp"}
"""Suffixes of the formats that have a quality."""

_DEEP_SUFFIXES = frozenset({".jxl", ".png", ".tif", ".tiff"})  # of formats that hold 16 bits
_QUALITY = 95  # the default of JPEG and AVIF, which have no lossless mode here
_LONGEST_SIDE = {
    **dict.fromkeys(JPEG_SUFFIXES, 65_500),  # libjpeg's own limit; the format's is 65535
    ".avif": avif.LONGEST_SIDE,
    ".webp": 16_383,
    ".png": 1_000_000,  # libpng's own limit
}
_JPEG_SEGMENT = 65_533  # bytes, less its length
_XMP_MARKER, _XMP_MARK = b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0"  # of its segment in JPEG
_AVIF_SPEED = 8  # a third of the time of Pillow's choice, files 2 % larger


class _Metadata(NamedTuple):
    """What is written beside the pixels: arguments of `write_pixels`, and (H, W) of the picture."""

    icc: bytes | None
    block: bytes | None
    dpi: Dpi | None
    xmp: bytes | None
    texts: Sequence[bytes]
    record: str | None
    size: tuple[int, int]

    @property
    def packet(self) -> bytes:
        """The XMP packet, the record in it; nothing if there is neither."""
        return carried(self.xmp, self.record, *self.size)

    @property
    def commented(self) -> bytes | None:
        """The EXIF block with the record as its comment."""
        return self.block if self.record is None else exif.with_comment(self.block, self.record)


def check_writable_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Check, before pixels are computed, that the format of the suffix of `path` can hold a picture of this size.

    Longest sides: JPEG 65500, AVIF 32768, WebP 16383, PNG 1000000 pixels. Whole file: BMP 4 GiB, AVIF 268435456 pixels.
    TIFF and JPEG XL have no limit that matters.

    Raises:
        InputError: if it cannot, the suffix is none of `WRITABLE`, or the library for it is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(f"cannot write {path}: its suffix is none of {' '.join(sorted(WRITABLE))}")
    limit = _LONGEST_SIDE.get(suffix)
    if limit is not None and max(width, height) > limit:
        raise InputError(
            f"cannot write {path}: {width} x {height} pixels, and {suffix} holds at most {limit} a side; use .tif"
        )
    if suffix == ".bmp" and (3 * width + 3) * height + 54 >= 2**32:
        raise InputError(f"cannot write {path}: {width} x {height} pixels, and .bmp holds at most 4 GiB; use .tif")
    if suffix == ".avif" and width * height > avif.MOST_PIXELS:
        raise InputError(
            f"cannot write {path}: {width} x {height} pixels, and .avif holds at most {avif.MOST_PIXELS}; use .tif"
        )
    if suffix in (".avif", ".jxl"):
        try:
            (avif.check_avif if suffix == ".avif" else check_jxl)()
        except InputError as error:
            raise InputError(f"cannot write {path}: {error}") from None


def check_quality(quality: int | None, suffix: str | None = None) -> None:
    """Check a quality, and that the format of `suffix`, if given, has one; None is always right.

    Raises:
        InputError: it is not from 1 to 100, or the format has no quality.
    """
    if quality is None:
        return
    if not 1 <= quality <= 100:
        raise InputError(f"the quality must be 1 to 100, got {quality}")
    if suffix is not None and suffix.lower() not in QUALITY_SUFFIXES:
        raise InputError(f"{suffix} has no quality, it is lossless: leave it out, or use jpg, webp, avif or jxl")


def write_photo(path: str | os.PathLike[str], photo: Photo, *, quality: int | None = None) -> None:
    """Write a photo, in the format of the suffix of `path`; see `write_pixels`.

    Values are rounded to the nearest level and clipped. 16-bit photos stay so in PNG, TIFF and JPEG XL.

    Args:
        path: the file to write, in a folder that exists.
        photo: the photo, on any device. `dataclasses.replace(photo, icc=None, exif=None, xmp=None, texts=())` strips
            its metadata.
        quality: as `write_pixels`.

    Raises:
        InputError: if the format cannot hold the photo, its values are not finite, or the file cannot be written.
    """
    pixels = to_array(photo, np.uint16 if photo.bits == 16 else np.uint8, flat_gray=False)
    write_pixels(path, pixels, photo.icc, photo.exif, photo.dpi, quality=quality, xmp=photo.xmp, texts=photo.texts)


def pixel_type(bits: int, suffix: str) -> type[np.uint8 | np.uint16]:
    """The dtype in which a photograph with so many bits per channel is written to a file with this suffix."""
    return np.uint16 if bits == 16 and suffix.lower() in _DEEP_SUFFIXES else np.uint8


def write_pixels(
    path: str | os.PathLike[str],
    pixels: NDArray[Any],
    icc: bytes | None,
    block: bytes | None,
    dpi: Dpi | None = None,
    record: str | None = None,
    *,
    quality: int | None = None,
    xmp: bytes | None = None,
    texts: Sequence[bytes] = (),
) -> None:
    """Write pixels, in the format of the suffix of `path`; a reader sees the old file or the new one, never a part.

    - Loss: JPEG and AVIF are lossy, without chroma subsampling; WebP and JPEG XL are lossy if a quality is given;
      everything else is lossless.
    - Bits: PNG, TIFF and JPEG XL hold 16 bits, the others 8.
    - Transparency: JPEG and BMP hold none, it is laid on white.
    - Gray: WebP, and AVIF with transparency, hold no gray; it becomes colour (sRGB, if it has a profile for gray).
    - Colours: JPEG XL is written in sRGB; the colours of another profile are converted.
    - Left out: ICC profile, EXIF and XMP in BMP; EXIF over 65527 and XMP over 65502 bytes in JPEG; the resolution in
      WebP, AVIF and JPEG XL; texts in all but PNG; a profile for gray with colours.

    Args:
        path: the file to write, in a folder that exists.
        pixels: (H, W, C) uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
        icc: the colour profile.
        block: the EXIF block.
        dpi: the resolution outside of EXIF.
        record: of the picture's origin, for `read_record`: at most 8000 ASCII characters. It is written into XMP, with
            IPTC's mark of pictures made with a trained model; in PNG also as the text "ncsr", in other formats as
            EXIF's user comment, unless there is one. BMP holds none.
        quality: 1 to 100. JPEG, AVIF: 95 if it is None. WebP: lossless if it is None. JPEG XL: lossless if it is None
            or 100.
        xmp: the photograph's XMP packet; its orientation and size are corrected, a record in it is replaced.
        texts: the photograph's text chunks, for PNG.

    Raises:
        InputError: if the format cannot hold the pixels or has no quality, or the file cannot be written.
    """
    path = Path(path)
    height, width = pixels.shape[:2]
    check_writable_size(path, width, height)
    check_quality(quality, path.suffix)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: {path.parent} is not a folder")
    block = exif.with_size(block or b"", height, width)
    if is_for_gray(icc) and pixels.shape[2] > 2:
        icc = None
    metadata = _Metadata(icc, block, dpi, xmp, texts, record, (height, width))
    with explain_write_errors(path), atomic_path(path) as temporary:
        _write(temporary, pixels, metadata, quality)


def write_values(path: str | os.PathLike[str], values: NDArray[np.float32], record: str | None = None) -> None:
    """Write numbers (H, W) as they are, as `.npy` or as a TIFF file, which alone holds a record of its origin.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    with explain_write_errors(path), atomic_path(path) as temporary:
        if path.suffix.lower() == ".npy":
            np.save(temporary, values)
        else:
            write_tiff(temporary, values[..., None], None, None, None, b"" if record is None else packet_of(record))


def check_writable_folder(path: str | os.PathLike[str]) -> None:
    """Check, before pixels are computed, that files can be made in the folder of `path`.

    Raises:
        InputError: if they cannot, for example because it is read-only.
    """
    with explain_write_errors(path, "choose another -o"), TemporaryFile(dir=Path(path).parent) as file:
        file.write(b"0")


def _write(path: Path, pixels: NDArray[Any], about: _Metadata, quality: int | None) -> None:
    suffix = path.suffix.lower()
    if suffix == ".png":
        metadata = (about.icc, about.block, about.dpi, about.packet, about.texts, about.record)
        path.write_bytes(encode_png(pixels, *metadata))
    elif suffix == ".webp":
        pixels, icc = _in_colour(pixels, about.icc)
        how = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
        described = {"icc_profile": icc or b"", "exif": _marked(about.commented), "xmp": about.packet}
        picture_of(pixels).save(path, "WEBP", **how, **described)
    elif suffix == ".avif":
        _write_avif(path, pixels, about, quality)
    elif suffix == ".jxl":
        pixels = pixels if about.icc is None else in_srgb(pixels, about.icc)
        path.write_bytes(encode_jxl(pixels, about.commented, about.packet, quality))
    elif suffix == ".bmp":
        stated = {} if about.dpi is None else {"dpi": about.dpi}
        picture_of(pixels, transparency=False).save(path, "BMP", **stated)
    elif suffix in JPEG_SUFFIXES:
        _write_jpeg(path, pixels, about, quality)
    else:
        write_tiff(path, pixels, about.icc, about.commented, about.dpi, about.packet)


def _write_avif(path: Path, pixels: NDArray[Any], about: _Metadata, quality: int | None) -> None:
    icc = about.icc
    if pixels.shape[2] == 2:
        pixels, icc = _in_colour(pixels, icc)
    described = {"icc_profile": icc or b"", "exif": exif.without_orientation(about.commented), "xmp": about.packet}
    how = {"subsampling": "4:0:0" if pixels.shape[2] == 1 else "4:4:4", "speed": _AVIF_SPEED}
    picture_of(pixels).save(path, "AVIF", quality=quality or _QUALITY, **how, **described)


def _write_jpeg(path: Path, pixels: NDArray[Any], about: _Metadata, quality: int | None) -> None:
    blocks = (_marked(about.commented), _marked(about.block))
    fitting = next((each for each in blocks if len(each) <= _JPEG_SEGMENT), b"")
    packet = about.packet
    if len(_XMP_MARK + packet) > _JPEG_SEGMENT:
        packet = b"" if about.record is None else packet_of(about.record)
    extra = packet and _XMP_MARKER + (len(_XMP_MARK + packet) + 2).to_bytes(2, "big") + _XMP_MARK + packet
    stated = {} if about.dpi is None else {"dpi": about.dpi}
    described = {"icc_profile": about.icc, "exif": fitting, "extra": extra, **stated}
    image = picture_of(pixels, transparency=False)
    image.save(path, "JPEG", quality=quality or _QUALITY, subsampling=0, **described)


def _marked(block: bytes | None) -> bytes:
    return b"" if block is None else EXIF_MARK + block


def _in_colour(pixels: NDArray[Any], icc: bytes | None) -> tuple[NDArray[Any], bytes | None]:
    """Pixels and profile; gray with a profile for gray is converted to sRGB, which needs no profile."""
    if icc is None or not is_for_gray(icc):
        return pixels, icc
    return np.concatenate([rgb_from_gray(pixels[..., :1], icc), pixels[..., 1:]], axis=2), None
