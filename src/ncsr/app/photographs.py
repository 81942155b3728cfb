"""Photographs that visitors send: written to their folder, read, and removed again."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ncsr.app.visits import Photograph, Visit
from ncsr.errors import InputError
from ncsr.images import SUFFIXES, Photo, read_photo
from ncsr.ops.resize import imresize
from ncsr.runtime.files import file_hash


def choose_photograph(visit: Visit, path: Path, title: str, max_pixels: int) -> None:
    """Make the photograph in a file the visitor's current one.

    Raises:
        InputError: it cannot be read, or is too large or too small.
    """
    photo = _read(path, title, max_pixels)
    if min(photo.size) < 4:
        raise InputError(f"{title} is {photo.size[1]} x {photo.size[0]} pixels: the smallest that is taken is 4 x 4")
    visit.choose(Photograph(Path(title).stem, _laid_on_white(photo), photo.icc, file_hash(path)))


def choose_reference(visit: Visit, path: Path, title: str, scale: int, max_pixels: int) -> None:
    """Make a high-resolution photograph the visitor's reference, and its reduction by `scale` the current photograph.

    Raises:
        InputError: it cannot be read, or is too large or too small.
    """
    photo = _read(path, title, scale**2 * max_pixels)
    height, width = (side - side % scale for side in photo.size)
    if min(height, width) < 4 * scale:
        raise InputError(f"{title} is too small: a reference has at least {4 * scale} x {4 * scale} pixels")
    reference = _laid_on_white(photo)[..., :height, :width].contiguous()
    reduced = (imresize(reference, 1 / scale).clamp(0, 1) * 255).round_() / 255
    visit.choose(Photograph(f"{Path(title).stem}, reduced", reduced, photo.icc), reference)


def _read(path: Path, title: str, max_pixels: int) -> Photo:
    """Read a photograph; error messages name its title instead of its path on this machine."""
    try:
        return read_photo(path, max_pixels=max_pixels)
    except (InputError, MemoryError) as error:
        if "over the limit" in str(error):
            raise InputError(
                f"{title} has too many pixels: up to {max_pixels / 1e6:.2g} megapixels are taken; crop or reduce it"
            ) from None
        raise InputError(str(error).replace(str(path), title)) from None


def check_title(title: str) -> None:
    """Raise InputError unless the name of a file has the suffix of a photograph."""
    if Path(title).suffix.lower() not in SUFFIXES:
        kinds = "PNG, JPEG, WebP, AVIF, JPEG XL, TIFF, GIF or BMP"
        raise InputError(f"{title[:80]} is no photograph that is read here: choose {kinds}")


def _laid_on_white(photo: Photo) -> Tensor:
    """The colours of a photograph on white, (1, 3, H, W) in [0, 1]."""
    rgb = photo.rgb if photo.alpha is None else torch.lerp(torch.ones(()), photo.rgb, photo.alpha)
    return rgb[None].contiguous()
