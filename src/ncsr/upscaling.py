"""Photographs in, enlarged photographs out: what surrounds sampling for an image as people have them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError
from ncsr.images import Photo, photo_from_array, photo_from_pil, premultiplied, read_photo, straight, to_array, to_pil
from ncsr.loading import load
from ncsr.model import NCSR
from ncsr.resize import imresize
from ncsr.tiles import sample_image


def upscale(
    photo: str | os.PathLike[str] | Image.Image | NDArray[Any],
    model: str | os.PathLike[str] | NCSR = "x4-small",
    samples: int = 4,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    device: str = "auto",
) -> list[Any]:
    """Enlarge a photograph into several plausible ones.

    Args:
        photo: a path, a PIL image, or an array (H, W) or (H, W, C) of uint8, uint16 or floating point in [0, 1].
        model: a loaded model, or what `ncsr.load` takes.
        samples: how many.
        temperature: 0 is the model's single most probable image, higher is more varied; None the model's default.
        seed: sample k of a seed is always the same image; None draws a fresh seed.
        tile: side of the tiles in LR pixels; None chooses by memory.
        device: where to load the model, if it is not loaded.

    Returns:
        The samples, of the kind that came in: arrays of the same dtype and layout, or PIL images (also for a path).

    Raises:
        InputError: a photograph that cannot be read or is too small; what `ncsr.load` or `Space.sample` refuse.
    """
    if isinstance(photo, np.ndarray):
        source = photo_from_array(photo)
    else:
        source = photo_from_pil(photo) if isinstance(photo, Image.Image) else read_photo(photo)
    network = model if isinstance(model, NCSR) else load(model, device)
    photos = upscale_photo(source, network, samples, temperature=temperature, seed=seed, tile=tile)
    if isinstance(photo, np.ndarray):
        return [to_array(p, photo.dtype, flat_gray=photo.ndim == 2) for p in photos]
    return [to_pil(p) for p in photos]


def upscale_photo(
    photo: Photo,
    model: NCSR,
    samples: int,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Photo]:
    """`upscale` for a `Photo`: gray, bit depth, profile, EXIF and format are kept; alpha is enlarged by bicubic.

    Colours are premultiplied before they are enlarged, so that what is transparent does not bleed.
    """
    height, width = photo.size
    if min(height, width) < 4:
        raise InputError(f"the photograph is {width} x {height} pixels: the smallest that can be enlarged is 4 x 4")
    images = sample_image(model, premultiplied(photo), samples, temperature, seed, tile, progress)
    alpha = None if photo.alpha is None else imresize(photo.alpha, model.config.scale).clamp(0, 1)
    return [enlarged(photo, image, alpha) for image in images]


def enlarged(photo: Photo, rgb: Tensor, alpha: Tensor | None) -> Photo:
    """`photo` with the enlarged, premultiplied colours (3, s H, s W) and alpha."""
    if photo.gray:
        rgb = rgb.mean(0, keepdim=True).expand(3, -1, -1)
    return replace(photo, rgb=rgb if alpha is None else straight(rgb, alpha), alpha=alpha)


def bicubic(photo: Photo, scale: int) -> Photo:
    """The photograph enlarged by MATLAB-compatible bicubic interpolation, for comparison."""
    alpha = None if photo.alpha is None else imresize(photo.alpha, scale).clamp(0, 1)
    return enlarged(photo, imresize(premultiplied(photo), scale).clamp(0, 1), alpha)


def deviation(photos: list[Photo]) -> Tensor:
    """The standard deviation over samples, averaged over channels, (H, W), in units of the image range [0, 1]."""
    return torch.stack([photo.rgb for photo in photos]).std(0, correction=0).mean(0)
