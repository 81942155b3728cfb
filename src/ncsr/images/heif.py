"""HEIC and HEIF files, by pillow-heif, which the extra `heif` brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ncsr.errors import InputError
from ncsr.images.colour import described_colours
from ncsr.images.raster import Raster, stretched, upright_raster


def heif_size(path: Path) -> tuple[int, int]:
    """(width, height) of the primary picture, upright."""
    width, height = _opened(path).size
    return width, height


def read_xmp(path: Path) -> bytes:
    """The XMP packet of a file; empty where there is none."""
    return bytes(_opened(path).info.get("xmp") or b"")


def read_heif(path: Path, check_size: Callable[[int, int], None]) -> Raster:
    """Decode the primary picture; `check_size(width, height)` is called before that.

    Raises:
        InputError: pillow-heif is not installed.
        ValueError, RuntimeError: it is damaged or truncated.
    """
    file = _opened(path)
    check_size(*file.size)
    about = file.info
    pixels = np.asarray(file)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.dtype == np.uint16:  # values are in the upper bits
        bits = about["bit_depth"]
        pixels = stretched(pixels >> (16 - bits), bits)
    codes = about.get("nclx_profile") or {"color_primaries": 1, "transfer_characteristics": 13}
    icc, notes = described_colours(codes["color_primaries"], codes["transfer_characteristics"])
    if len(file) > 1:
        notes += ("it has several pictures, of which the primary one is taken",)
    raster = Raster(pixels, about.get("icc_profile") or icc, notes=notes, premultiplied=file.premultiplied_alpha)
    return upright_raster(raster, about.get("exif"), orientation=1, xmp=about.get("xmp"))  # libheif turned it upright


def _opened(path: Path) -> Any:
    """The file, nothing of it decoded."""
    try:
        import pillow_heif
    except ImportError:
        raise InputError("HEIC needs pillow-heif: pip install 'ncsr[heif]'") from None
    return pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
