"""A photograph as its file stores it: every reader returns a `Raster`, from which `Photo` and `Source` are made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ncsr.images import exif
from ncsr.images.convert import Array, photo_from_array
from ncsr.images.photo import Dpi, Photo, Source, straight
from ncsr.images.xmp import KEPT

EXIF_MARK = b"Exif\0\0"  # what stands before the block in JPEG, and in PIL's `info`
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")


@dataclass(frozen=True, eq=False)
class Raster:
    """The stored values of a photograph, upright; a quarter of the memory of a `Photo`.

    Attributes:
        pixels: (H, W, C) uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha. Maybe a view.
        icc, exif, dpi, notes, xmp, texts: as in `Photo`.
        premultiplied: whether the colours are stored times alpha.
    """

    pixels: Array
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: Dpi | None = None
    notes: tuple[str, ...] = ()
    premultiplied: bool = False
    xmp: bytes | None = None
    texts: tuple[bytes, ...] = ()

    def photo(self) -> Photo:
        """The whole photograph."""
        photo = photo_from_array(self.pixels)
        if self.premultiplied and photo.alpha is not None:
            photo = replace(photo, rgb=straight(photo.rgb, photo.alpha))
        return replace(
            photo, icc=self.icc, exif=self.exif, dpi=self.dpi, notes=self.notes, xmp=self.xmp, texts=self.texts
        )

    def source(
        self, size: tuple[int, int] | None = None, window: Callable[[int, int, int, int], Photo] | None = None
    ) -> Source:
        """The photograph as a `Source`; with `size` and `window`, a larger one of which this raster is a part."""

        def part(top: int, left: int, bottom: int, right: int) -> Photo:
            return replace(self, pixels=self.pixels[top:bottom, left:right]).photo()

        one = part(0, 0, 1, 1)
        return Source(
            size=size or self.pixels.shape[:2],
            transparent=one.alpha is not None,
            gray=one.gray,
            bits=one.bits,
            icc=self.icc,
            exif=self.exif,
            window=window or part,
            dpi=self.dpi,
            notes=self.notes,
            xmp=self.xmp,
            texts=self.texts,
        )


def upright_raster(
    raster: Raster, block: bytes | None, *, orientation: int | None = None, xmp: bytes | None = None
) -> Raster:
    """The raster turned upright, with its EXIF block and XMP packet; a damaged block is left out.

    Args:
        raster: as it lies in the file.
        block: EXIF, with or without its mark.
        orientation: EXIF's, 1 to 8; None means the one in the block, or else in XMP.
        xmp: the XMP packet.
    """
    block = (block or b"").removeprefix(EXIF_MARK)
    orientation = orientation or exif.orientation(block) or xmp_orientation(xmp)
    pixels = exif.upright(raster.pixels, orientation)
    dpi = raster.dpi if raster.dpi and all(0 < value < 1e6 for value in raster.dpi) else None
    dpi = dpi[::-1] if dpi is not None and orientation >= 5 else dpi
    height, width = pixels.shape[:2]
    described = exif.with_size(block, height, width, sideways=orientation >= 5)
    kept = xmp if xmp and len(xmp) <= KEPT else None
    return replace(raster, pixels=pixels, exif=described, dpi=dpi, xmp=kept)


def xmp_orientation(packet: bytes | None) -> int:
    """The orientation in an XMP packet, 1 to 8; 1 (upright) where there is none."""
    found = _XMP_ORIENTATION.search(packet or b"")
    return int(found[1]) if found else 1


def gray_if_equal(array: Array) -> Array:
    """(H, W, 3 or 4) without its second and third channel, if they equal the first everywhere."""
    return np.delete(array, (1, 2), axis=2) if (array[..., 1:3] == array[..., :1]).all() else array


def stretched(array: Array, bits: int) -> Array:
    """Unsigned values of so many bits, stretched to the whole range of uint8 or uint16.

    Raises:
        IndexError: a value does not fit into so many bits.
    """
    if bits in (8, 16):
        return array
    top, dtype = (255, np.uint8) if bits < 8 else (65535, np.uint16)
    levels: Array = np.rint(np.arange(2**bits) * (top / (2**bits - 1))).astype(dtype)
    return levels[array.astype(dtype, copy=False)]
